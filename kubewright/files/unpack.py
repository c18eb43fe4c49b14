"""Unpack tar and zip archives that nobody has to trust: every member is checked, and bombs stop early.

Refused, with the archive's and the member's name (UnsafeArchiveError): absolute paths, ``..``, links that lead out, links
and hard links to write through, devices and pipes, names that occur twice, names with NUL or not UTF-8, too many members,
too many bytes, too high a ratio of compression. When an archive is refused, nothing of it is left in the target.
"""

from __future__ import annotations

import bz2
import calendar
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from kubewright.errors import UnsafeArchiveError
from kubewright.files.digest import zip_name
from kubewright.files.tree import Limits, Readable, TreeWriter, Written, new_tree

_MAX_HEADER: Final = 1 << 20  # bytes of a PAX or GNU long-name header, which tarfile reads into memory
_HEADERS: Final = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_BROKEN: Final = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, UnicodeError, gzip.BadGzipFile)


def extract_tar(
    source: Path | Readable,
    target: Path,
    *,
    strip: int = 0,
    limits: Limits | None = None,
    origin: str = "",
    links: str = "inside",
) -> Written:
    """Unpack a tar (plain, gzip, bzip2 or xz, told by its first bytes) into a new or empty directory.

    ``strip`` drops so many leading names from each path; members that have no more are skipped. ``links`` is that of
    TreeWriter.
    """
    name = origin or (source.name if isinstance(source, Path) else "archive")
    with new_tree(target):
        if not isinstance(source, Path):
            return _extract_stream(source, target, name, strip, limits or Limits(), links)
        with source.open("rb") as stream:
            return _extract_stream(stream, target, name, strip, limits or Limits(), links)


def _extract_stream(source: Readable, target: Path, name: str, strip: int, limits: Limits, links: str) -> Written:
    with TreeWriter(target, name, links=links, limits=limits) as writer:
        write_tar(expanded(source, name, limits), writer, lambda path: stripped(writer, path, strip))
    return writer.written


def stripped(writer: TreeWriter, path: str, strip: int) -> str:
    """A member's path without its first names, checked before they go; empty when nothing is left."""
    return "/".join(writer.parts(path, may_be_root=True)[strip:])


def write_tar(stream: Readable, writer: TreeWriter, rename: Callable[[str], str]) -> None:
    """Write the members of a plain tar stream; ``rename`` gives each path its place, or the empty string to skip it."""
    with open_tar(stream, writer.origin) as tar:
        for member in tar:
            _write_member(tar, member, writer, rename)
            tar.members = []  # type: ignore[attr-defined]  # a stream needs none of those behind it


@contextmanager
def open_tar(stream: Readable, origin: str) -> Iterator[tarfile.TarFile]:
    """A plain tar stream; what is wrong with it is an UnsafeArchiveError that names ``origin``."""
    try:
        with tarfile.open(
            fileobj=cast(BinaryIO, stream), mode="r|", tarinfo=_BoundedInfo, encoding="utf-8", errors="surrogateescape"
        ) as tar:
            yield tar
    except _BROKEN as error:
        raise _broken(origin, error) from error


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, writer: TreeWriter, rename: Callable[[str], str]) -> None:
    name = rename(member.name)
    if member.isdir():
        writer.directory(name)
    elif not name:
        return
    elif member.issym():
        writer.link(name, member.linkname)
    elif member.islnk():
        writer.hard_link(name, rename(member.linkname))
    elif member.isreg() and member.sparse is None:
        content = tar.extractfile(member)
        assert content is not None
        writer.file(name, content, executable=bool(member.mode & 0o100))
        writer.newest = max(writer.newest, int(member.mtime))
    else:
        raise writer.refuse(member.name, "is a device, a pipe or of another kind that no source needs")


