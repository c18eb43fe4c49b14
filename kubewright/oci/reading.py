"""Reading layouts that nobody vouches for: every byte is checked against what refers to it, nothing is followed anywhere.

``OpenLayout`` holds the rules; where blobs come from is a ``Blobs``: a directory here, a bundle's single file elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol

from kubewright.oci.errors import (
    BlobDamagedError,
    BlobExtraError,
    BlobMissingError,
    DocumentError,
    LayoutError,
    MediaTypeError,
    ReferenceDepthError,
)
from kubewright.oci.layout import LAYOUT_FILE
from kubewright.oci.model import INDEX, MANIFEST, Descriptor, Index, Manifest, parse_index, parse_manifest
from kubewright.oci.strict import DOCUMENT_SIZE, INDEX_SIZE, Table, loads

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_MOST_BLOBS: Final = 100_000
_DEPTH: Final = 4  # index.json, an index in it, a manifest, its blobs
#: bytes of manifests and indices that are read of one layout: some hundred times what a bundle has, and no more than seconds
_DOCUMENTS: Final = 64 << 20
_CHUNK: Final = 1 << 20
_REMEDY: Final = "take the layout from where it was made, again"


class Blobs(Protocol):
    """Where a layout's bytes are. ``name`` is how errors call it."""

    name: str

    def index(self) -> bytes:
        """index.json, at most ``INDEX_SIZE`` bytes."""

    def sizes(self) -> Mapping[str, int]:
        """Digest -> size of every blob that is there."""

    def open(self, digest: str) -> BinaryIO:
        """The blob's bytes; ``digest`` is one of ``sizes``. Nothing about them needs to be right."""


class OpenLayout:
    """A layout that is read. Nothing that it returns or lets pass differs from its descriptor."""

    def __init__(self, blobs: Blobs) -> None:
        self.name = blobs.name
        self._blobs = blobs
        self._documents = 0
        self.sizes: Mapping[str, int] = blobs.sizes()
        self.index: Index = parse_index(blobs.index(), f"{self.name}: index.json")

    def read(self, descriptor: Descriptor, limit: int = DOCUMENT_SIZE) -> bytes:
        """A small blob as a whole. Raises BlobMissingError, BlobDamagedError, DocumentError (more than ``limit`` bytes)."""
        if descriptor.size > limit:
            message = (
                f"{self.name}: {descriptor.digest} has {descriptor.size} bytes, more than {limit} for {descriptor.media_type}"
            )
            raise DocumentError(message, remedy=_REMEDY)
        with self.open(descriptor) as stream:
            return b"".join(stream)

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[CheckedStream]:
        """A blob as a stream, which raises BlobDamagedError at the end of bytes that are not the descriptor's."""
        there = self.sizes.get(descriptor.digest)
        if there is None:
            raise BlobMissingError(f"{self.name}: {descriptor.digest} ({descriptor.media_type}) is not there", remedy=_REMEDY)
        if there != descriptor.size:
            message = f"{self.name}: {descriptor.digest} has {there} bytes, not {descriptor.size}"
            raise BlobDamagedError(message, remedy=_REMEDY)
        with self._blobs.open(descriptor.digest) as raw:
            yield CheckedStream(raw, descriptor, self.name)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """The manifest that a descriptor names. Raises also DocumentError, MediaTypeError."""
        _require(descriptor, MANIFEST, self.name)
        self._count(descriptor)
        return parse_manifest(self.read(descriptor), f"{self.name}: manifest {descriptor.digest}")

    def nested(self, descriptor: Descriptor) -> Index:
        """The index that a descriptor names: a list of referrers."""
        _require(descriptor, INDEX, self.name)
        self._count(descriptor)
        return parse_index(self.read(descriptor, INDEX_SIZE), f"{self.name}: index {descriptor.digest}")

    def walk(self) -> Iterator[Descriptor]:
        """Every blob that index.json leads to, once, what refers before what is referred to. Only documents are read.

        Raises ReferenceDepthError, and BlobDamagedError where one digest goes under two sizes or media types.
        """
        seen: dict[str, Descriptor] = {}
        pending = [(each, 1) for each in reversed(self.index.manifests)]
        while pending:
            descriptor, depth = pending.pop()
            before = seen.get(descriptor.digest)
            if before is not None:
                self._same(before, descriptor)
                continue
            if depth > _DEPTH or len(seen) >= _MOST_BLOBS:
                message = f"{self.name}: {descriptor.digest} is reached over {depth} documents, after {len(seen)} blobs"
                raise ReferenceDepthError(message, remedy=_REMEDY)
            seen[descriptor.digest] = descriptor
            yield descriptor
            pending += [(each, depth + 1) for each in reversed(self._referred(descriptor))]

    def check(self, progress: Callable[[int], None] = lambda done: None) -> None:
        """Read all of it: every blob is what it is called, is referred to, and is there."""
        found = set()
        for descriptor in self.walk():
            found.add(descriptor.digest)
            if descriptor.media_type not in (MANIFEST, INDEX):  # those, ``walk`` has read
                with self.open(descriptor) as stream:
                    for piece in stream:
                        progress(len(piece))
        extra = sorted(set(self.sizes) - found)
        if extra:
            message = f"{self.name}: nothing refers to the blob {extra[0]}" + (f" and {len(extra) - 1} more" * (len(extra) > 1))
            raise BlobExtraError(message, remedy=_REMEDY)

    def _count(self, descriptor: Descriptor) -> None:
        """A few bytes that are compressed, or one document that is listed often, must not keep a reader busy for days."""
        self._documents += descriptor.size
        if self._documents > _DOCUMENTS:
            message = f"{self.name}: more than {_DOCUMENTS} bytes of manifests, up to {descriptor.digest}"
            raise DocumentError(message, remedy=_REMEDY)

    def _referred(self, descriptor: Descriptor) -> list[Descriptor]:
        if descriptor.media_type == INDEX:
            return list(self.nested(descriptor).manifests)
        if descriptor.media_type != MANIFEST:
            return []
        manifest = self.manifest(descriptor)
        if manifest.subject and self.sizes.get(manifest.subject.digest) != manifest.subject.size:
            message = f"{self.name}: {descriptor.digest} is about {manifest.subject.digest}, which is not there"
            raise BlobMissingError(message, remedy=_REMEDY)
        return [manifest.config, *manifest.layers]

    def _same(self, one: Descriptor, other: Descriptor) -> None:
        if one.size != other.size:
            message = f"{self.name}: {one.digest} is said to have {one.size} bytes, and {other.size}"
            raise BlobDamagedError(message, remedy=_REMEDY)
        documents = (MANIFEST, INDEX)
        if one.media_type != other.media_type and (one.media_type in documents or other.media_type in documents):
            message = f"{self.name}: {one.digest} is both {one.media_type} and {other.media_type}"
            raise MediaTypeError(message, remedy=_REMEDY)


