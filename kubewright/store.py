"""The store: what has been fetched and built, by digest.

Layout under ``root`` (every write is temp + fsync + rename, so a kill leaves the old state or the new one):

    blobs/ab/cdef...   one immutable file per SHA-256
    refs/KIND/NAME     a digest: what a key, a pin or a name stands for
    trees/NAME/        unpacked trees (root file systems, source trees); verified against a digest by whoever uses them
    go/                the Go module cache and the shared compile cache
    work/              scratch of running builds; left-overs of dead processes are swept
    locks/             flock files that say who holds them

Reading is verifying: a blob is hashed while it is copied out, and one that no longer has its digest is moved to
``damaged/`` and reported, so that the next run brings it anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kubewright.canonical import canonical_json
from kubewright.disk import writing
from kubewright.errors import StoreCorruptError
from kubewright.files.tree import remove_tree
from kubewright.locks import hold, say_waiting

_CHUNK = 1 << 20

#: the lock that whoever reads or writes objects holds shared, and gc exclusively
IN_USE = "store"


def _hex(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64:
        raise StoreCorruptError(f"not a digest: {digest!r}", remedy="`./doit gc` drops what cannot be read")
    return value


class Store:
    """A directory of blobs, refs and trees shared by every run of one user; see the module's text for its layout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs"
        self._refs = root / "refs"

    # -- blobs ----------------------------------------------------------------------------------------------------

    def path(self, digest: str) -> Path:
        """Where the blob lies, whether or not it is there. Its bytes are not checked: use ``copy_out`` or ``read``."""
        value = _hex(digest)
        return self._blobs / value[:2] / value[2:]

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def put_bytes(self, data: bytes) -> str:
        """Store ``data``; returns its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if not self.has(digest):
            with writing(self.root), self._incoming() as temporary:
                temporary.write_bytes(data)
                self._admit(temporary, digest)
        return digest

    def put_file(self, source: Path, expected: str | None = None) -> str:
        """Copy ``source`` in, hashing what is written; returns the digest.

        Raises StoreCorruptError when ``expected`` is given and the bytes differ (nothing is stored then).
        """
        with writing(self.root), self._incoming() as temporary:
            digest = _copy_hashed(source, temporary)
            if expected is not None and digest != expected:
                raise StoreCorruptError(f"{source} has {digest}, not {expected}")
            self._admit(temporary, digest)
        return digest

    def read(self, digest: str) -> bytes:
        """The blob's bytes, verified. Raises StoreCorruptError (damaged or missing)."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise self._missing(digest) from None
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise self._damaged(digest)
        return data

    def copy_out(self, digest: str, target: Path, mode: int = 0o644) -> None:
        """Copy the blob to ``target`` (temp + rename), verified on the way. Raises StoreCorruptError."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with writing(target.parent, store=target.is_relative_to(self.root)):
                found = _copy_hashed(self.path(digest), temporary)
                if found != digest:
                    raise self._damaged(digest)
                temporary.chmod(mode)
                temporary.replace(target)
        except FileNotFoundError:
            if self.has(digest):
                raise
            raise self._missing(digest) from None
        finally:
            temporary.unlink(missing_ok=True)

    # -- refs -----------------------------------------------------------------------------------------------------

    def ref(self, kind: str, name: str) -> str | None:
        """The digest that ``name`` stands for, or None. An unreadable ref counts as absent: its object is made anew."""
        try:
            text = self._ref_path(kind, name).read_text("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return text if text.startswith("sha256:") and len(text) == 71 else None

    def set_ref(self, kind: str, name: str, digest: str) -> None:
        path = self._ref_path(kind, name)
        with writing(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._incoming() as temporary:
                temporary.write_text(_checked(digest) + "\n", "ascii")
                _rename_durably(temporary, path)

    def drop_ref(self, kind: str, name: str) -> None:
        self._ref_path(kind, name).unlink(missing_ok=True)

    def refs(self, kind: str) -> dict[str, str]:
        """All refs of a kind, by name."""
        directory = self._refs / kind
        names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
        return {name: digest for name in names if (digest := self.ref(kind, name)) is not None}

    def put_json(self, kind: str, name: str, value: object) -> str:
        """Store ``value`` as canonical JSON and let ``name`` stand for it; returns the digest."""
        digest = self.put_bytes(canonical_json(value))
        self.set_ref(kind, name, digest)
        return digest

    def get_json(self, kind: str, name: str) -> object | None:
        """What ``put_json`` stored under ``name``, verified, or None. Raises StoreCorruptError for a damaged blob."""
        digest = self.ref(kind, name)
        if digest is None or not self.has(digest):
            return None
        value: object = json.loads(self.read(digest))
        return value

    # -- trees and scratch ----------------------------------------------------------------------------------------

    def tree(self, name: str) -> Path:
        """Where the tree called ``name`` lies, whether or not it is there."""
        return self.root / "trees" / name.replace("/", "_")

    def add_tree(
        self, name: str, fill: Callable[[Path], None], purpose: str = "", waiting: Callable[[str], None] = say_waiting
    ) -> Path:
        """Make a tree: ``fill`` writes into a scratch directory, which is then renamed into place."""
        final = self.tree(name)
        with self.lock(f"tree-{name.replace('/', '_')}", purpose or f"unpacking {name}", waiting=waiting):
            if not final.is_dir():
                with self.scratch("tree") as scratch, writing(self.root):
                    fill(scratch / "tree")
                    final.parent.mkdir(parents=True, exist_ok=True)
                    (scratch / "tree").rename(final)
        return final

    def drop_tree(self, name: str) -> None:
        """Remove a tree; half-removed trees are never seen under the name."""
        final = self.tree(name)
        if final.is_dir():
            with self.scratch("drop") as scratch:
                final.rename(scratch / "tree")

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A fresh directory on the store's file system, removed afterwards (or by the next run if we are killed)."""
        base = self.root / "work"
        with writing(self.root), self.lock("scratch", "making a scratch directory", waiting=_in_silence):
            base.mkdir(parents=True, exist_ok=True)
            directory = base / f"{name}-{os.getpid()}-{time.monotonic_ns():x}"
            guard = os.open(f"{directory}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(guard, fcntl.LOCK_EX)
            directory.mkdir(mode=0o700)
        try:
            yield directory
        finally:
            remove_tree(directory)
            Path(f"{directory}.lock").unlink(missing_ok=True)
            os.close(guard)

    def sweep(self) -> int:
        """Remove what runs that are gone were writing; returns how many things went."""
        abandoned = []
        with self.lock("scratch", "sweeping scratch directories", waiting=_in_silence):
            for guard in sorted((self.root / "work").glob("*.lock")):
                with contextlib.suppress(OSError):
                    descriptor = os.open(guard, os.O_RDWR | os.O_CLOEXEC)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        abandoned.append((guard, descriptor))
                    except BlockingIOError:
                        os.close(descriptor)
        for guard, descriptor in abandoned:  # removing may take long, and nobody else will make these names
            with contextlib.suppress(OSError):  # a container of the dead run may still write there: the next sweep has it
                remove_tree(Path(str(guard).removesuffix(".lock")))
                guard.unlink(missing_ok=True)
            os.close(descriptor)
        return len(abandoned) + self._sweep_incoming()

    def _sweep_incoming(self) -> int:
        swept = 0
        for path in sorted((self.root / "incoming").glob("*")):
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                swept += 1
        return swept

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While this is held ``gc`` waits; while ``gc`` runs, taking it waits."""
        with self.lock(IN_USE, "using the store", shared=True):
            yield

    # -- locks ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(
        self, name: str, purpose: str, *, shared: bool = False, waiting: Callable[[str], None] = say_waiting
    ) -> Iterator[None]:
        """Hold the lock ``name``; a second taker waits, and ``waiting`` is told for whom and what."""
        path = self.root / "locks" / name
        with writing(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o600)
        with hold(path, purpose, shared=shared, waiting=waiting):
            yield

    # -- garbage collection ---------------------------------------------------------------------------------------

    def blobs(self) -> Iterator[tuple[str, Path]]:
        """Every blob as (digest, path)."""
        for directory in sorted(self._blobs.iterdir()) if self._blobs.is_dir() else ():
            for path in sorted(directory.iterdir()):
                yield f"sha256:{directory.name}{path.name}", path

    # -- inside ---------------------------------------------------------------------------------------------------

    def _ref_path(self, kind: str, name: str) -> Path:
        return self._refs / kind / name.replace("/", "_")

    @contextlib.contextmanager
    def _incoming(self) -> Iterator[Path]:
        directory = self.root / "incoming"
        directory.mkdir(parents=True, exist_ok=True)
        temporary = directory / f"{os.getpid()}-{threading.get_ident():x}-{time.monotonic_ns():x}"
        with contextlib.ExitStack() as guard:
            while not _held(temporary, guard):
                pass
            try:
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)

    def _admit(self, temporary: Path, digest: str) -> None:
        final = self.path(digest)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o444)
        _rename_durably(temporary, final)

    def _missing(self, digest: str) -> StoreCorruptError:
        return StoreCorruptError(
            f"{digest} is not in the store {self.root}",
            remedy="run the command again: it will be fetched or built anew",
        )

    def _damaged(self, digest: str) -> StoreCorruptError:
        aside = self.root / "damaged" / f"{_hex(digest)}-{int(time.time())}"
        with contextlib.suppress(OSError):
            aside.parent.mkdir(parents=True, exist_ok=True)
            self.path(digest).rename(aside)
        return StoreCorruptError(
            f"the stored file {self.path(digest)} no longer has its digest {digest}",
            remedy=f"it has been moved to {aside}; run the command again: it will be fetched or built anew."
            " Twice in a row: check the disk and memory of this machine",
        )


def _in_silence(holder: str) -> None:
    """For locks that nobody holds for long."""


def _held(path: Path, guard: contextlib.ExitStack) -> bool:
    """Make a file and hold its lock, which says that somebody writes to it; False if it was swept before it was held."""
    file = guard.enter_context(path.open("ab"))
    fcntl.flock(file, fcntl.LOCK_EX)
    return path.exists()


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of the project: the old bytes or the new ones, never a part."""
    with writing(path.parent, store=False):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # by a kill: there is one writer at a time
            left.unlink(missing_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(data)
            _rename_durably(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _checked(digest: str) -> str:
    _hex(digest)
    return digest


def _copy_hashed(source: Path, target: Path) -> str:
    hasher = hashlib.sha256()
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        while chunk := reader.read(_CHUNK):
            hasher.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[writer.write(view) :]
    return "sha256:" + hasher.hexdigest()


def _rename_durably(temporary: Path, final: Path) -> None:
    for path in (temporary, final.parent):
        if path == final.parent:
            temporary.replace(final)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
