"""Which members of static C libraries a program holds, by their machine code.

A linker copies the sections of an archive's member into the program and writes into them at relocations only. So a member's
code between relocations stands in the program as it stands in the archive. We look for runs of 32 such bytes at offsets that
are multiples of 16, and count a run as evidence only where it occurs in one member alone. A member is there when nearly all
of its runs are: what this shows is that its code is in the program. A member without runs of its own (a few instructions,
data, or code that another one has as well) cannot be found.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubewright.files.deb import ar_members
from kubewright.sbom.elf import Elf, Section

_BLOCK = 16
_RUN = 2 * _BLOCK
_EXECUTABLE = 0x4
#: a run has to say something: not padding, not one instruction again and again
_DISTINCT = 12
#: share of a member's runs; linkers rewrite a few instructions beyond what relocations name
_NEARLY_ALL = 0.9


@dataclass(frozen=True, slots=True)
class Found:
    """An archive (or an object file) of which a program holds members: path below the root, package, and how many of the
    members that can be told apart."""

    path: str
    package: str
    members: int
    of: int


def find(program: Elf, root: Path, owners: Mapping[str, str]) -> tuple[Found, ...]:
    """Archives and object files below ``root`` that ``program`` holds code of. ``owners``: path -> package, for all of them."""
    here = {bytes(run) for section in _code(program) for run in _aligned(program.bytes_of(section))}
    runs = {path: dict(_members(root / path)) for path in sorted(owners)}
    shared = _shared(runs)
    found = []
    for path, members in runs.items():
        telling = [kept for each in members.values() if (kept := each - shared)]
        present = sum(1 for each in telling if len(each & here) >= _NEARLY_ALL * len(each))
        if present:
            found.append(Found(path, owners[path], present, len(telling)))
    return tuple(found)


def _shared(runs: Mapping[str, Mapping[str, frozenset[bytes]]]) -> set[bytes]:
    """Runs that more than one member has: they do not tell which one was linked."""
    seen: set[bytes] = set()
    shared: set[bytes] = set()
    for members in runs.values():
        for each in members.values():
            shared |= seen & each
            seen |= each
    return shared


def _members(path: Path) -> Iterator[tuple[str, frozenset[bytes]]]:
    """Name and runs of each object file in an archive; of an object file: its own."""
    data = path.read_bytes()
    if not data.startswith(b"!<arch>\n"):
        yield path.name, _runs(Elf(data))
        return
    archive = io.BytesIO(data)
    for number, (name, size) in enumerate(ar_members(archive, path.name)):
        start = archive.tell()
        member = data[start : start + size]
        if member.startswith(b"\x7fELF"):
            yield f"{number} {name}", _runs(Elf(member))


def _runs(member: Elf) -> frozenset[bytes]:
    relocated = member.relocated()
    found: set[bytes] = set()
    for number, section in enumerate(member.numbered):
        if section.flags & _EXECUTABLE and section.loaded and section.alignment % _BLOCK == 0:
            touched = {block for offset in relocated.get(number, ()) for block in _blocks(offset)}
            content = member.bytes_of(section)
            for at in range(0, len(content) - _RUN + 1, _BLOCK):
                run = content[at : at + _RUN]
                if at not in touched and at + _BLOCK not in touched and len(set(run)) >= _DISTINCT:
                    found.add(run)
    return frozenset(found)


def _blocks(offset: int) -> Iterable[int]:
    """Offsets of the blocks that a relocation at ``offset`` (up to 8 bytes) may change. Linkers relax a few instructions, and
    then rewrite up to three bytes before it."""
    return range((offset - 3) // _BLOCK * _BLOCK, offset + 8, _BLOCK)


def _code(program: Elf) -> Iterator[Section]:
    return (section for section in program.numbered if section.flags & _EXECUTABLE and section.loaded)


def _aligned(content: bytes) -> Iterator[bytes]:
    return (content[at : at + _RUN] for at in range(0, len(content) - _RUN + 1, _BLOCK))
