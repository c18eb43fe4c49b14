"""The little of ELF (64 bit, little endian) that a bill of materials needs: sections, relocated ranges, needed libraries.

https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_NOBITS, _RELA, _REL, _DYNAMIC = 8, 4, 9, 6
_ALLOCATED = 0x2
_NEEDED = 1


@dataclass(frozen=True, slots=True)
class Section:
    """One section header. ``link`` and ``info`` are numbers of other sections."""

    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int

    @property
    def loaded(self) -> bool:
        """Whether its bytes are in memory when the program runs, and in the file."""
        return bool(self.flags & _ALLOCATED) and self.kind != _NOBITS and self.size > 0


class Elf:
    """An ELF file as bytes, with its section headers."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.numbered = tuple(_sections(data))
        self.sections: Mapping[str, Section] = {section.name: section for section in self.numbered}

    @classmethod
    def open(cls, path: Path) -> Elf | None:
        """None for what is no ELF file of 64 bit, little endian."""
        with path.open("rb") as stream:
            if not is_elf(stream.read(6)):
                return None
        return cls(path.read_bytes())

    def content(self, name: str) -> bytes:
        """A section's bytes; none where there is no such section."""
        section = self.sections.get(name)
        return self.bytes_of(section) if section else b""

    def bytes_of(self, section: Section) -> bytes:
        return b"" if section.kind == _NOBITS else self.data[section.offset : section.offset + section.size]

    def relocated(self) -> dict[int, list[int]]:
        """Section number -> offsets at which a linker writes into it (of an object file)."""
        found: dict[int, list[int]] = {}
        for section in self.numbered:
            if section.kind in (_RELA, _REL):
                step = 24 if section.kind == _RELA else 16
                content = self.bytes_of(section)
                offsets = found.setdefault(section.info, [])
                offsets += (struct.unpack_from("<Q", content, at)[0] for at in range(0, len(content) - step + 1, step))
        return found

    def needed(self) -> tuple[str, ...]:
        """Shared libraries that the program wants at run time (DT_NEEDED)."""
        dynamic = next((section for section in self.numbered if section.kind == _DYNAMIC), None)
        if dynamic is None or dynamic.link >= len(self.numbered):
            return ()
        names = self.bytes_of(self.numbered[dynamic.link])
        content = self.bytes_of(dynamic)
        pairs = (struct.unpack_from("<qQ", content, at) for at in range(0, len(content) - 15, 16))
        return tuple(_text(names, value) for tag, value in pairs if tag == _NEEDED)


def is_elf(head: bytes) -> bool:
    """Whether these first six bytes are those of an ELF file of 64 bit, little endian."""
    return head[:6] == b"\x7fELF\x02\x01"


def _sections(data: bytes) -> Iterator[Section]:
    if len(data) < 64 or not is_elf(data):
        return
    (start,) = struct.unpack_from("<Q", data, 40)
    size, count, names_at = struct.unpack_from("<HHH", data, 58)
    if start == 0 or size != 64 or start + size * count > len(data) or names_at >= count:
        return
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, start + size * number) for number in range(count)]
    names = data[headers[names_at][4] : headers[names_at][4] + headers[names_at][5]]
    for name, kind, flags, _, offset, length, link, info, alignment, _ in headers:
        yield Section(_text(names, name), kind, flags, offset, length, link, info, alignment)


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.find(b"\0", at)].decode("utf-8", "replace")
