"""Trees on disk: write them without ever leaving their root, copy, remove and pack them in one normal form.

Whatever comes out of an archive or a git repository is written through ``TreeWriter``. It opens each parent directory
one name at a time and never through a symbolic link, creates files only where nothing is, and gives everything one form:
files 0644 or 0755, directories 0755, one modification time, no owner, no setuid, no hard links.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, TypeVar

from kubewright.errors import UnsafeArchiveError
from kubewright.files.digest import Entry, link_target, walk

#: the time of every file in a tree of ours: 1980-01-01, the first that zip, make and everything else can hold
NORMAL_TIME: Final = 315_532_800

Writer = TypeVar("Writer", bound="TreeWriter")

_CHUNK = 1 << 20
_HOPS = 40  # symbolic links followed before the kernel says ELOOP
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Readable(Protocol):
    """A stream that can be read."""

    def read(self, size: int = ..., /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unpack to. ``ratio`` counts once ``ratio_floor`` bytes are unpacked."""

    members: int = 300_000
    bytes: int = 8 << 30
    ratio: int = 150
    ratio_floor: int = 64 << 20
    name: int = 4096


#: for trees that are ours already
UNLIMITED: Final = Limits(members=1 << 62, bytes=1 << 62)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: files and links, their bytes, and the newest time that the archive gave (0: none)."""

    files: int
    bytes: int
    newest: int


class TreeWriter:
    """Writes names below one directory, and nowhere else. ``origin`` is how errors name the archive.

    ``links``: ``"inside"`` refuses a symbolic link that leads out of the tree (checked over the whole tree at the end,
    because links can be chained); ``"any"`` keeps every link as it is, as a Debian root or a git tree needs it. Either
    way no link is followed while writing.
    """

    def __init__(self, root: Path, origin: str, *, links: str = "inside", limits: Limits | None = None) -> None:
        self.root = root
        self.origin = origin
        self.limits = limits or Limits()
        self.newest = 0
        self._inside_only = links == "inside"
        self._links: dict[tuple[str, ...], str] = {}
        self._count = 0
        self._bytes = 0
        self._files = 0
        self._open: list[tuple[str, int]] = []  # the parent directory last written to, as names and descriptors

    def __enter__(self: Writer) -> Writer:
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._root = os.open(self.root, _DIRECTORY)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close_below(0)
        os.close(self._root)
        if kind is None and self._inside_only:
            self._check_links()

    @property
    def written(self) -> Written:
        """The sums up to now."""
        return Written(self._files, self._bytes, self.newest)

    def refuse(self, name: str, reason: str) -> UnsafeArchiveError:
        """The error that names archive and member."""
        return UnsafeArchiveError(
            f"{self.origin}: member {name!r} {reason}",
            remedy="nothing was kept of it; look at where this archive comes from before using another one",
        )

    def directory(self, name: str) -> None:
        """Make a directory and its parents; it may be there already."""
        parts = self.parts(name, may_be_root=True)
        self._counted(name, 0)
        if parts:
            self._parent(name, parts)

    def file(self, name: str, content: Readable, *, executable: bool = False) -> None:
        """Write a new file from a stream, to its end."""
        parts = self.parts(name)
        self._counted(name, 0)
        parent = self._parent(name, parts[:-1])
        with self._must_be_new(name):
            handle = os.open(parts[-1], _NEW_FILE, 0o600, dir_fd=parent)
        try:
            while piece := content.read(_CHUNK):
                self._counted(name, len(piece), members=0)
                _write_all(handle, piece)
            os.fchmod(handle, 0o755 if executable else 0o644)
            os.utime(handle, (NORMAL_TIME, NORMAL_TIME))
        finally:
            os.close(handle)
        self._files += 1

    def link(self, name: str, target: str) -> None:
        """Write a symbolic link."""
        parts = self.parts(name)
        self._counted(name, len(target))
        if not target or "\0" in target:
            raise self.refuse(name, "is a symbolic link without a usable target")
        if self._inside_only and target.startswith("/"):
            raise self.refuse(name, f"is a symbolic link to the absolute path {target!r}")
        parent = self._parent(name, parts[:-1])
        with self._must_be_new(name):
            os.symlink(target, parts[-1], dir_fd=parent)
        os.utime(parts[-1], (NORMAL_TIME, NORMAL_TIME), dir_fd=parent, follow_symlinks=False)
        self._links[parts] = target
        self._files += 1

    def hard_link(self, name: str, target: str) -> None:
        """A hard link becomes a copy of the file that it names, which has to be there already."""
        with self._existing_file(name, target) as content:
            self.file(name, content, executable=bool(os.fstat(content.fileno()).st_mode & 0o100))

    def _existing_file(self, name: str, target: str) -> BinaryIO:
        source = self.parts(target)
        try:
            parent = self._parent(target, source[:-1], make=False)
            if not stat.S_ISREG(os.stat(source[-1], dir_fd=parent, follow_symlinks=False).st_mode):
                raise self.refuse(name, f"is a hard link to {target!r}, which is not a file")
            return open(os.open(source[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent), "rb")
        except OSError as error:
            raise self.refuse(name, f"is a hard link to {target!r}, which is not in this archive") from error

    def parts(self, name: str, *, may_be_root: bool = False) -> tuple[str, ...]:
        """The names of a relative path; refuses everything that is not one. ``./`` and a last ``/`` are harmless."""
        if "\0" in name:
            raise self.refuse(name, "has a NUL in its name")
        try:
            size = len(name.encode("utf-8"))
        except UnicodeEncodeError:
            raise self.refuse(name, "has a name that is not UTF-8") from None
        if size > self.limits.name:
            raise self.refuse(name[:80] + "...", f"has a name of {size} bytes, more than {self.limits.name}")
        if name.startswith("/"):
            raise self.refuse(name, "has an absolute path")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if ".." in parts:
            raise self.refuse(name, "leads out of the target with '..'")
        if not parts and not may_be_root:
            raise self.refuse(name, "has no name")
        return parts

    def _counted(self, name: str, size: int, *, members: int = 1) -> None:
        self._count += members
        self._bytes += size
        if self._count > self.limits.members:
            raise self.refuse(name, f"is one too many: more than {self.limits.members} members")
        if self._bytes > self.limits.bytes:
            raise self.refuse(name, f"is too large: more than {self.limits.bytes} bytes in all")

    def _parent(self, name: str, parts: tuple[str, ...], *, make: bool = True) -> int:
        """A descriptor of a directory below the root, opened name by name; made where missing."""
        kept = 0
        while kept < min(len(parts), len(self._open)) and self._open[kept][0] == parts[kept]:
            kept += 1
        self._close_below(kept)
        current = self._open[-1][1] if self._open else self._root
        for part in parts[kept:]:
            current = self._enter(name, part, current, make)
            self._open.append((part, current))
        return current

    def _enter(self, name: str, part: str, parent: int, make: bool) -> int:
        try:
            return os.open(part, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:  # ELOOP or ENOTDIR: a link or a file is there
            raise self.refuse(name, f"would be written through {part!r}, which is not a directory") from error
        os.mkdir(part, 0o755, dir_fd=parent)
        return os.open(part, _DIRECTORY, dir_fd=parent)

    @contextmanager
    def _must_be_new(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise self.refuse(name, "is there already: it occurs twice, or differs only in case on this disk") from None

    def _close_below(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop()[1])

    def _check_links(self) -> None:
        for parts, target in self._links.items():
            if not self._stays_inside(parts[:-1], target):
                raise self.refuse("/".join(parts), f"is a symbolic link that leads out of the target: {target!r}")

    def _stays_inside(self, start: tuple[str, ...], target: str) -> bool:
        """Walk a link's target the way the kernel would, over the links of this tree."""
        position, pending, hops = list(start), target.split("/"), 0
        while pending:
            part = pending.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                if not position:
                    return False
                position.pop()
                continue
            position.append(part)
            next_target = self._links.get(tuple(position))
            if next_target is not None:
                hops += 1
                if hops > _HOPS:
                    return True  # a circle: no one gets anywhere through it
                position.pop()
                pending = next_target.split("/") + pending
        return True