class _BoundedInfo(tarfile.TarInfo):
    """A tar header that cannot ask for gigabytes of names."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _HEADERS and info.size > _MAX_HEADER:
            raise UnsafeArchiveError(f"a tar header of {info.size} bytes for one name: more than {_MAX_HEADER}")
        return info


# -- compression --------------------------------------------------------------------------------------------------


def expanded(source: Readable, name: str, limits: Limits) -> Readable:
    """The plain stream behind a compressed one, told by its first bytes, that stops at the limits."""
    counted = _Counted(source)
    buffered = io.BufferedReader(counted, 1 << 18)
    magic = buffered.peek(6)[:6]
    plain: Readable
    if magic.startswith(b"\x1f\x8b"):
        plain = gzip.GzipFile(fileobj=buffered)
    elif magic.startswith(b"\xfd7zXZ\0"):
        plain = lzma.LZMAFile(buffered)  # noqa: SIM115 - closes with its source
    elif magic.startswith(b"BZh"):
        plain = bz2.BZ2File(buffered)
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        raise UnsafeArchiveError(f"{name} is compressed with zstd, which is not supported", remedy="use a .tar.gz or .tar.xz")
    else:
        plain = buffered
    return _Expanded(plain, counted, name, limits)


class _Counted(io.RawIOBase):
    """Counts what is read from a stream."""

    def __init__(self, source: Readable) -> None:
        self.count = 0
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._source.read(len(view))
        view[: len(data)] = data
        self.count += len(data)
        return len(data)


class _Expanded:
    """A decompressed stream that ends in UnsafeArchiveError when it becomes a bomb."""

    def __init__(self, plain: Readable, packed: _Counted, name: str, limits: Limits) -> None:
        self._plain, self._packed, self._name, self._limits = plain, packed, name, limits
        self._count = 0

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._plain.read(size)
        except (OSError, lzma.LZMAError, zlib.error, EOFError) as error:
            raise _broken(self._name, error) from error
        self._count += len(data)
        # tar pads: a tar of nothing but headers is longer than its files
        check_ratio(self._name, self._count, self._packed.count, self._limits)
        if self._count > 2 * self._limits.bytes + (1 << 20):
            raise _too_large(self._name, self._limits)
        return data


def check_ratio(name: str, unpacked: int, packed: int, limits: Limits) -> None:
    """Raise UnsafeArchiveError for a bomb."""
    if unpacked > limits.ratio_floor and unpacked > limits.ratio * max(packed, 1):
        raise UnsafeArchiveError(
            f"{name} unpacks to {unpacked} bytes and more from {packed}: over {limits.ratio} to 1",
            remedy="this is how a compression bomb looks; nothing was kept of it",
        )


def _too_large(name: str, limits: Limits) -> UnsafeArchiveError:
    return UnsafeArchiveError(f"{name} unpacks to more than {limits.bytes} bytes", remedy="nothing was kept of it")


def _broken(name: str, error: Exception) -> UnsafeArchiveError:
    return UnsafeArchiveError(f"{name} is damaged or not an archive: {error}", remedy="fetch it again")


# -- zip ----------------------------------------------------------------------------------------------------------


def extract_zip(
    path: Path,
    target: Path,
    *,
    prefix: str = "",
    strip: int = 0,
    limits: Limits | None = None,
    executable: Callable[[str], bool] | None = None,
) -> Written:
    """Unpack a zip into a new or empty directory.

    Every name has to begin with ``prefix``, which is dropped (``MODULE@VERSION/`` for a Go module), and then loses ``strip``
    more leading names. ``executable`` decides by the remaining path; without it the zip's own modes count.
    """
    bounds = limits or Limits()
    try:
        with new_tree(target), zipfile.ZipFile(path) as archive, TreeWriter(target, path.name, limits=bounds) as writer:
            members = archive.infolist()
            _check_sums(path, members, bounds)
            for member in members:
                name = zip_name(member)
                if not name.startswith(prefix):
                    raise writer.refuse(name, f"does not begin with {prefix!r}")
                place = stripped(writer, name.removeprefix(prefix), strip)
                _write_zip_member(archive, member, place, writer, executable)
        return writer.written
    except (*_BROKEN, NotImplementedError, RuntimeError) as error:  # the last two: unknown compression, encryption
        raise _broken(path.name, error) from error


def _check_sums(path: Path, members: list[zipfile.ZipInfo], limits: Limits) -> None:
    total = sum(member.file_size for member in members)
    if total > limits.bytes:
        raise _too_large(path.name, limits)
    check_ratio(path.name, total, path.stat().st_size, limits)


def zip_time(member: zipfile.ZipInfo) -> int:
    """A member's time in seconds since the epoch, read as UTC since a zip has no zone; 0 when it has none."""
    try:
        return max(0, calendar.timegm((*member.date_time, 0, 0, 0)))
    except ValueError:
        return 0


def _write_zip_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    place: str,
    writer: TreeWriter,
    executable: Callable[[str], bool] | None,
) -> None:
    mode = member.external_attr >> 16
    if member.filename.endswith("/"):
        writer.directory(place)
        return
    if not place:
        return
    with archive.open(member) as content:
        if stat.S_ISLNK(mode):
            writer.link(place, content.read(writer.limits.name).decode("utf-8"))
        elif stat.S_IFMT(mode) in (0, stat.S_IFREG):
            runs = executable(place) if executable else bool(mode & 0o100)
            writer.file(place, content, executable=runs)
            writer.newest = max(writer.newest, zip_time(member))
        else:
            raise writer.refuse(place, "is a device, a pipe or of another kind that no source needs")
