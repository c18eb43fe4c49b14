"""Layers: uncompressed tars that are a pure function of the entries in them.

The form is POSIX pax: plain ustar headers, and a pax record only for what ustar cannot say (a path of more than 100 bytes that
has no good place to split, a name that is not ASCII, a file of 8 GiB or more, a file's capability). Entries are sorted by the
bytes of their paths; the directories above each of them are there, once; owners are 0 without names, times all one value,
modes those of the entries. The tar ends with two empty blocks and is padded to 10,240 bytes. Python's tarfile, which makes the
headers, writes the same bytes on 3.10 to 3.13 (tests/oci hold a golden digest).
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from kubewright.files.digest import encoded
from kubewright.oci.errors import LayerError
from kubewright.oci.source import Source, chunks, size_of

_WHITEOUT: Final = ".wh."  # layer.md: such a name would remove something of a lower layer
_CAPABILITY: Final = "SCHILY.xattr.security.capability"


class Writable(Protocol):
    """A stream that takes bytes."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a layer, relative to the image's root. Make it with ``directory``, ``file`` or ``link``.

    ``digest``: what the content has to have; '' when nobody said. ``capability``: of a file, as the kernel keeps it.
    """

    path: str
    kind: Literal["directory", "file", "link"]
    mode: int
    content: Source = b""
    digest: str = ""
    target: str = ""
    capability: bytes = b""


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, "directory", mode)


def file(path: str, content: Source, mode: int = 0o644, *, digest: str = "", capability: bytes = b"") -> Entry:
    return Entry(path, "file", mode, content, digest, capability=capability)


def link(path: str, target: str) -> Entry:
    """A symbolic link; its target is kept as it is."""
    return Entry(path, "link", 0o777, target=target)


@dataclass(frozen=True, slots=True)
class Written:
    """A blob that was written: ``sha256:`` digest, and size in bytes."""

    digest: str
    size: int


def complete(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries sorted, with the directories above them. Raises LayerError for paths that cannot be in one layer."""
    found: dict[str, Entry] = {}
    for entry in entries:
        _check(entry)
        if found.setdefault(entry.path, entry) != entry:
            raise LayerError(f"the layer has {entry.path!r} twice", remedy="let only one of its inputs bring it")
    for path in list(found):
        parts = path.split("/")
        for length in range(1, len(parts)):
            above = found.setdefault("/".join(parts[:length]), directory("/".join(parts[:length])))
            if above.kind != "directory":
                raise LayerError(f"{path!r} lies below {above.path!r}, which is a {above.kind}")
    return tuple(sorted(found.values(), key=lambda entry: encoded(entry.path)))


def _check(entry: Entry) -> None:
    parts = entry.path.split("/")
    if not all(part not in ("", ".", "..") and "\0" not in part for part in parts):
        raise LayerError(f"{entry.path!r} is not a relative path without '.', '..' and '//'")
    if any(part.startswith(_WHITEOUT) for part in parts):
        raise LayerError(f"{entry.path!r}: a name that begins with {_WHITEOUT} would remove a file of another layer")
    if entry.mode & ~0o1777:
        raise LayerError(f"{entry.path!r} has the mode {entry.mode:o}: setuid and setgid are not for images of ours")
    if entry.kind == "link" and (not entry.target or "\0" in entry.target):
        raise LayerError(f"{entry.path!r} is a link without a usable target")


def write_layer(
    entries: Iterable[Entry], out: Writable, mtime: int, progress: Callable[[int], None] = lambda done: None
) -> Written:
    """Write a layer; ``progress`` is told the bytes of each piece. Raises LayerError, also when a file's bytes differ from
    what its entry says."""
    stream = _Hashing(out, progress)
    for entry in complete(entries):
        size = size_of(entry.content) if entry.kind == "file" else 0
        stream.write(_header(entry, size, mtime))
        if entry.kind == "file":
            _write_content(entry, size, stream)
            stream.write(bytes(-size % tarfile.BLOCKSIZE))
    stream.write(bytes(2 * tarfile.BLOCKSIZE))
    stream.write(bytes(-stream.size % tarfile.RECORDSIZE))
    return Written("sha256:" + stream.hash.hexdigest(), stream.size)


def _header(entry: Entry, size: int, mtime: int) -> bytes:
    info = tarfile.TarInfo(entry.path)
    info.mtime, info.mode, info.size = mtime, entry.mode, size
    info.type = {"directory": tarfile.DIRTYPE, "file": tarfile.REGTYPE, "link": tarfile.SYMTYPE}[entry.kind]
    info.linkname = entry.target
    if entry.capability:
        info.pax_headers = {_CAPABILITY: entry.capability.decode("utf-8", "surrogateescape")}
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _write_content(entry: Entry, size: int, stream: _Hashing) -> None:
    written, own = 0, hashlib.sha256()
    for piece in chunks(entry.content):
        if entry.digest:
            own.update(piece)
        stream.write(piece)
        written += len(piece)
    if written != size:
        raise LayerError(f"{entry.path!r} has {written} bytes, not {size}: it changed while it was read")
    if entry.digest and "sha256:" + own.hexdigest() != entry.digest:
        remedy = "the store's copy is damaged: build the component again"
        raise LayerError(f"{entry.path!r} has sha256:{own.hexdigest()}, not {entry.digest}", remedy=remedy)


class _Hashing:
    """Passes bytes on, and keeps their digest and number."""

    def __init__(self, out: Writable, progress: Callable[[int], None]) -> None:
        self._out, self._progress = out, progress
        self.hash, self.size = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self.hash.update(data)
        self.size += len(data)
        self._out.write(data)
        self._progress(len(data))
