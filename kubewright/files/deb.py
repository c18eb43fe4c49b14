"""Debian packages: the ``ar`` archive that a .deb is, and a root file system unpacked from many of them.

No maintainer script runs, nothing of a package is executed, so a root is a pure function of the packages' files. See
deb(5) and https://wiki.debian.org/UsrMerge.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO, Final

from kubewright.errors import UnsafeArchiveError
from kubewright.files.digest import sha256_file
from kubewright.files.tree import Limits, Readable, TreeWriter, Written, new_tree
from kubewright.files.unpack import expanded, open_tar, write_tar

_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
_MERGED: Final = ("bin", "sbin", "lib", "lib64")  # links to usr/NAME in every root
_MERGED_IF_USED: Final = ("lib32", "libx32", "libo32")
_CHUNK: Final = 1 << 20
_CONTROL: Final = 8 << 20  # bytes of a control.tar: md5sums of a big package are the most of it


def extract_deb(path: Path, target: Path, *, limits: Limits | None = None) -> Written:
    """Unpack a package's files into a new or empty directory, as they stand in it (no merged /usr)."""
    bounds = limits or Limits()
    with (
        new_tree(target),
        TreeWriter(target, path.name, links="any", limits=bounds) as writer,
        data_tar(path, bounds) as stream,
    ):
        write_tar(stream, writer, lambda name: name)
    return writer.written


def package_files(path: Path, *, limits: Limits | None = None) -> frozenset[str]:
    """The paths that a package holds, folders included, as they are in a root with merged /usr."""
    bounds = limits or Limits()
    with data_tar(path, bounds) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
        return frozenset(merged(member.name).rstrip("/") for member in tar)


@contextmanager
def data_tar(path: Path, limits: Limits) -> Iterator[Readable]:
    """The plain ``data.tar`` of a package. Raises UnsafeArchiveError when the file is no Debian package."""
    with _member_tar(path, "data.tar", limits) as stream:
        yield stream


def control_file(path: Path) -> bytes:
    """The package's paragraph of its ``control`` file. Raises UnsafeArchiveError when the file is no Debian package."""
    limits = Limits(bytes=_CONTROL)
    with _member_tar(path, "control.tar", limits) as stream, open_tar(stream, path.name) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.name.removeprefix("./") == "control" and member.isfile() else None
            if content is not None:
                return content.read(_CONTROL)
    raise UnsafeArchiveError(f"{path.name} has no control file: it is not a Debian package", remedy="fetch it again")


@contextmanager
def _member_tar(path: Path, wanted: str, limits: Limits) -> Iterator[Readable]:
    with path.open("rb") as archive:
        for name, size in ar_members(archive, path.name):
            if name.startswith(wanted):
                yield expanded(_Slice(archive, size), f"{path.name} ({name})", limits)
                return
    raise UnsafeArchiveError(f"{path.name} has no {wanted}: it is not a Debian package", remedy="fetch it again")


def ar_members(archive: BinaryIO, name: str) -> Iterator[tuple[str, int]]:
    """Name and size of each member; at each yield the archive stands at the member's content."""
    if archive.read(len(_MAGIC)) != _MAGIC:
        raise UnsafeArchiveError(f"{name} is not an ar archive, so not a Debian package", remedy="fetch it again")
    while header := archive.read(_HEADER):
        if len(header) < _HEADER or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise UnsafeArchiveError(f"{name} has a damaged ar header", remedy="fetch it again")
        size = int(header[48:58])
        start = archive.tell()
        yield header[:16].decode("latin-1").rstrip().rstrip("/"), size
        archive.seek(start + size + size % 2)


