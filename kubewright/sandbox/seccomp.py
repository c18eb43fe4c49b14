"""The system calls that no build step has: what network, mount and user namespaces do not separate.

Sockets of other families than unix, IPv4, IPv6 and netlink (AF_VSOCK reaches the hypervisor from any network namespace,
AF_ALG and AF_PACKET are attack surface), io_uring (it would open sockets past this filter) and the kernel's key rings
(the session's keys are inherited). Both back ends load the same classic BPF program; docker adds its own profile.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from kubewright.errors import SandboxError

# linux/bpf_common.h, linux/seccomp.h, linux/socket.h
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NR, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data (little endian: the low half of args[0])
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_X32 = 0x40000000  # system call numbers of the x32 ABI begin here


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int  # AUDIT_ARCH_*
    socket: int
    refused: tuple[int, ...]  # io_uring_setup, add_key, request_key, keyctl


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, (425, 248, 249, 250)),
    "aarch64": _Machine(0xC00000B7, 198, (425, 217, 218, 219)),
}


def program(machine: str) -> bytes:
    """The filter as an array of ``struct sock_filter``, for ``bwrap --seccomp`` and PR_SET_SECCOMP."""
    if machine not in _MACHINES:
        raise SandboxError(f"no system call filter for {machine!r} machines", remedy=f"known: {', '.join(_MACHINES)}")
    known = _MACHINES[machine]
    missing, family = _ERRNO | errno.ENOSYS, _ERRNO | errno.EAFNOSUPPORT
    code: list[bytes] = [
        _one(_LOAD, _ARCH),
        _one(_EQUAL, known.audit, 1, 0),  # another ABI (32 bit programs) has other numbers: none of its calls
        _one(_RETURN, missing),
        _one(_LOAD, _NR),
        _one(_AT_LEAST, _X32, 0, 1),
        _one(_RETURN, missing),
    ]
    for number in known.refused:
        code += [_one(_EQUAL, number, 0, 1), _one(_RETURN, missing)]
    code += [_one(_EQUAL, known.socket, 1, 0), _one(_RETURN, _ALLOW), _one(_LOAD, _FIRST_ARGUMENT)]
    for number in _FAMILIES.values():
        code += [_one(_EQUAL, number, 0, 1), _one(_RETURN, _ALLOW)]
    return b"".join([*code, _one(_RETURN, family)])


def _one(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)