@contextmanager
def new_tree(target: Path) -> Iterator[Path]:
    """A directory to write into; when the block fails, nothing of it is left. It must not exist, or be empty."""
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty")
    try:
        yield target
    except BaseException:
        remove_tree(target)
        raise
    settle(target)


def settle(root: Path) -> None:
    """Give every directory its mode and time; writing into one has changed the time since."""
    for folder, _, _ in os.walk(root, topdown=False):
        Path(folder).chmod(0o755)
        os.utime(folder, (NORMAL_TIME, NORMAL_TIME))


def remove_tree(root: Path) -> None:
    """Remove a tree, read-only directories included; links are removed, not followed. It may be gone already."""
    if root.is_symlink() or root.is_file():
        root.unlink()
        return
    try:
        shutil.rmtree(root)
    except FileNotFoundError:
        if root.exists():  # something else removed a part of it at the same time
            remove_tree(root)
    except PermissionError:
        _unlock(root)
        shutil.rmtree(root)


def _unlock(root: Path) -> None:
    """Make every directory writable for its owner; Go's module cache, for one, is read-only."""
    root.chmod(0o700)
    for folder, names, _ in os.walk(root):
        for name in names:
            if not Path(folder, name).is_symlink():
                Path(folder, name).chmod(0o700)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree of files, directories and links in normal form; links are copied as links, wherever they point."""
    with new_tree(target), TreeWriter(target, str(source), links="any", limits=UNLIMITED) as writer:
        for entry in walk(source):
            path = source / entry.path
            if entry.kind == "directory":
                writer.directory(entry.path)
            elif entry.kind == "link":
                writer.link(entry.path, link_target(path).decode("utf-8", "surrogateescape"))
            else:
                with path.open("rb") as content:
                    writer.file(entry.path, content, executable=entry.executable)


def normalised_tar(root: Path, out: BinaryIO, *, mtime: int = NORMAL_TIME) -> None:
    """Pack a tree as PAX tar, a pure function of names, contents, links and executable bits.

    Sorted by the bytes of the path, directories included, uid and gid 0 with no names, modes 0644, 0755 and 0777 (links),
    no hard links, padded to 10,240 bytes. Python's tarfile writes the same bytes on 3.10 to 3.13.
    """
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
        for entry in walk(root):
            info = _tar_info(root, entry, mtime)
            if entry.kind == "file":
                with (root / entry.path).open("rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)


def _tar_info(root: Path, entry: Entry, mtime: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path)
    info.mtime = mtime
    info.mode = 0o755 if entry.executable or entry.kind == "directory" else 0o644
    if entry.kind == "directory":
        info.type = tarfile.DIRTYPE
    elif entry.kind == "link":
        info.type, info.mode = tarfile.SYMTYPE, 0o777
        info.linkname = link_target(root / entry.path).decode("utf-8", "surrogateescape")
    else:
        info.size = entry.size
    return info


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
