"""Writing into a mirror's folder: each file as a whole or not at all, one writer at a time, and nothing twice.

A file of the store becomes a hard link where both are on one disk, else a copy. Names that begin with a dot are ours alone:
the lock, and files on their way in; whoever reads a mirror leaves them out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from kubewright.disk import writing
from kubewright.fetch.mirror import INDEX
from kubewright.fetch.mirrorindex import File, Index, Kind, parse
from kubewright.files.tree import remove_tree
from kubewright.locks import hold
from kubewright.mirror.errors import MirrorTargetError
from kubewright.report import Progress

LOCK: Final = ".lock"
_TEMPORARY: Final = ".tmp"
_CHUNK: Final = 1 << 20


class Target:
    """The folder of a mirror, locked by ``opened``.

    ``old`` is what its index said when we came; None where there was none, or not one that we wrote: then every file that is
    there has to be compared with its pin before it is taken over.
    """

    def __init__(self, root: Path, old: Index | None) -> None:
        self.root = root
        self.old = old
        self.files: dict[str, File] = {}
        self.written = 0
        self.linked = 0

    def known(self, path: str) -> File | None:
        """The file's entry when it is there as the last index has it, by its size; `kubewright mirror check` reads bytes."""
        entry = self.old.files.get(path) if self.old else None
        if entry is None:
            return None
        with contextlib.suppress(OSError):
            status = (self.root / path).lstat()
            if status.st_size == entry.size and not (self.root / path).is_symlink():
                return entry
        return None

    def found(self, path: str, kind: Kind) -> File | None:
        """A file that is there, hashed unless the last index has it: a killed run may have written it, or anybody."""
        place = self.root / path
        return self.known(path) or (measured(place, kind) if place.is_file() and not place.is_symlink() else None)

    def keep(self, path: str, entry: File) -> None:
        """Take a file that is there into the new index."""
        self.files[path] = entry

    def put_file(self, source: Path, path: str, kind: Kind) -> File:
        """A hard link to ``source``, or a copy; what is hashed is what the mirror has."""
        with self._incoming(path) as temporary:
            linked = _link(source, temporary)
            if not linked:
                shutil.copyfile(source, temporary)
                temporary.chmod(0o644)
            entry = self._admit(temporary, path, kind)
        self.linked += entry.size if linked else 0
        return entry

    def put_bytes(self, data: bytes, path: str, kind: Kind) -> File:
        """A file with these bytes; nothing is written when it has them."""
        place = self.root / path
        if place.is_file() and not place.is_symlink() and place.stat().st_size == len(data) and place.read_bytes() == data:
            entry = File(hashlib.sha256(data).hexdigest(), len(data), kind)
            self.keep(path, entry)
            return entry
        with self._incoming(path) as temporary:
            temporary.write_bytes(data)
            return self._admit(temporary, path, kind)

    def add_there(self, path: str, kind: Kind) -> None:
        """Take a file that another program wrote (git) into the new index, hashed."""
        known = self.known(path) if "/objects/" in path else None  # git names objects and packs by their content
        self.keep(path, known or measured(self.root / path, kind))

    @contextlib.contextmanager
    def _incoming(self, path: str) -> Iterator[Path]:
        place = self.root / path
        temporary = place.with_name(f".{place.name}.{os.getpid()}-{threading.get_ident():x}{_TEMPORARY}")
        with writing(self.root, store=False):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)

    def _admit(self, temporary: Path, path: str, kind: Kind) -> File:
        entry = measured(temporary, kind)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(self.root / path)
        self.written += entry.size
        self.keep(path, entry)
        return entry


@contextlib.contextmanager
def opened(root: Path, progress: Progress, trusts: Callable[[Path, bytes], bool]) -> Iterator[Target]:
    """Lock the folder, made where it is absent; sweep what a killed run left. Raises MirrorTargetError.

    ``trusts`` says whether an index that is there is one of ours.
    """
    _refuse_other(root)
    with writing(root, store=False):
        root.mkdir(parents=True, exist_ok=True)
    with hold(root / LOCK, f"writing the mirror {root}", waiting=lambda holder: progress.note(f"waiting for {holder}")):
        for left in root.rglob(f".*{_TEMPORARY}"):
            remove_tree(left) if left.is_dir() else left.unlink(missing_ok=True)
        index = root / INDEX
        data = index.read_bytes() if index.is_file() else b""
        ours = bool(data) and trusts(root, data)
        if data and not ours:
            progress.note(f"{index} was not written from here: every file is compared anew, older releases are not carried on")
        yield Target(root, parse(data, str(index)) if ours else None)


def _refuse_other(root: Path) -> None:
    """Somebody's home folder is not to be filled, and pruned, by a slip of the hand."""
    if not root.exists():
        return
    names = {path.name for path in root.iterdir()} if root.is_dir() else {""}
    if names and not names & {LOCK, INDEX}:
        raise MirrorTargetError(
            f"{root} holds something that is no mirror", remedy="name a new or empty folder: mirror_to, or KUBEWRIGHT_MIRROR_TO"
        )


def measured(path: Path, kind: Kind) -> File:
    """A file as an index has it."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return File(digest.hexdigest(), size, kind)


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another disk, a file system without links, somebody else's file
        return False
    return True
