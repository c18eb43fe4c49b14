"""A bundle's file in parts for media that are too small, and together again.

Parts are slices of the file, so ``cat`` joins them too. NAME.parts.json, written last, says how many there are and the SHA-256
of each; it is not signed, and need not be: what comes out is verified like any bundle. Joining goes part by part and can be
interrupted: what has been joined is hashed again the next time, and its parts are not needed any more.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from kubewright.disk import writing
from kubewright.errors import UsageError
from kubewright.oci.archive import Archive
from kubewright.oci.archive_errors import ArchiveReplacedError, PartsError
from kubewright.store import replace_file
from kubewright.verify import strictjson
from kubewright.verify.errors import JsonError, StatementError
from kubewright.verify.shape import Shape, is_hex_sha256

FORMAT: Final = 1
SUFFIX: Final = ".parts.json"

_CHUNK: Final = 1 << 20
_MOST: Final = 9999
_LIMITS: Final = strictjson.Limits(size=4 << 20, string=256, depth=4, values=60_000)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}")

Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part: ``sha256`` in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Parts:
    """A file in parts, as NAME.parts.json says."""

    name: str
    size: int
    sha256: str
    pieces: tuple[Piece, ...]

    def to_bytes(self) -> bytes:
        pieces = [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in self.pieces]
        value = {"version": FORMAT, "name": self.name, "size": self.size, "sha256": self.sha256, "parts": pieces}
        return (json.dumps(value, indent=1) + "\n").encode()


def part_name(name: str, number: int) -> str:
    """NAME.part-0001 and so on."""
    return f"{name}.part-{number:04}"


# -- splitting ----------------------------------------------------------------------------------------------------


def split(path: Path, size: int, folder: Path, progress: Report = lambda done: None) -> Path:
    """Write the bundle at ``path`` to ``folder`` in parts of ``size`` bytes; returns NAME.parts.json, which is written last.

    Raises UsageError (a directory, too many parts), ArchiveError (not a bundle), ArchiveReplacedError.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory", remedy="name the bundle's file, which ends in .oci.tar.zst")
    with Archive(path) as archive:  # whatever else is wrong with it: this is a bundle, and not cut off
        if size < 1 or archive.size > size * _MOST:
            raise UsageError(f"{archive.size} bytes in parts of {size} are more than {_MOST}", remedy="choose a larger size")
        if not _NAME.fullmatch(path.name):
            raise UsageError(f"{path.name!r} is no name for parts", remedy="rename the file: letters, digits, . _ + and -")
        with writing(folder, store=False), path.open("rb", buffering=0) as file:
            folder.mkdir(parents=True, exist_ok=True)
            whole = hashlib.sha256()
            count = -(-archive.size // size)
            pieces = [_write_part(folder / part_name(path.name, at + 1), file, size, whole, progress) for at in range(count)]
            archive.recheck()
            made = Parts(path.name, archive.size, whole.hexdigest(), tuple(pieces))
            if sum(each.size for each in pieces) != archive.size:
                raise ArchiveReplacedError(f"{path} was written to while it was being read")
            replace_file(folder / (path.name + SUFFIX), made.to_bytes())
    return folder / (path.name + SUFFIX)


def _write_part(target: Path, file: BinaryIO, size: int, whole: hashlib._Hash, progress: Report) -> Piece:
    found = hashlib.sha256()
    done = 0
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb", buffering=0) as out:
            while done < size and (piece := file.read(min(_CHUNK, size - done))):
                found.update(piece)
                whole.update(piece)
                _write_all(out, piece)
                done += len(piece)
                progress(len(piece))
            os.fsync(out.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return Piece(target.name, done, found.hexdigest())


# -- joining ------------------------------------------------------------------------------------------------------


def load_parts(path: Path) -> Parts:
    """What NAME.parts.json says. Raises PartsError."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PartsError(f"{path} is not a file", remedy=f"name the file that ends in {SUFFIX}")
            data = file.read(_LIMITS.size + 1)
        return _parse(strictjson.loads(data, _LIMITS, path.name), path.name)
    except OSError as error:
        raise PartsError(f"{path} cannot be read: {error.strerror}", remedy=f"name the file that ends in {SUFFIX}") from None
    except (JsonError, StatementError) as error:
        raise PartsError(error.message, remedy="copy it again from where the bundle was split") from None


def _parse(value: object, name: str) -> Parts:
    root = Shape.of(value, name, StatementError)
    root.only("version", "name", "size", "sha256", "parts")
    if root.integer("version") != FORMAT:
        raise root.refuse("version", f"is not {FORMAT}")
    pieces = tuple(_piece(each) for each in root.objects("parts"))
    found = Parts(root.text("name"), root.integer("size"), root.text("sha256"), pieces)
    if name != found.name + SUFFIX or not _NAME.fullmatch(found.name):
        raise root.refuse("name", f"is not the name before {SUFFIX}")
    if [each.name for each in pieces] != [part_name(found.name, at + 1) for at in range(len(pieces))] or len(pieces) > _MOST:
        raise root.refuse("parts", f"are not {part_name(found.name, 1)} and so on, up to {_MOST}")
    if not pieces or sum(each.size for each in pieces) != found.size:
        raise root.refuse("parts", "have other sizes than the whole")
    if not all(is_hex_sha256(each) for each in (found.sha256, *(piece.sha256 for piece in pieces))):
        raise root.refuse("sha256", "or that of a part is not a SHA-256 in lower-case hexadecimal")
    return found


def _piece(value: Shape) -> Piece:
    value.only("name", "size", "sha256")
    return Piece(value.text("name"), value.integer("size", 1), value.text("sha256"))


def join(
    manifest: Path,
    target: Path,
    folders: Sequence[Path] = (),
    *,
    available: bool = False,
    progress: Report = lambda done: None,
) -> Parts:
    """Put the file together at ``target`` (a directory: under its own name in there), from parts that lie beside ``manifest``
    or in ``folders``.

    Every part that is still needed has to be there before anything is written; ``available``: join as far as parts go.
    Raises PartsError; what has been joined before stays beside ``target`` for the next run.
    """
    parts = load_parts(manifest)
    target = target / parts.name if target.is_dir() else target
    if target.is_dir() and not target.is_symlink():
        raise PartsError(f"{target} is a folder", remedy="join to another name")
    growing = target.with_name(f".{target.name}.joining")
    with writing(target.parent, store=False), _alone(growing) as out:
        done, whole = _joined(out, parts, progress)
        sources = [_find(piece, [manifest.parent, *folders]) for piece in parts.pieces[done:]]
        _check_there(parts, done, sources, available)
        for number, source in enumerate(sources, start=done):
            if source is None:
                raise _missing(parts, [number])
            whole = _append(out, source, parts, number, whole, progress)
        if whole.hexdigest() != parts.sha256:
            raise PartsError(f"{target.name} is not what {manifest.name} says", remedy="split it again where it is whole")
        growing.replace(target)
        _sync_folder(target.parent)
    return parts


@contextmanager
def _alone(growing: Path) -> Iterator[BinaryIO]:
    """The growing file, which one process at a time writes; whoever waited for it opens what has its name by then."""
    while True:
        with _growing(growing) as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            if _is_at(out, growing):
                yield out
                return


def _growing(path: Path) -> BinaryIO:
    """The file, made where it is absent. Who prepared the medium must not choose what is written to: no links, no pipes."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        out = os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise _not_ours(path) from None
    status = os.fstat(out.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        out.close()
        raise _not_ours(path)
    return out


def _not_ours(path: Path) -> PartsError:
    return PartsError(f"{path} is a link or no file: nothing of ours", remedy="remove it, or join to another folder")


def _is_at(out: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(out.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _joined(out: BinaryIO, parts: Parts, progress: Report) -> tuple[int, hashlib._Hash]:
    """How many parts the growing file holds already, each hashed again, and the hash so far; what is behind them is cut off."""
    out.seek(0)
    whole, at = hashlib.sha256(), 0
    for number, piece in enumerate(parts.pieces):
        further, found = whole.copy(), hashlib.sha256()
        for data in _read(out, piece.size):
            found.update(data)
            further.update(data)
        if found.hexdigest() != piece.sha256:
            out.truncate(at)
            return number, whole
        whole, at = further, at + piece.size
        progress(piece.size)
    out.truncate(at)
    return len(parts.pieces), whole


def _check_there(parts: Parts, done: int, sources: Sequence[Path | None], available: bool) -> None:
    """Raise PartsError before anything is written: parts that are missing, or have another size."""
    missing = [number for number, source in enumerate(sources, start=done) if source is None]
    if missing and not (available and missing[0] != done):
        raise _missing(parts, missing)
    for piece, source in zip(parts.pieces[done:], sources, strict=True):
        if source is not None and source.stat().st_size != piece.size:
            raise PartsError(
                f"{source} has {source.stat().st_size} bytes of {piece.size}",
                remedy="copy it again from where the bundle was split",
            )


def _missing(parts: Parts, numbers: Sequence[int]) -> PartsError:
    names = [parts.pieces[number].name for number in numbers]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return PartsError(
        f"{shown} of {len(parts.pieces)} parts: not there",
        remedy="bring them, or name more folders with --from; --available joins what is there, and the next run goes on",
    )


def _append(out: BinaryIO, source: Path, parts: Parts, number: int, whole: hashlib._Hash, progress: Report) -> hashlib._Hash:
    """Append a part; returns the hash with it. What is not that part is taken off again."""
    piece = parts.pieces[number]
    start = out.seek(0, os.SEEK_END)
    found, further = hashlib.sha256(), whole.copy()
    with source.open("rb", buffering=0) as file:
        for data in _read(file, piece.size + 1):
            found.update(data)
            further.update(data)
            _write_all(out, data)
            progress(len(data))
    if found.hexdigest() == piece.sha256:
        os.fsync(out.fileno())
        return further
    out.truncate(start)
    other = next((each.name for each in parts.pieces if each.sha256 == found.hexdigest()), "")
    what = f"has the content of {other}" if other else "is damaged, or a part of another bundle"
    raise PartsError(f"{source} {what}", remedy="copy it again from where the bundle was split; what was joined before stays")


def _read(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (data := file.read(min(_CHUNK, size))):
        size -= len(data)
        yield data


def _find(piece: Piece, folders: Sequence[Path]) -> Path | None:
    return next((folder / piece.name for folder in folders if (folder / piece.name).is_file()), None)


def _write_all(out: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