class CheckedStream:
    """A blob's bytes: never more than its descriptor says, and at their end an error unless they have its digest."""

    def __init__(self, raw: BinaryIO, descriptor: Descriptor, name: str) -> None:
        self._raw, self._descriptor, self._name = raw, descriptor, name
        self._hash, self._left = hashlib.sha256(), descriptor.size
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_CHUNK):
            yield piece

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes (-1: all that are left); none at the end, once that has been checked."""
        if self._ended:
            return b""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._raw.read(wanted) if wanted else b""
        self._hash.update(data)
        self._left -= len(data)
        if not self._left or (not data and size != 0):
            self._end()
        return data

    def _end(self) -> None:
        self._ended = True
        found = "sha256:" + self._hash.hexdigest()
        if self._left or self._raw.read(1) or found != self._descriptor.digest:
            what = f"ends {self._left} bytes early" if self._left else f"holds other bytes ({found})"
            raise BlobDamagedError(f"{self._name}: {self._descriptor.digest} {what}", remedy=_REMEDY)


def _require(descriptor: Descriptor, media_type: str, name: str) -> None:
    if descriptor.media_type != media_type:
        message = f"{name}: {descriptor.digest} is {descriptor.media_type}, not {media_type}"
        raise MediaTypeError(message, remedy=_REMEDY)


# -- a directory --------------------------------------------------------------------------------------------------


@contextmanager
def open_directory(path: Path) -> Iterator[OpenLayout]:
    """The layout in a directory. Raises LayoutError for links, other files and anything else that no layout of ours has."""
    with _Directory(path) as blobs:
        yield OpenLayout(blobs)


class _Directory:
    """Blobs in a directory, which is held open: what is renamed or linked there meanwhile is not followed."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._folders: list[int] = []

    def __enter__(self) -> _Directory:
        try:
            self._root = self._enter(self.name, None)
            self._expect(self._root, "", {LAYOUT_FILE, "index.json", "blobs"})
            marker = Table(loads(self._read(LAYOUT_FILE, 1024), f"{self.name}: {LAYOUT_FILE}"), self.name, "")
            if marker.text("imageLayoutVersion") != "1.0.0":
                raise self._refuse(f"{LAYOUT_FILE} names another version than 1.0.0")
            blobs = self._enter("blobs", self._root)
            self._expect(blobs, "blobs/", {"sha256"})
            self._blobs = self._enter("sha256", blobs)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._folders:
            os.close(self._folders.pop())

    def index(self) -> bytes:
        return self._read("index.json", INDEX_SIZE)

    def sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        with os.scandir(self._blobs) as names:
            for each in names:
                if not _HEX.fullmatch(each.name) or len(found) >= _MOST_BLOBS:
                    raise self._refuse(f"blobs/sha256/{each.name[:80]} is no blob, or one too many")
                if not each.is_file(follow_symlinks=False):
                    raise self._refuse(f"blobs/sha256/{each.name} is not a plain file")
                found[f"sha256:{each.name}"] = each.stat(follow_symlinks=False).st_size
        return found

    def open(self, digest: str) -> BinaryIO:
        return self._open(digest.removeprefix("sha256:"), self._blobs)

    def _read(self, name: str, limit: int) -> bytes:
        with self._open(name, self._root) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise self._refuse(f"{name} has more than {limit} bytes")
        return data

    def _open(self, name: str, folder: int) -> BinaryIO:
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            raise self._refuse(f"{name} cannot be read as a plain file: {error.strerror}") from error
        file = os.fdopen(handle, "rb")
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            file.close()
            raise self._refuse(f"{name} is not a plain file")
        return file

    def _enter(self, name: str, folder: int | None) -> int:
        try:
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            raise self._refuse(f"{name} is not a directory that can be read: {error.strerror}") from error
        self._folders.append(handle)
        return handle

    def _expect(self, folder: int, prefix: str, wanted: set[str]) -> None:
        with os.scandir(folder) as names:
            found = set()
            for each in names:
                found.add(each.name)
                if each.name not in wanted:
                    raise self._refuse(f"{prefix}{each.name[:80]} has no place in a layout")
        if found != wanted:
            raise self._refuse(f"{prefix}{min(wanted - found)} is missing")

    def _refuse(self, reason: str) -> LayoutError:
        return LayoutError(f"{self.name}: {reason}", remedy=_REMEDY)
