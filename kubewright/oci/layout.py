"""OCI layouts (image-layout.md): a whole one as a value, and writing one as a directory: all of it, or nothing."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from kubewright.disk import writing
from kubewright.files.digest import sha256_hex
from kubewright.files.tree import remove_tree
from kubewright.oci.errors import BlobDamagedError
from kubewright.oci.layer import Written
from kubewright.oci.model import digest_of
from kubewright.oci.source import FilePart, Source, chunks

__all__ = ["LAYOUT_FILE", "MARKER", "FilePart", "Layout", "LayoutWriter", "Source", "new_layout", "write_directory"]

#: the file that says what the directory is, and its only content
LAYOUT_FILE: Final = "oci-layout"
MARKER: Final = b'{"imageLayoutVersion":"1.0.0"}'

Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole OCI layout as a value: nothing is written yet."""

    index: bytes
    blobs: Mapping[str, Source]


def write_directory(layout: Layout, target: Path, progress: Report = lambda done: None) -> None:
    """Write the layout at ``target``, in place of what is there; ``progress`` is told the bytes of each piece.

    Raises BlobDamagedError when a source has other bytes than its digest says; then, as after any other failure, ``target``
    is what it was.
    """
    with new_layout(target, progress) as writer:
        for digest in sorted(layout.blobs):
            writer.add(digest, layout.blobs[digest])
        writer.index(layout.index)


@contextmanager
def new_layout(target: Path, progress: Report = lambda done: None) -> Iterator[LayoutWriter]:
    """A layout to fill; at the end of the block it is synced to disk and takes ``target``'s place. The block writes the index.

    What a kill leaves beside ``target`` is removed by the next writer of the same target; one at a time may write it.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    old = temporary.with_suffix(".old")
    with writing(target.parent, store=False):
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{glob.escape(target.name)}.*"):
            remove_tree(left)
        try:
            yield LayoutWriter(temporary, progress)
            _sync(temporary)
            if target.exists() or target.is_symlink():
                target.rename(old)
            temporary.rename(target)
            _sync_one(target.parent)
        finally:
            for left in (temporary, old):
                remove_tree(left)


class LayoutWriter:
    """Writes blobs into the directory of a layout that is being made."""

    def __init__(self, root: Path, progress: Report) -> None:
        self._root, self._progress = root, progress
        self._blobs = root / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        for folder in (root, root / "blobs", self._blobs):
            folder.chmod(0o755)
        self._write(root / LAYOUT_FILE, MARKER)

    def index(self, data: bytes) -> None:
        """Write index.json."""
        self._write(self._root / "index.json", data)

    def add_bytes(self, data: bytes) -> Written:
        """Add a small blob."""
        digest = digest_of(data)
        self._write(self.path(digest), data)
        return Written(digest, len(data))

    def fill(self, digest: str, pieces: Iterable[bytes], progress: Report) -> None:
        """Add a blob from a stream that checks itself."""
        with self.path(digest).open("xb", buffering=0) as out:
            os.fchmod(out.fileno(), 0o644)
            for piece in pieces:
                _write_all(out, piece)
                progress(len(piece))

    def add(self, digest: str, source: Source) -> None:
        """Add a blob of which the digest is known. Raises BlobDamagedError when its bytes are others."""
        path = self.path(digest)
        found = hashlib.sha256()
        with path.open("xb", buffering=0) as out:
            os.fchmod(out.fileno(), 0o644)
            for piece in chunks(source):
                found.update(piece)
                _write_all(out, piece)
                self._progress(len(piece))
        if "sha256:" + found.hexdigest() != digest:
            path.unlink()
            where = source.path if isinstance(source, FilePart) else "bytes in memory"
            raise BlobDamagedError(f"{where} has sha256:{found.hexdigest()}, not {digest}", remedy="make it again")

    def add_made(self, write: Callable[[BinaryIO], Written]) -> Written:
        """Add a blob of which the digest is known when it has been written. One that is there already is not kept twice."""
        temporary = self._blobs / ".new"
        with temporary.open("xb", buffering=1 << 20) as out:
            os.fchmod(out.fileno(), 0o644)
            made = write(out)
        temporary.rename(self.path(made.digest))
        return made

    def path(self, digest: str) -> Path:
        """Where a blob that has been added is."""
        return self._blobs / sha256_hex(digest)

    def _write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        path.chmod(0o644)


def _write_all(out: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]


def _sync(root: Path) -> None:
    for folder, _, names in os.walk(root, topdown=False):
        for name in sorted(names):
            _sync_one(Path(folder, name))
        _sync_one(Path(folder))


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
