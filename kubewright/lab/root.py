"""A lab node's root as one tar: the locked packages unpacked, and what their maintainer scripts would have made, as data.

The same lock gives the same bytes: sorted, owned by root, without times. ``known_files`` is the list for ``node audit``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from kubewright.files.digest import sha256_file

#: runs as PID 1 and becomes systemd: docker mounts these read-only in a container that is not privileged
_BOOT: Final = r"""#!/bin/sh
set -eu
mount -o remount,bind,rw /sys
for point in $(awk '$5 ~ "^/sys/fs/cgroup" {print $5}' /proc/self/mountinfo | sort -u); do
    mount -o remount,bind,rw "$point"
done
mount --make-rshared /
ip route replace default via "$GATEWAY" # kubeadm and flannel look for the interface of the default route
tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
exec /usr/lib/systemd/systemd
"""
BOOT: Final = "/usr/lib/kubewright/boot"

_USERS: Final = (
    "root:x:0:0:root:/root:/bin/bash",
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
)
_GROUPS: Final = (
    *("root:x:0:", "daemon:x:1:", "adm:x:4:", "tty:x:5:", "disk:x:6:", "kmem:x:15:", "utmp:x:43:", "video:x:44:"),
    *("shadow:x:42:", "users:x:100:", "nogroup:x:65534:", "systemd-journal:x:101:"),
)
#: path -> text and mode
_FILES: Final[Mapping[str, tuple[str, int]]] = {
    BOOT.lstrip("/"): (_BOOT, 0o755),
    "etc/passwd": ("".join(f"{line}\n" for line in _USERS), 0o644),
    "etc/group": ("".join(f"{line}\n" for line in _GROUPS), 0o644),
    "etc/shadow": ("root:*:1::::::\n", 0o600),
    "etc/nsswitch.conf": ("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n", 0o644),
}
#: what alternatives and scripts of packages would link
_LINKS: Final[Mapping[str, str]] = {
    "usr/sbin/init": "/usr/lib/systemd/systemd",
    "usr/bin/awk": "mawk",
    **{
        f"usr/sbin/{name}{part}": f"{name}-nft{part}"
        for name in ("iptables", "ip6tables")
        for part in ("", "-restore", "-save")
    },
}
#: folders that a boot expects
_FOLDERS: Final = ("root", "run", "tmp", "proc", "sys", "dev", "mnt")


@dataclass(frozen=True, slots=True)
class Member:
    """One name of the tar."""

    path: str
    kind: bytes
    mode: int
    link: str = ""
    source: Path | bytes = b""


def members(root: Path) -> list[Member]:
    """Everything, sorted, once."""
    found = {each.path: each for each in _packages(root)}
    for path, (text, mode) in _FILES.items():
        found[path] = Member(path, tarfile.REGTYPE, mode, source=text.encode())
    for path, target in _LINKS.items():
        found[path] = Member(path, tarfile.SYMTYPE, 0o777, link=target)
    for path in (*_FOLDERS, *(str(parent) for name in (*_FILES, *_LINKS) for parent in Path(name).parents)):
        if path != ".":
            found.setdefault(path, Member(path, tarfile.DIRTYPE, 0o755))
    return [found[path] for path in sorted(found)]


def _packages(root: Path) -> Iterator[Member]:
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder, name)
            relative, status = str(path.relative_to(root)), path.lstat()
            if path.is_symlink():
                yield Member(relative, tarfile.SYMTYPE, 0o777, link=str(path.readlink()))
            elif path.is_dir():
                yield Member(relative, tarfile.DIRTYPE, 0o755)
            else:
                yield Member(relative, tarfile.REGTYPE, status.st_mode & 0o777, source=path)


def write_tar(found: list[Member], out: BinaryIO) -> str:
    """Write the tar; returns its digest."""
    digest = _Hashing(out)
    with tarfile.open(fileobj=digest, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for each in found:
            member = tarfile.TarInfo(each.path)
            member.type, member.mode, member.linkname = each.kind, each.mode, each.link
            if isinstance(each.source, bytes):
                member.size = len(each.source)
                archive.addfile(member, io.BytesIO(each.source))
            else:
                member.size = each.source.stat().st_size
                with each.source.open("rb") as stream:
                    archive.addfile(member, stream)
    return "sha256:" + digest.hash.hexdigest()


class _Hashing:
    """A file that hashes what it is given."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self._out.write(data)


def known_files(found: list[Member], name: str) -> str:
    """JSON of SHA-256 -> where from, of every file that can be run: for ``node audit --packages``."""
    listing = {}
    for each in found:
        if each.kind == tarfile.REGTYPE and each.mode & 0o111 and isinstance(each.source, Path):
            listing[sha256_file(each.source).removeprefix("sha256:")] = f"{name}/{each.path}"
    return json.dumps(listing, indent=0, sort_keys=True) + "\n"
