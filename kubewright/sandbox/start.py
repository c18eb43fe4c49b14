"""The first program in a docker container: 300 bytes that do what the Engine API has no option for.

It sets the umask, sends stderr to where stdout goes (docker would carry them in two pipes and lose their order) unless stdout
is wanted apart, loads the filter of ``seccomp`` on top of docker's own profile, and becomes the command. An empty root holds no
shell that could do this, so the program is part of every image of ours. Its source is tests/sandbox/start/MACHINE.s; a test
assembles it and compares.
"""

from __future__ import annotations

import struct

from kubewright.errors import SandboxError
from kubewright.sandbox import seccomp

#: where it is in an image
PATH = "/.kubewright-start"
#: its exit status when the filter cannot be loaded
NO_FILTER = 125

_APART = 0o1000  # the bit above those of a umask

_ADDRESS = 0x400000
_HEADERS = 64 + 56  # ELF header and one program header
_MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine
_CODE = {
    "x86_64": (
        "4c8b24244e8d6ce410488d5c2410488b3331ff0fb60685c074098d7cf8d048ffc6ebf0b85f0000000f05f7c7000200007511bf01000000be"
        "02000000b8210000000f05bf26000000be0100000031d24531d24531c0b89d0000000f054883ec10488b057900000048890424488d057600"
        "00004889442408bf16000000be020000004889e2b89d0000000f05bd7d00000085c075424883c3084989df498b074983c70880380075f4bd"
        "7f000000488b3b4883c308803f00741e4c89fe4c89eab83b0000000f0583f8fe74e283f8ec74ddbd7e000000ebd689efb8e70000000f0590"
    ),
    "aarch64": (
        "f30340f9f46f338b94420091f5430091a18640f8000080d2221440388200003442c00051400c008bfcffff17f80300aac81480d2010000d4"
        "d8004837200080d2410080d2020080d2080380d2010000d4c00480d2210080d2020080d2030080d2040080d2e81480d2010000d4ff4300d1"
        "03040010648440f8e40f00a9c00280d2410080d2e2030091e81480d2010000d4b60f80d2600200b5f70315aae18640f822004039c2ffff35"
        "f60f80d2a08640f80200403962010034e10317aae20314aaa81b80d2010000d41f0800b100ffff541f5000b1c0feff54d60f80d2f4ffff17"
        "e00316aac80b80d2010000d41f2003d5"
    ),
}


def code(machine: str) -> bytes:
    """The machine code; the filter follows it, as its number of instructions (8 bytes) and the instructions."""
    if machine not in _CODE:
        raise SandboxError(f"docker is not set up for {machine!r} machines", remedy=f"known: {', '.join(_CODE)}")
    return bytes.fromhex(_CODE[machine])


def program(machine: str) -> bytes:
    """The whole static ELF file (https://refspecs.linuxfoundation.org/elf/elf.pdf): one segment, loaded as it is."""
    rules = seccomp.program(machine)
    body = code(machine) + struct.pack("<Q", len(rules) // 8) + rules
    size = _HEADERS + len(body)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bit, little endian, version 1
    entry = _ADDRESS + _HEADERS
    header = identity + struct.pack("<HHIQQQIHHHHHH", 2, _MACHINES[machine], 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x10000)  # PT_LOAD, read and execute
    return header + segment + body


def command(umask: int, candidates: list[str], argv: tuple[str, ...], *, apart: bool = False) -> list[str]:
    """The container's command: the first of ``candidates`` that can be executed gets ``argv``; else status 127 or 126.

    ``apart``: stderr is not sent to where stdout goes.
    """
    return [PATH, f"{umask | _APART * apart:o}", *candidates, "", *argv]
