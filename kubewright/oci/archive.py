"""A bundle as one file, read at random: which bytes are where is said by an index, and every byte of it is checked.

The file is a tar of an OCI layout in zstd frames (``seekable``). Each member begins a frame and fills it and those behind it to
``FRAME`` bytes, the last one with what is left. Behind the last frame come, as skippable frames, the index (names, sizes, where
each begins) and the seek table. Opening a file compares the two with each other and with its size: a table that leaves room
for something else, or lets frames overlap, is refused before a frame is touched. Reading compares each tar header with the one
that name and size have, and padding with zeros; content is checked by who asks for it (``reading.CheckedStream``).
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from kubewright.oci.archive_errors import ArchiveError, ArchiveIndexError, ArchiveReplacedError, ArchiveTruncatedError
from kubewright.oci.errors import DocumentError
from kubewright.oci.layout import LAYOUT_FILE, MARKER
from kubewright.oci.reading import OpenLayout
from kubewright.oci.seekable import (
    FRAME,
    INDEX_MAGIC,
    TAIL,
    Frame,
    frame_length,
    parse_table,
    skippable_content,
    table_size,
)
from kubewright.oci.strict import INDEX_SIZE, loads
from kubewright.oci.tarheader import BLOCK, END, LARGEST, header, span
from kubewright.oci.zstd import decompress

SUFFIX: Final = ".oci.tar.zst"
INDEX_FILE: Final = "index.json"
BLOBS: Final = "blobs/sha256/"
FORMAT: Final = 1

_INDEX_BOUND: Final = 8 << 20
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the tar: where its header begins in the content, and the frames that hold it."""

    name: str
    size: int
    start: int
    frames: Sequence[Frame]


@contextmanager
def open_archive(path: Path) -> Iterator[OpenLayout]:
    """The layout in a bundle file. Raises ArchiveError and what reading the layout raises."""
    with Archive(path) as archive:
        yield OpenLayout(archive)


class Archive:
    """A bundle file, held open. What ``reading.Blobs`` asks for."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
        try:
            status = os.fstat(self._handle)
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError(f"{path} is not a file")
            self._identity = _identity(status)
            self.size = status.st_size
            self.members = self._open_members()
            if self._read_small(LAYOUT_FILE, len(MARKER)) != MARKER:
                raise ArchiveIndexError(f"{self.name}: {LAYOUT_FILE} is not that of an OCI layout 1.0.0")
        except BaseException as error:
            os.close(self._handle)
            if isinstance(error, ArchiveError) and not error.message.startswith(self.name):
                raise _called(error, self.name) from None
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._handle)

    # -- what a layout is read from -----------------------------------------------------------------------------------

    def index(self) -> bytes:
        """index.json."""
        return self._read_small(INDEX_FILE, INDEX_SIZE)

    def sizes(self) -> Mapping[str, int]:
        """Digest -> size of every blob."""
        return {
            "sha256:" + name.removeprefix(BLOBS): member.size for name, member in self.members.items() if name.startswith(BLOBS)
        }

    def open(self, digest: str) -> BinaryIO:
        """A blob as a stream, unchecked but for its tar header and padding."""
        return cast(BinaryIO, _Stream(self, self.members[BLOBS + digest.removeprefix("sha256:")]))

    def content(self, frame: Frame) -> memoryview:
        """What a frame holds."""
        try:
            return memoryview(decompress(self._pread(frame.offset, frame.size), frame.length))
        except ArchiveError as error:
            raise (
                error if error.message.startswith(self.name) else _called(error, f"{self.name}: at byte {frame.offset}")
            ) from None

    def recheck(self) -> None:
        """ArchiveReplacedError when the file has been written to since it was opened."""
        if _identity(os.fstat(self._handle)) != self._identity:
            raise ArchiveReplacedError(
                f"{self.name} was written to while it was being read", remedy="let nobody write to it, then try again"
            )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _pread(self, offset: int, size: int) -> bytes:
        data = os.pread(self._handle, size, offset)
        while len(data) < size and (more := os.pread(self._handle, size - len(data), offset + len(data))):
            data += more
        if len(data) != size:
            self.recheck()
            raise ArchiveTruncatedError(
                f"{self.name} ends at byte {offset + len(data)}", remedy="copy it again from its origin"
            )
        return data

    def _read_small(self, name: str, limit: int) -> bytes:
        member = self.members[name]
        if member.size > limit:
            raise ArchiveIndexError(f"{self.name}: {name} has {member.size} bytes, more than {limit}")
        with _Stream(self, member) as stream:
            return stream.read()

    def _open_members(self) -> Mapping[str, Member]:
        tail = self._pread(max(0, self.size - TAIL), min(TAIL, self.size))
        length = table_size(tail, self.size)
        frames = parse_table(self._pread(self.size - length, length), self.size)
        *inside, end, index = frames
        if index.length or index.size > _INDEX_BOUND:
            raise ArchiveIndexError("the frame before the seek table is not an index")
        packed = skippable_content(self._pread(index.offset, index.size), INDEX_MAGIC)
        members = _members(bytes(decompress(packed, frame_length(packed))), inside)
        if end.start != sum(span(each.size) for each in members.values()) or end.length != len(END):
            raise ArchiveIndexError("the index does not cover all that the frames hold")
        if self.content(end) != END:
            raise ArchiveIndexError("the tar does not end where the index says")
        return members


def _members(data: bytes, frames: Sequence[Frame]) -> Mapping[str, Member]:
    """The members that an index names; ArchiveIndexError unless they fill ``frames`` exactly, in order, as we write them."""
    try:
        value = loads(data, "the index of the bundle file", _INDEX_BOUND)
    except DocumentError as error:
        raise ArchiveIndexError(error.message, remedy=error.remedy) from None
    if not isinstance(value, dict) or value.keys() != {"version", "members"} or not isinstance(value["members"], list):
        raise ArchiveIndexError("the index is not an object with a version and members")
    if type(value["version"]) is not int or value["version"] != FORMAT:
        raise ArchiveError(f"the index has version {value['version']}, this program knows {FORMAT}", remedy="use a newer one")
    found: dict[str, Member] = {}
    start = used = 0
    for each in value["members"]:
        name, size = _checked(each, start, used)
        count = -(-span(size) // FRAME)
        mine = frames[used : used + count]
        if sum(frame.length for frame in mine) != span(size) or any(frame.length != FRAME for frame in mine[:-1]):
            raise ArchiveIndexError(f"the index says that {name} begins frame {used}, and the seek table has it otherwise")
        found[name] = Member(name, size, start, mine)
        start, used = start + span(size), used + count
    if used != len(frames):
        raise ArchiveIndexError(f"the seek table has {len(frames)} frames of members, the index {used}")
    if len(found) != len(value["members"]) or list(found) != in_order(found):
        raise ArchiveIndexError("the index names a member twice, in another order, or not the files that a layout begins with")
    return found


def in_order(names: Any) -> list[str]:
    """The names of a layout's files in the order of the tar; LAYOUT_FILE and index.json whether or not they are there."""
    return [LAYOUT_FILE, INDEX_FILE, *sorted(set(names) - {LAYOUT_FILE, INDEX_FILE})]


