"""The docker image of a root file system, assembled here: nothing is pulled, and the same root gives the same image id.

A docker-archive (the format of ``docker save``) with one uncompressed layer: the root's files, sorted, owned by 0, with
time 0 and no setuid bits, and the program of ``start``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from kubewright.sandbox import start

REPOSITORY = "kubewright/root"
_CHUNK = 1 << 20
_BLOCK = 512
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def reference(root: Path | None, digest: str | None, machine: str) -> str:
    """The image's name: it says which root, and which start program. Reads the whole root when it has no digest."""
    name = "empty" if root is None else digest or "sha256:" + _digest(root, machine)[0]
    helper = hashlib.sha256(start.program(machine)).hexdigest()[:12]
    return f"{REPOSITORY}:{re.sub('[^A-Za-z0-9_.-]', '-', name)}-{helper}"[:128]


def archive(root: Path | None, name: str, machine: str) -> Iterator[bytes]:
    """The docker-archive as chunks. The root is read twice, because the layer's digest stands before it."""
    digest, size = _digest(root, machine)
    config = _json(
        {
            "architecture": _ARCHITECTURES[machine],
            "config": {"Labels": {"kubewright": "root"}},
            "created": "1970-01-01T00:00:00Z",
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "kubewright"}],
            "os": "linux",
            "rootfs": {"diff_ids": [f"sha256:{digest}"], "type": "layers"},
        }
    )
    label = hashlib.sha256(config).hexdigest() + ".json"
    manifest = _json([{"Config": label, "Layers": ["layer.tar"], "RepoTags": [name]}])
    yield from _file("manifest.json", manifest)
    yield from _file(label, config)
    layer = tarfile.TarInfo("layer.tar")
    layer.size = size
    yield _header(layer)
    yield from _layer(root, machine)
    yield bytes(-size % _BLOCK + 2 * _BLOCK)


def _digest(root: Path | None, machine: str) -> tuple[str, int]:
    found, size = hashlib.sha256(), 0
    for chunk in _layer(root, machine):
        found.update(chunk)
        size += len(chunk)
    return found.hexdigest(), size


def _layer(root: Path | None, machine: str) -> Iterator[bytes]:
    yield from _file(start.PATH.lstrip("/"), start.program(machine), 0o755)
    if root is not None:
        for path in _walk(root):
            yield from _member(path, path.relative_to(root).as_posix())
    yield bytes(2 * _BLOCK)


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry)
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)


def _member(path: Path, name: str) -> Iterator[bytes]:
    found, member = path.lstat(), tarfile.TarInfo(name)
    member.mode = found.st_mode & 0o777
    if path.is_symlink():
        member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
    elif path.is_dir():
        member.type = tarfile.DIRTYPE
    elif path.is_file():
        member.size = found.st_size
    else:
        return  # sockets, pipes and devices are nobody's business in a build
    yield _header(member)
    if member.size:
        with path.open("rb") as source:
            yield from iter(lambda: source.read(_CHUNK), b"")
        yield bytes(-member.size % _BLOCK)


def _file(name: str, data: bytes, mode: int = 0o644) -> Iterator[bytes]:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    yield _header(member) + data + bytes(-len(data) % _BLOCK)


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
