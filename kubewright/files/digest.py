"""Digests: SHA-256 of files and trees, Go's ``h1:``, git's object ids.

One convention: a digest is the string ``sha256:<64 hex digits>``; where a key or an argument is itself called sha256, it
holds the hex digits alone. An ``h1:`` keeps the form of go.sum. A git object id is 40 hex digits; that of a git tree is
also the SWHID of the directory (``swh:1:dir:<id>``).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, TypeVar

from kubewright.errors import UnsafeArchiveError

if TYPE_CHECKING:
    from hashlib import _Hash

Content: TypeAlias = bytes | Path | Callable[[], BinaryIO]
Kind = Literal["file", "link", "directory"]
Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK = 1 << 20
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}\Z")
_TREE_FORMAT = b"kubewright-tree-v1\0"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name below a tree: its path relative to the root, with ``/``; bytes that are not UTF-8 as surrogates."""

    path: str
    kind: Kind
    size: int
    executable: bool

    @property
    def name(self) -> bytes:
        """The path as bytes: what digests and sorting use."""
        return encoded(self.path)


def encoded(path: str) -> bytes:
    """The bytes of a path, whatever the locale says."""
    return path.encode("utf-8", "surrogateescape")


# -- SHA-256 ------------------------------------------------------------------------------------------------------


def sha256_bytes(data: bytes) -> str:
    """``sha256:<hex>`` of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """``sha256:<hex>`` of a file, read in big pieces."""
    return "sha256:" + _hash_file(path, hashlib.sha256()).hexdigest()


def is_sha256(text: str) -> bool:
    """Whether a text is a SHA-256 in our one form."""
    return _SHA256.match(text) is not None


def sha256_hex(digest: str) -> str:
    """The 64 hex digits of a ``sha256:`` string; ValueError when it is none."""
    if not is_sha256(digest):
        raise ValueError(f"not a digest of the form sha256:<64 hex digits>: {digest!r}")
    return digest.removeprefix("sha256:")


def link_target(path: Path | str) -> bytes:
    """The target of a symbolic link, byte for byte."""
    return encoded(os.readlink(path))  # noqa: PTH115 - Path.readlink() tidies the target: ./x becomes x


def _hash_file(path: Path | str, into: _Hash) -> _Hash:
    """Feed a regular file to a hash; a symbolic link in its place is an OSError, never followed."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while piece := os.read(handle, _CHUNK):
            into.update(piece)
    finally:
        os.close(handle)
    return into


# -- trees on disk ------------------------------------------------------------------------------------------------


def walk(root: Path) -> list[Entry]:
    """Everything below ``root``, links not followed, sorted by the bytes of the path.

    Raises UnsafeArchiveError for what is neither file, directory nor symbolic link.
    """
    found: list[Entry] = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(f"{root}/{prefix}") as names:
            for name in names:
                entry = _entry(prefix + name.name, name, root)
                found.append(entry)
                if entry.kind == "directory":
                    pending.append(entry.path + "/")
    return sorted(found, key=lambda entry: entry.name)


def _entry(path: str, name: os.DirEntry[str], root: Path) -> Entry:
    status = name.stat(follow_symlinks=False)
    if stat.S_ISREG(status.st_mode):
        return Entry(path, "file", status.st_size, bool(status.st_mode & 0o100))
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, "directory", 0, False)
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, "link", status.st_size, False)
    raise UnsafeArchiveError(
        f"{path!r} in {root} is neither a file, a directory nor a symbolic link",
        remedy="a tree may hold only those; remove the device, socket or pipe",
    )


def tree_digest(root: Path) -> str:
    """SHA-256 over a tree, normalised: no owner, no time, no mode but the executable bit.

    The digest is over ``kubewright-tree-v1`` NUL and then, for each name below the root sorted by the bytes of its
    path, one record ``KIND SP VALUE SP PATH NUL``:

    ======  ===================  =============================================
    KIND    what it is           VALUE
    ======  ===================  =============================================
    ``f``   file                 hex SHA-256 of its content
    ``x``   executable file      hex SHA-256 of its content (owner may execute)
    ``l``   symbolic link        hex SHA-256 of its target
    ``d``   directory            ``-`` (empty directories count)
    ======  ===================  =============================================
    """
    entries = walk(root)
    values = parallel(lambda entry: _tree_value(root, entry), entries)
    summary = hashlib.sha256(_TREE_FORMAT)
    for entry, (kind, value) in zip(entries, values, strict=True):
        summary.update(b"%s %s %s\0" % (kind, value, entry.name))
    return "sha256:" + summary.hexdigest()


def _tree_value(root: Path, entry: Entry) -> tuple[bytes, bytes]:
    path = f"{root}/{entry.path}"
    if entry.kind == "directory":
        return b"d", b"-"
    if entry.kind == "link":
        return b"l", hashlib.sha256(link_target(path)).hexdigest().encode()
    return b"x" if entry.executable else b"f", _hash_file(path, hashlib.sha256()).hexdigest().encode()


def parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``map`` over threads, in order. Worth it for hashing: hashlib lets go of the interpreter's lock."""
    workers = min(8, os.cpu_count() or 1)
    if workers == 1 or len(items) < 64:
        return [function(item) for item in items]
    size = max(16, len(items) // (workers * 8))
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(lambda batch: [function(item) for item in batch], batches)
        return [result for batch in done for result in batch]


# -- Go's h1 ------------------------------------------------------------------------------------------------------


def dirhash(files: Iterable[tuple[str, Content]]) -> str:
    """Go's ``h1:`` over names and contents: golang.org/x/mod/sumdb/dirhash.Hash1."""
    return _hash1([(name, _content_hex(content)) for name, content in files])


def dirhash_dir(root: Path, prefix: str) -> str:
    """``h1:`` of all files below a directory, named ``PREFIX/PATH`` (``MODULE@VERSION`` for a module).

    As in Go's module cache, only regular files can be there; a link is an UnsafeArchiveError.
    """
    entries = [entry for entry in walk(root) if entry.kind != "directory"]
    for entry in entries:
        if entry.kind == "link":
            raise UnsafeArchiveError(f"symbolic link {entry.path!r} in {root}: a Go module holds files only")
    digests = parallel(lambda entry: _hash_file(f"{root}/{entry.path}", hashlib.sha256()).hexdigest(), entries)
    return _hash1([(f"{prefix}/{entry.path}", digest) for entry, digest in zip(entries, digests, strict=True)])


def dirhash_zip(path: Path) -> str:
    """``h1:`` of a module zip: names and contents, nothing of how they are packed.

    Raises UnsafeArchiveError for a name that occurs twice (Go and others may then see different files) or a broken zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [zip_name(member) for member in members]
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise UnsafeArchiveError(f"{path.name} holds {twice!r} twice")
            digests = parallel(lambda member: _member_hex(archive, member), members)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeError) as error:
        raise UnsafeArchiveError(f"{path.name} is not a valid zip: {error}") from error
    return _hash1(list(zip(names, digests, strict=True)))


def dirhash_gomod(go_mod: bytes) -> str:
    """The ``h1:`` of the ``MODULE VERSION/go.mod`` line of go.sum."""
    return dirhash([("go.mod", go_mod)])


def zip_name(member: zipfile.ZipInfo) -> str:
    """The member's name as its bytes say: Python reads names without the UTF-8 flag as code page 437, Go does not."""
    if member.flag_bits & 0x800:
        return member.orig_filename
    return member.orig_filename.encode("cp437").decode("utf-8", "surrogateescape")


def _member_hex(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    digest = hashlib.sha256()
    with archive.open(member) as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _content_hex(content: Content) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    if isinstance(content, Path):
        return _hash_file(content, hashlib.sha256()).hexdigest()
    digest = hashlib.sha256()
    with content() as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _hash1(digests: list[tuple[str, str]]) -> str:
    summary = hashlib.sha256()
    for name, digest in sorted((encoded(name), digest) for name, digest in digests):
        if b"\n" in name:
            raise UnsafeArchiveError(f"{name!r}: a name in a Go module cannot hold a line feed")
        summary.update(b"%s  %s\n" % (digest.encode(), name))
    return "h1:" + base64.b64encode(summary.digest()).decode()


# -- git object ids -----------------------------------------------------------------------------------------------


def git_blob_id(data: bytes) -> str:
    """The id that git gives to a file's content."""
    return git_object_id("blob", data)


def git_tree_id(root: Path, submodules: Mapping[str, str] | None = None) -> str:
    """The id that git gives to a tree on disk, from names, executable bits, links and contents.

    Directories without files do not count, as in git. A ``.git`` at the root is left out. ``submodules``: path -> commit; their
    directories are empty here.
    """
    entries = [entry for entry in walk(root) if entry.kind != "directory" and entry.path.split("/", 1)[0] != ".git"]
    blobs = parallel(lambda entry: _blob_of(root, entry), entries)
    records = [(entry.name.split(b"/"), blob) for entry, blob in zip(entries, blobs, strict=True)]
    for path, commit in (submodules or {}).items():
        parts = path.encode("utf-8", "surrogateescape").split(b"/")
        records.append((parts, b"160000 %s\0%s" % (parts[-1], bytes.fromhex(commit))))
    return _git_directory(records)


def _blob_of(root: Path, entry: Entry) -> bytes:
    """``MODE SP NAME NUL ID`` of a file, the way a git tree object has it."""
    path = f"{root}/{entry.path}"
    if entry.kind == "link":
        mode, blob = b"120000", bytes.fromhex(git_blob_id(link_target(path)))
    else:
        mode = b"100755" if entry.executable else b"100644"
        blob = _hash_file(path, _sha1(b"blob %d\0" % entry.size)).digest()
    return b"%s %s\0%s" % (mode, entry.name.rsplit(b"/", 1)[-1], blob)


def _git_directory(files: list[tuple[list[bytes], bytes]]) -> str:
    """The tree object over files given as (parts of the path from here on, record)."""
    records = [(parts[0], record) for parts, record in files if len(parts) == 1]
    for name, below in _grouped((parts, record) for parts, record in files if len(parts) > 1):
        tree = bytes.fromhex(_git_directory(below))
        records.append((name + b"/", b"40000 %s\0%s" % (name, tree)))  # git sorts a directory as if it ended in /
    return git_object_id("tree", b"".join(record for _, record in sorted(records)))


def _grouped(
    files: Iterable[tuple[list[bytes], bytes]],
) -> Iterator[tuple[bytes, list[tuple[list[bytes], bytes]]]]:
    groups: dict[bytes, list[tuple[list[bytes], bytes]]] = {}
    for parts, record in files:
        groups.setdefault(parts[0], []).append((parts[1:], record))
    yield from groups.items()


def git_object_id(kind: str, data: bytes) -> str:
    """The id of a git object: ``kind`` is blob, tree, commit or tag."""
    return _sha1(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


def _sha1(data: bytes) -> _Hash:
    # git's own object format; what must not be forged is pinned by SHA-256 beside it
    return hashlib.sha1(data, usedforsecurity=False)
