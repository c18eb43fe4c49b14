"""Where two outputs differ: which file, which ELF section, which byte. diffoscope's report beside it where it is installed."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
#: bytes shown around the first difference
_SHOWN = 16
DIFFOSCOPE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a 64-bit little-endian ELF file: name, offset and size in bytes."""

    name: str
    offset: int
    size: int


def explain(first: Path, second: Path) -> str:
    """One line: where the two files differ first. Both are outputs of one path; equal files give ``identical``."""
    offset = first_difference(first, second)
    if offset is None:
        return "identical"
    sizes = first.stat().st_size, second.stat().st_size
    size = f"; sizes {sizes[0]} and {sizes[1]} bytes" if sizes[0] != sizes[1] else ""
    section = differing_section(first, second)
    if section:
        return f"section {section} differs first{size}"
    if tarfile.is_tarfile(first) and tarfile.is_tarfile(second):
        return f"member {differing_member(first, second)} differs first{size}"
    return f"byte {offset} differs first{size} ({_shown(first, offset)} and {_shown(second, offset)})"


def first_difference(first: Path, second: Path) -> int | None:
    """Offset of the first differing byte (the shorter size when one is a prefix of the other), None for equal files."""
    position = 0
    with first.open("rb") as one, second.open("rb") as other:
        while True:
            left, right = one.read(_CHUNK), other.read(_CHUNK)
            if left != right:
                return position + next(
                    (index for index, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]),
                    min(len(left), len(right)),
                )
            if not left:
                return None
            position += len(left)


def _shown(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_SHOWN).hex() or "end of file"


# -- ELF ----------------------------------------------------------------------------------------------------------


def sections(path: Path) -> list[Section]:
    """Sections of a 64-bit little-endian ELF file, [] for anything else (https://refspecs.linuxfoundation.org/elf/)."""
    with path.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
            return []
        table, entry, count, names_index = (
            struct.unpack_from("<Q", header, 40)[0],
            *struct.unpack_from("<HHH", header, 58),
        )
        file.seek(table)
        raw = file.read(entry * count)
        if entry < 64 or len(raw) < entry * count or names_index >= count:
            return []
        rows = [struct.unpack_from("<IIQQQQ", raw, entry * index) for index in range(count)]
        file.seek(rows[names_index][4])
        names = file.read(rows[names_index][5])
    nobits = 8
    return [
        Section(names[row[0] :].split(b"\0", 1)[0].decode("ascii", "replace"), row[4], row[5])
        for row in rows
        if row[1] not in (0, nobits)
    ]


def differing_section(first: Path, second: Path) -> str:
    """Name of the first section whose bytes differ, with the offset in it; "" when the files are not both ELF."""
    left, right = sections(first), sections(second)
    if not left or not right:
        return ""
    if [each.name for each in left] != [each.name for each in right]:
        return "table (other sections: " + ", ".join(sorted({e.name for e in left} ^ {e.name for e in right})) + ")"
    for one, other in zip(left, right, strict=True):
        bytes_one, bytes_other = _bytes(first, one), _bytes(second, other)
        if bytes_one != bytes_other:
            offset = next((i for i, pair in enumerate(zip(bytes_one, bytes_other, strict=False)) if pair[0] != pair[1]), 0)
            return (
                f"{one.name} (at its byte {offset}: {bytes_one[offset : offset + _SHOWN].hex()}"
                f" and {bytes_other[offset : offset + _SHOWN].hex()})"
            )
    return "headers"


def _bytes(path: Path, section: Section) -> bytes:
    with path.open("rb") as file:
        file.seek(section.offset)
        return file.read(section.size)


# -- trees --------------------------------------------------------------------------------------------------------


def differing_member(first: Path, second: Path) -> str:
    """Name of the first member that differs between two normalised tars."""
    with tarfile.open(first) as one, tarfile.open(second) as other:
        left, right = dict(_members(one)), dict(_members(other))
    return next((name for name in sorted({*left, *right}) if left.get(name) != right.get(name)), "headers")


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, object]]:
    import hashlib

    for member in tar:
        file = tar.extractfile(member) if member.isfile() else None
        content = hashlib.file_digest(file, "sha256").hexdigest() if file and hasattr(hashlib, "file_digest") else None
        if file and content is None:  # Python 3.10
            content = hashlib.sha256(file.read()).hexdigest()
        yield member.name, (member.type, member.mode, member.linkname, content)


# -- diffoscope ---------------------------------------------------------------------------------------------------


def diffoscope(first: Path, second: Path, report: Path) -> Path | None:
    """Write diffoscope's text report where the program is installed; None where it is not, or takes too long."""
    program = shutil.which("diffoscope")
    if program is None:
        return None
    try:
        subprocess.run(
            [program, "--text", str(report), str(first), str(second)], timeout=DIFFOSCOPE_SECONDS, capture_output=True
        )
    except subprocess.TimeoutExpired:
        return None
    return report if report.is_file() else None