class _Slice:
    """The next ``size`` bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(wanted)
        self._left -= len(data)
        return data


# -- a root of many packages --------------------------------------------------------------------------------------


def unpack_root(debs: Sequence[Path], target: Path, *, limits: Limits | None = None) -> Written:
    """Unpack packages over each other into a new or empty directory: a root file system with merged /usr.

    The result depends on the set of packages alone, not on their order. ``/bin``, ``/sbin``, ``/lib`` and ``/lib64`` are links
    into ``/usr``, and what packages hold below those names lands there. Two packages may hold the same file; when it
    differs, or is another kind of thing, UnsafeArchiveError names the file and both packages.
    """
    bounds = limits or Limits()
    with new_tree(target), _RootWriter(target, "root", links="any", limits=bounds) as writer:
        for name in _MERGED:
            writer.merge(name)
        for deb, stream in _unpacked_ahead(sorted(debs, key=lambda path: path.name), target.parent, bounds):
            with stream:
                writer.origin = deb.name
                write_tar(stream, writer, merged)
    return writer.written


def merged(name: str) -> str:
    """Where a package's path lands in a root with merged /usr: ``./lib/x`` becomes ``usr/lib/x``."""
    path = name.removeprefix("./").rstrip("/")
    first = path.split("/", 1)[0]
    return f"usr/{path}" if first in (*_MERGED, *_MERGED_IF_USED) else path


def _unpacked_ahead(debs: Sequence[Path], scratch: Path, limits: Limits) -> Iterator[tuple[Path, IO[bytes]]]:
    """Each package with its decompressed data.tar in a nameless file, some packages ahead in threads."""
    with ThreadPoolExecutor(2) as pool:
        waiting = iter(debs)
        started = [(deb, pool.submit(_decompressed, deb, scratch, limits)) for deb in islice(waiting, 4)]
        while started:
            deb, unpacked = started.pop(0)
            started += [(further, pool.submit(_decompressed, further, scratch, limits)) for further in islice(waiting, 1)]
            yield deb, unpacked.result()


def _decompressed(deb: Path, scratch: Path, limits: Limits) -> IO[bytes]:
    plain = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - the caller closes it
    try:
        with data_tar(deb, limits) as stream:
            while piece := stream.read(_CHUNK):
                plain.write(piece)
        plain.seek(0)
    except BaseException:
        plain.close()
        raise
    return plain


class _RootWriter(TreeWriter):
    """A TreeWriter over which several packages may write the same thing."""

    def __init__(self, root: Path, origin: str, *, links: str = "any", limits: Limits | None = None) -> None:
        super().__init__(root, origin, links=links, limits=limits)
        self._owners: dict[str, str] = {}

    def merge(self, name: str) -> None:
        """Make ``/NAME`` a link to ``/usr/NAME``."""
        self.directory(f"usr/{name}")
        super().link(name, f"usr/{name}")

    def file(self, name: str, content: Readable, *, executable: bool = False) -> None:
        owner = self._owners.setdefault(name, self.origin)
        there = self.root / name
        if owner == self.origin:
            self._merge_if_used(name)
            super().file(name, content, executable=executable)
        elif there.is_symlink() or sha256_file(there) != _sha256(content) or bool(there.stat().st_mode & 0o100) != executable:
            raise self.refuse(name, f"differs from the one of {owner}")

    def link(self, name: str, target: str) -> None:
        if name.removeprefix("usr/") in _MERGED and target == name:
            return  # newer base-files packages bring the links of the merged /usr themselves
        owner = self._owners.setdefault(name, self.origin)
        if owner == self.origin:
            self._merge_if_used(name)
            super().link(name, target)
        elif not (self.root / name).is_symlink() or str((self.root / name).readlink()) != target:
            raise self.refuse(name, f"differs from the one of {owner}")

    def _merge_if_used(self, name: str) -> None:
        first = name.removeprefix("usr/").split("/", 1)[0]
        if first in _MERGED_IF_USED and first not in self._owners:
            self._owners[first] = self.origin
            self.merge(first)


def _sha256(content: Readable) -> str:
    digest = sha256()
    while piece := content.read(_CHUNK):
        digest.update(piece)
    return "sha256:" + digest.hexdigest()
