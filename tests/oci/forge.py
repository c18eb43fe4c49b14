"""Bundle files with lies in them: the same parts that the writer writes, each of which a test may replace."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from kubewright.canonical import canonical_json
from kubewright.oci.archive import BLOBS, INDEX_FILE, in_order
from kubewright.oci.layout import LAYOUT_FILE, MARKER, Layout
from kubewright.oci.seekable import FRAME, INDEX_MAGIC, seek_table, skippable
from kubewright.oci.tarheader import END, header, padding


def compressed(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(level=1, **options).compress(data)


@dataclass
class Forgery:
    """``frames``: [bytes, length that the table says]; ``members``: as in the index; ``end``: the tar's."""

    frames: list[list[Any]]
    members: list[list[Any]]
    version: int = 1
    tail: bytes = b""
    index: bytes | None = None
    table: bytes | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: Layout) -> Forgery:
        files = {LAYOUT_FILE: MARKER, INDEX_FILE: layout.index}
        files |= {BLOBS + digest[7:]: data for digest, data in layout.blobs.items() if isinstance(data, bytes)}
        frames: list[list[Any]] = []
        members, start = [], 0
        for name in in_order(files):
            data = files[name]
            packed = header(name, len(data)) + data + bytes(padding(len(data)))
            members.append([name, len(data), start, len(frames)])
            start += len(packed)
            for at in range(0, len(packed), FRAME):
                frames.append([compressed(packed[at : at + FRAME]), len(packed[at : at + FRAME])])
        frames.append([compressed(END), len(END)])
        return cls(frames, members)

    def write(self, path: Path) -> Path:
        index = self.index
        if index is None:
            index = skippable(
                INDEX_MAGIC, compressed(canonical_json({"version": self.version, "members": self.members, **self.extra}))
            )
        sizes = [(len(data), length) for data, length in self.frames]
        table = self.table if self.table is not None else seek_table([*sizes, (len(index), 0)])
        path.write_bytes(b"".join(data for data, _ in self.frames) + index + table + self.tail)
        return path

    def content(self, number: int) -> bytes:
        return zstandard.ZstdDecompressor().decompress(self.frames[number][0])

    def put(self, number: int, data: bytes) -> None:
        self.frames[number] = [compressed(data), len(data)]


def index_of(path: Path) -> Any:
    """The index of a file, as any reader of the format would find it."""
    data = path.read_bytes()
    count = int.from_bytes(data[-9:-5], "little")
    at = len(data) - 17 - 8 * count
    size = int.from_bytes(data[at + 8 * count : at + 8 * count + 4], "little")
    return json.loads(zstandard.ZstdDecompressor().decompress(data[at - size + 8 : at]))
