"""Files of a signed set, read once and never through a symbolic link.

A ``Folder`` opens each name below its root one part at a time, so that no link leads out; whatever is neither file nor
directory is refused. Every file that was read and every directory that was listed keeps its identity (device, inode, size,
times): ``recheck`` says at the end whether one was replaced or written to. With a copy, what is hashed is what is
written: nothing can come between.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from kubewright.files.tree import NORMAL_TIME
from kubewright.verify.errors import ArtifactMissingError, FileReplacedError, JsonSizeError, UnsafeSetError

FolderType = TypeVar("FolderType", bound="Folder")

_CHUNK: Final = 1 << 20
_ENTRIES: Final = 200_000
_DEPTH: Final = 64
_ENDLESS: Final = 1 << 63
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not make us wait
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Identity = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a file is: ``sha256:<hex>`` and bytes; for a directory, those of its normalised tar."""

    digest: str
    size: int
    tree: bool = False


class Folder:
    """A directory of a set. ``copy`` is where everything that is read is written as well; None for nowhere."""

    def __init__(self, path: Path, copy: Path | None = None) -> None:
        self.path = path
        self._copy = copy
        self._seen: dict[str, Identity] = {}
        self._listed: dict[str, Identity] = {}
        self._measured: dict[str, Measured] = {}
        self._lock = threading.Lock()

    def __enter__(self: FolderType) -> FolderType:
        with self._refusing("."):
            self._root = os.open(self.path, _FOLDER)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._root)

    def name(self, path: str) -> str:
        """How messages call a file: with the folder's name."""
        return f"{self.path.name}/{path}" if path else self.path.name

    # -- looking ------------------------------------------------------------------------------------------------------

    def names(self, path: str = "") -> list[tuple[str, bool]]:
        """The names in a directory, sorted, each with whether it is a directory. None when there is no such directory."""
        found = []
        with self._opened_folder(path) as handle, os.scandir(handle) as entries:
            status = _identity(os.fstat(handle))
            if self._listed.setdefault(path, status) != status:
                raise self._replaced(path)
            for entry in entries:
                inside = f"{path}/{entry.name}" if path else entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                self._refuse_special(inside, mode)
                found.append((entry.name, stat.S_ISDIR(mode)))
                if len(found) > _ENTRIES:
                    raise UnsafeSetError(f"{self.name(path)}: more than {_ENTRIES} entries")
        return sorted(found)

    def walk(self, path: str = "") -> list[tuple[str, bool]]:
        """Everything below a directory, by path, sorted by bytes, each with whether it is a directory."""
        found: list[tuple[str, bool]] = []
        pending = [path]
        while pending:
            folder = pending.pop()
            if folder.count("/") > _DEPTH:
                raise UnsafeSetError(f"{self.name(folder[:80])}...: folders nested deeper than {_DEPTH}")
            for name, is_folder in self.names(folder):
                inside = f"{folder}/{name}" if folder else name
                found.append((inside, is_folder))
                if is_folder:
                    pending.append(inside)
            if len(found) > _ENTRIES:
                raise UnsafeSetError(f"{self.name(path)}: more than {_ENTRIES} entries")
        return sorted(found, key=lambda item: item[0].encode("utf-8", "surrogateescape"))

    def is_folder(self, path: str) -> bool:
        """Whether there is a directory; False for a file. ArtifactMissingError when there is nothing."""
        parent, _, name = path.rpartition("/")
        with self._opened_folder(parent) as handle, self._refusing(path):
            mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
        self._refuse_special(path, mode)
        return stat.S_ISDIR(mode)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, path: str, limit: int, *, again: bool = False) -> bytes:
        """A file's bytes; JsonSizeError when there are more than ``limit``. ``again``: do not copy it."""
        pieces: list[bytes] = []

        def take(piece: memoryview) -> None:
            pieces.append(bytes(piece))

        with self._opened(path) as handle:
            size = os.fstat(handle).st_size
            if size > limit:
                raise JsonSizeError(f"{self.name(path)}: {size} bytes, more than {limit}")
            self._stream(path, handle, [take], copy=not again)
        return b"".join(pieces)

    def measure(self, path: str, most: int = _ENDLESS, *, executable: bool = False) -> Measured:
        """Digest and size of a file, hashed (and copied) in one pass, once; UnsafeSetError when it has more than ``most``
        bytes: a file with holes takes no room, and hours to hash."""
        if path not in self._measured:
            digest = hashlib.sha256()
            with self._opened(path) as handle:
                self._refuse_large(path, os.fstat(handle).st_size, most)
                size = self._stream(path, handle, [digest.update], executable=executable)
            self._measured[path] = Measured("sha256:" + digest.hexdigest(), size)
        return self._measured[path]

    def measure_tree(self, path: str, most: int = _ENDLESS) -> Measured:
        """The same for a directory: of its tar in normal form, as kubewright.files.tree.normalised_tar packs it."""
        digest = hashlib.sha256()
        size = 0

        def take(data: bytes | memoryview) -> None:
            nonlocal size
            digest.update(data)
            size += len(data)

        for name, is_folder in self.walk(path):
            info = tarfile.TarInfo(name.removeprefix(path + "/"))
            info.mtime = NORMAL_TIME
            if is_folder:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                take(_header(info))
                if self._copy is not None:
                    (self._copy / name).mkdir(parents=True, exist_ok=True)
            else:
                self._take_member(info, name, most - size, take)
        end = size + 2 * tarfile.BLOCKSIZE
        take(b"\0" * (end - size + -end % tarfile.RECORDSIZE))
        return Measured("sha256:" + digest.hexdigest(), size, tree=True)

    def _take_member(self, info: tarfile.TarInfo, name: str, most: int, take: Callable[[Any], object]) -> None:
        with self._opened(name) as handle:
            status = os.fstat(handle)
            self._refuse_large(name, status.st_size, most)
            executable = bool(status.st_mode & 0o100)
            info.size, info.mode = status.st_size, 0o755 if executable else 0o644
            take(_header(info))
            size = self._stream(name, handle, [take], executable=executable)
            take(b"\0" * (-size % tarfile.BLOCKSIZE))

    def recheck(self) -> None:
        """FileReplacedError when a file that was read, or a directory that was listed, is not the same one any more."""
        with self._refusing("."):
            root = self.path.stat(follow_symlinks=False)
        if not os.path.samestat(root, os.fstat(self._root)):
            raise self._replaced("")
        for path, identity in self._listed.items():
            with self._opened_folder(path) as folder:
                if _identity(os.fstat(folder)) != identity:
                    raise self._replaced(path)
        for path, identity in self._seen.items():
            with self._opened(path, note=False) as handle:
                if _identity(os.fstat(handle)) != identity:
                    raise self._replaced(path)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _stream(
        self,
        path: str,
        handle: int,
        takers: list[Callable[[Any], object]],
        *,
        executable: bool = False,
        copy: bool = True,
    ) -> int:
        before = _identity(os.fstat(handle))
        buffer = memoryview(bytearray(min(_CHUNK, before[2] + 1)))
        total = 0
        with self._copying(path if copy else "", executable) as write, open(handle, "rb", buffering=0, closefd=False) as stream:
            while count := stream.readinto(buffer):
                piece = buffer[:count]
                write(piece)
                for take in takers:
                    take(piece)
                total += count
                if total > before[2]:  # whoever goes on writing would never let us end
                    raise self._replaced(path)
        if total != before[2] or _identity(os.fstat(handle)) != before:
            raise self._replaced(path)
        return total

    @contextmanager
    def _copying(self, path: str, executable: bool) -> Iterator[Callable[[memoryview], object]]:
        if self._copy is None or not path:
            yield lambda piece: None
            return
        target = self._copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(target, _NEW, 0o600), "wb", buffering=0) as stream:
            yield lambda piece: _write_all(stream, piece)
            os.fchmod(stream.fileno(), 0o755 if executable else 0o644)
            os.fsync(stream.fileno())

    @contextmanager
    def _opened(self, path: str, *, note: bool = True) -> Iterator[int]:
        parent, _, name = path.rpartition("/")
        with self._opened_folder(parent) as folder, self._refusing(path):
            handle = os.open(name, _FILE, dir_fd=folder)
        try:
            status = os.fstat(handle)
            self._refuse_special(path, status.st_mode, folders=False)
            if note:
                with self._lock:
                    if self._seen.setdefault(path, _identity(status)) != _identity(status):
                        raise self._replaced(path)
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def _opened_folder(self, path: str) -> Iterator[int]:
        handle = os.dup(self._root)
        try:
            for part in path.split("/") if path else ():
                if part in ("", ".", ".."):
                    raise UnsafeSetError(f"{path!r} leads out of {self.path.name}")
                with self._refusing(path):
                    inner = os.open(part, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def _refusing(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if path in self._seen or path in self._listed:
                raise self._replaced(path) from None
            raise ArtifactMissingError(f"{self.name(path)} is not there") from None
        except NotADirectoryError:
            # what O_DIRECTORY | O_NOFOLLOW says of a link, too
            raise UnsafeSetError(f"{self.name(path)} leads through something that is no directory") from None
        except OSError as reason:
            if reason.errno == errno.ELOOP:
                raise self._unsafe(path, "a symbolic link") from None
            raise UnsafeSetError(f"{self.name(path)} cannot be read: {reason.strerror}") from None

    def _refuse_special(self, path: str, mode: int, *, folders: bool = True) -> None:
        if stat.S_ISREG(mode) or (folders and stat.S_ISDIR(mode)):
            return
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe"}
        raise self._unsafe(path, kinds.get(stat.S_IFMT(mode), "a device or socket"))

    def _refuse_large(self, path: str, size: int, most: int) -> None:
        if size > most:
            raise UnsafeSetError(
                f"{self.name(path)} has {size} bytes, and {most} are the most that may lie there",
                remedy="copy it again from where it was signed",
            )

    def _unsafe(self, path: str, what: str) -> UnsafeSetError:
        return UnsafeSetError(
            f"{self.name(path)} is {what}",
            remedy="a signed set holds files and directories only; copy it again from its origin",
        )

    def _replaced(self, path: str) -> FileReplacedError:
        return FileReplacedError(
            f"{self.name(path)} was replaced or written to while it was being verified",
            remedy="let nobody write to the set, then verify again; --copy-to takes the very bytes that were verified",
        )


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _write_all(stream: io.FileIO, piece: memoryview) -> None:
    while piece:
        piece = piece[stream.write(piece) or 0 :]


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@contextmanager
def new_copy(target: Path | None) -> Iterator[Path | None]:
    """A directory to copy into that gets its name only when the block succeeds; else nothing of it is left."""
    if target is None:
        yield None
        return
    import shutil
    import tempfile

    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        os.rename(partial, target)  # noqa: PTH104 - over nothing, or over an empty directory, never over content
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(partial)
        raise
