"""Small ELF objects, programs and ar archives made by hand, so that tests know every byte of them."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence

CODE = 0x6  # SHF_ALLOC | SHF_EXECINSTR
DATA = 0x2


def code(seed: str, size: int = 256) -> bytes:
    """Bytes that look like no others, the same every time."""
    return random.Random(seed).randbytes(size)


def elf(
    sections: Mapping[str, tuple[bytes, int]],
    relocations: Mapping[str, Sequence[int]] | None = None,
    alignment: int = 16,
) -> bytes:
    """An ELF file with these sections (name -> content, flags) and relocations (section -> offsets)."""
    names = ["", *sections, *(f".rela{name}" for name in relocations or {}), ".shstrtab"]
    strings = b"\0".join(name.encode() for name in names) + b"\0"
    offsets = {name: strings.find(b"\0" + name.encode() + b"\0") + 1 if name else 0 for name in names}
    body, headers = bytearray(64), [bytes(64)]

    def add(name: str, kind: int, flags: int, content: bytes, info: int = 0, link: int = 0) -> None:
        body.extend(bytes(-len(body) % alignment))
        headers.append(
            struct.pack("<IIQQQQIIQQ", offsets[name], kind, flags, 0, len(body), len(content), link, info, alignment, 0)
        )
        body.extend(content)

    for name, (content, flags) in sections.items():
        add(name, 1, flags, content)
    for name, places in (relocations or {}).items():
        entries = b"".join(struct.pack("<QQq", place, 1, 0) for place in places)
        add(f".rela{name}", 4, 0, entries, info=list(sections).index(name) + 1)
    add(".shstrtab", 3, 0, strings)
    start = len(body)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, start, 0, 64, 56, 0, 64, len(headers), len(headers) - 1
    )  # fmt: skip
    body[:64] = header
    return bytes(body) + b"".join(headers)


def archive(members: Mapping[str, bytes]) -> bytes:
    """A static library."""
    out = b"!<arch>\n"
    for name, content in members.items():
        out += f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out
