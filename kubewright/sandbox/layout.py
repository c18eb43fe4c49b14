"""bwrap's arguments for the file system of a run: a read-only root with mount points wherever they are wanted.

A read-only bind of the root would leave no way to make a missing mount point in it. So the root is a tmpfs of bwrap's
own, with one read-only bind (or link) for each entry of the root directory; a directory that lacks a mount point is
opened up in the same way, one level deeper. The tmpfs is made read-only at the end.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from kubewright.sandbox import Spec

#: what every sandbox has of its own, whatever the root holds
OWN = ("/proc", "/dev", "/sys", "/tmp")  # noqa: S108


def arguments(spec: Spec, places: Mapping[Path, str]) -> list[str]:
    """``places`` says under which path bwrap finds each source (the root, the build directory and the mounts)."""
    targets = [PurePosixPath(path) for path in (*OWN, spec.at, *(mount.target for mount in spec.mounts))]
    found: list[str] = []
    if spec.root is not None:
        found += _entries(spec.root, places[spec.root], PurePosixPath("/"), targets)
    found += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    found += ["--perms", "1777", "--tmpfs", "/tmp", "--perms", "0755", "--dir", "/sys"]  # noqa: S108
    found += ["--bind", places[spec.build], spec.at]
    for mount in spec.mounts:
        found += ["--bind" if mount.writable else "--ro-bind", places[mount.source], mount.target]
    return [*found, "--remount-ro", "/"]


def sources(spec: Spec) -> list[Path]:
    """The host paths that :func:`arguments` needs a place for."""
    return [path for path in (spec.root, spec.build, *(mount.source for mount in spec.mounts)) if path is not None]


def _entries(folder: Path, place: str, inside: PurePosixPath, targets: list[PurePosixPath]) -> list[str]:
    found: list[str] = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        target = inside / entry.name
        if target in targets:
            continue
        below = [path for path in targets if target in path.parents]
        if entry.is_symlink():
            found += ["--symlink", str(Path(entry).readlink()), str(target)]
        elif all(_is_there(Path(entry), path.relative_to(target)) for path in below):
            found += ["--ro-bind", f"{place}/{entry.name}", str(target)]
        else:
            found += ["--perms", "0755", "--dir", str(target)]
            found += _entries(Path(entry), f"{place}/{entry.name}", target, targets)
    return found


def _is_there(folder: Path, relative: PurePosixPath) -> bool:
    """Whether a mount point exists already, with no link on the way to it."""
    path = folder
    for part in relative.parts:
        path = path / part
        if path.is_symlink() or not path.exists():
            return False
    return True