def _checked(value: object, start: int, frame: int) -> tuple[str, int]:
    if isinstance(value, list) and [type(each) for each in value] == [str, int, int, int]:
        name, size, at, first = value
        if name not in (LAYOUT_FILE, INDEX_FILE) and not _is_blob(name):
            raise ArchiveIndexError(f"the index names {name[:100]!r}, which no layout has")
        if (at, first) == (start, frame) and 0 <= size <= LARGEST:
            return name, size
    raise ArchiveIndexError(f"the index has {str(value)[:120]} where a member at {start} in frame {frame} should be")


def _is_blob(name: str) -> bool:
    digest = name.removeprefix(BLOBS)
    return name.startswith(BLOBS) and len(digest) == 64 and _HEXADECIMAL.issuperset(digest)


class _Stream(io.RawIOBase):
    """The content of one member, a frame at a time."""

    def __init__(self, archive: Archive, member: Member) -> None:
        super().__init__()
        self._archive, self._member = archive, member
        self._frames = iter(member.frames)
        self._piece = memoryview(b"")
        self._left = member.size
        self._begun = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(FRAME), b""))
        while not self._piece:
            self._piece = memoryview(b"")  # lets go of the frame before, so that there is one at a time
            if not self._more():
                return b""
        piece, self._piece = self._piece[:size], self._piece[size:]
        return bytes(piece)

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _more(self) -> bool:
        frame = next(self._frames, None)
        if frame is None:
            return False
        content = self._archive.content(frame)
        if not self._begun:
            self._begun = True
            if content[:BLOCK] != header(self._member.name, self._member.size):
                raise self._wrong("another header than its name and size have")
            content = content[BLOCK:]
        self._piece, rest = content[: self._left], content[self._left :]
        self._left -= len(self._piece)
        if rest and bytes(rest) != bytes(len(rest)):
            raise self._wrong("something other than zeros behind its content")
        return True

    def _wrong(self, what: str) -> ArchiveIndexError:
        return ArchiveIndexError(f"{self._archive.name}: {self._member.name} has {what}")


def _called(error: ArchiveError, name: str) -> ArchiveError:
    """The same error with the file's name before it."""
    return type(error)(f"{name}: {error.message}", remedy=error.remedy)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
