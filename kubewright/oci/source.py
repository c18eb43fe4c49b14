"""Where the bytes of a blob or of a file in a layer come from: memory, or a part of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FilePart:
    """``size`` bytes of a file from ``offset`` on; -1: to its end."""

    path: Path
    offset: int = 0
    size: int = -1


Source: TypeAlias = bytes | FilePart


def size_of(source: Source) -> int:
    """Bytes that the source has."""
    if isinstance(source, bytes):
        return len(source)
    return source.size if source.size >= 0 else max(0, source.path.stat().st_size - source.offset)


def chunks(source: Source) -> Iterator[bytes]:
    """Its bytes in pieces of at most 1 MiB; fewer than it should have if the file is shorter."""
    if isinstance(source, bytes):
        for start in range(0, len(source), _CHUNK):
            yield source[start : start + _CHUNK]
        return
    with source.path.open("rb", buffering=0) as file:
        file.seek(source.offset)
        left = source.size if source.size >= 0 else os.fstat(file.fileno()).st_size - source.offset
        while left > 0 and (piece := file.read(min(_CHUNK, left))):
            left -= len(piece)
            yield piece
