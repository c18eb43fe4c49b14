"""zstd in independent frames with a seek table behind them: the outside of a bundle file, as pure functions over bytes.

Frames: RFC 8878. The seek table: https://github.com/facebook/zstd/blob/v1.5.7/contrib/seekable_format/
zstd_seekable_compression_format.md. What is written by others and would be legal there is refused where our own writer
never makes it (frames without a content size, dictionaries, checksums in the table), so that a reader knows how much a frame
holds, and that it is one frame, before anything is decompressed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kubewright.oci.archive_errors import ArchiveError, ArchiveIndexError, ArchiveTruncatedError, FrameError

#: bytes of content in one frame at most: what a reader needs at once
FRAME: Final = 8 << 20
#: so many compressed bytes of one frame at most: zstd's ZSTD_COMPRESSBOUND for ``FRAME``, and room for its header
FRAME_BOUND: Final = FRAME + (FRAME >> 8) + 1024
#: frames in a file at most: 512 GB of content
FRAMES: Final = 1 << 16

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_BLOCK: Final = 128 << 10
_SKIPPABLE: Final = struct.Struct("<II")
#: one of the sixteen numbers that skippable frames may have; the seek table's is the format's
INDEX_MAGIC: Final = 0x184D2A5B
_TABLE_MAGIC: Final = 0x184D2A5E
_FOOTER: Final = struct.Struct("<IBI")
_FOOTER_MAGIC: Final = 0x8F92EAB1
#: the last bytes of a file with a seek table
FOOTER: Final = _FOOTER_MAGIC.to_bytes(4, "little")
_ENTRY: Final = struct.Struct("<II")
#: bytes of a seek table beside its entries
_TABLE_EXTRA: Final = _SKIPPABLE.size + _FOOTER.size
TAIL: Final = _FOOTER.size


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: ``offset`` and ``size`` in the file, ``start`` and ``length`` of what it holds in the content."""

    offset: int
    size: int
    start: int
    length: int


# -- frames -------------------------------------------------------------------------------------------------------


def check_frame(data: bytes, length: int) -> None:
    """FrameError unless ``data`` is exactly one frame that says it holds ``length`` bytes, with no dictionary."""
    found, at, checksum = _frame_header(data)
    if found != length:
        raise FrameError(f"a frame holds {found} bytes by its header, {length} by the seek table")
    last = False
    while not last:
        if at + 3 > len(data):
            raise FrameError("a frame ends within its blocks")
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3 or size > _BLOCK:
            raise FrameError("a frame has a block of a kind or size that zstd does not have")
        at += 3 + (1 if kind == 1 else size)
    if at + checksum != len(data):
        raise FrameError("a frame is longer or shorter than the seek table says")


def frame_length(data: bytes) -> int:
    """How many bytes a frame says it holds; FrameError for more than ``FRAME``."""
    length = _frame_header(data)[0]
    if length > FRAME:
        raise FrameError(f"a frame is said to hold {length} bytes; {FRAME} is the most")
    return length


def _frame_header(data: bytes) -> tuple[int, int, int]:
    """Bytes of content, of the header, and of the checksum at the end."""
    if data[:4] != _MAGIC or len(data) < 6:
        raise FrameError("there is no zstd frame where the seek table says")
    flags = data[4]
    single, dictionary = flags >> 5 & 1, flags & 3
    width = (single, 2, 4, 8)[flags >> 6]
    if flags & 0x08 or dictionary or not width:
        raise FrameError("a frame without a content size, or with a dictionary or flags that no bundle has")
    at = 5
    if not single:
        window = 1 << (10 + (data[at] >> 3))
        if window + window // 8 * (data[at] & 7) > FRAME:
            raise FrameError(f"a frame needs a window of more than {FRAME} bytes")
        at += 1
    size = int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)
    return size, at + width, 4 if flags & 0x04 else 0


# -- skippable frames ---------------------------------------------------------------------------------------------


def skippable(magic: int, content: bytes) -> bytes:
    """A skippable frame."""
    return _SKIPPABLE.pack(magic, len(content)) + content


def skippable_content(data: bytes, magic: int) -> bytes:
    """What exactly one skippable frame holds; ArchiveIndexError for anything else."""
    if len(data) < _SKIPPABLE.size or _SKIPPABLE.unpack_from(data) != (magic, len(data) - _SKIPPABLE.size):
        raise ArchiveIndexError("there is no index where the seek table says")
    return data[_SKIPPABLE.size :]


# -- the seek table -----------------------------------------------------------------------------------------------


def seek_table(frames: Iterable[tuple[int, int]]) -> bytes:
    """The table for frames of (compressed, decompressed) sizes, skippable ones with a decompressed size of 0."""
    entries = [_ENTRY.pack(*each) for each in frames]
    return skippable(_TABLE_MAGIC, b"".join(entries) + _FOOTER.pack(len(entries), 0, _FOOTER_MAGIC))


def table_size(tail: bytes, file_size: int) -> int:
    """How many bytes at the end of a file are the seek table, from its last ``TAIL`` bytes."""
    if len(tail) != TAIL:
        raise ArchiveError("the file is too short to be a bundle", remedy=_NOT_OURS)
    count, descriptor, magic = _FOOTER.unpack(tail)
    if magic != _FOOTER_MAGIC:
        raise ArchiveError("the file does not end with a seek table: not a bundle, or cut off", remedy=_NOT_OURS)
    if descriptor != 0 or not 2 <= count <= FRAMES:
        raise ArchiveError(f"the seek table ({count} frames, descriptor {descriptor}) is none of a bundle's")
    size: int = _TABLE_EXTRA + count * _ENTRY.size
    if size > file_size:
        raise ArchiveTruncatedError("the file is shorter than its seek table", remedy=_AGAIN)
    return size


def parse_table(table: bytes, file_size: int) -> Sequence[Frame]:
    """The frames of a file of ``file_size`` bytes whose seek table is ``table``; they fill all of it before the table."""
    count = _FOOTER.unpack(table[-TAIL:])[0]
    if _SKIPPABLE.unpack_from(table) != (_TABLE_MAGIC, len(table) - _SKIPPABLE.size):
        raise ArchiveIndexError("the seek table does not begin where its number of frames says")
    frames, offset, start = [], 0, 0
    for number in range(count):
        size, length = _ENTRY.unpack_from(table, _SKIPPABLE.size + number * _ENTRY.size)
        if length > FRAME or (size > FRAME_BOUND and length):
            raise FrameError(f"frame {number} is said to hold {length} bytes in {size}; {FRAME} is the most")
        frames.append(Frame(offset, size, start, length))
        offset, start = offset + size, start + length
    if offset + len(table) != file_size:
        raise ArchiveTruncatedError(f"the file has {file_size} bytes, by its seek table {offset + len(table)}", remedy=_AGAIN)
    return frames


_NOT_OURS: Final = "name a file that `./doit bundle` wrote; what `zstd -d | tar x` gives of another one may be a layout"
_AGAIN: Final = "copy it again from its origin"
