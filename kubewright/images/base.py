"""The lowest layer of every image: who there is, where names are looked up, where programs may write."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kubewright.oci.layer import Entry, directory, file, link

#: as in the images that upstream builds on: 65532 is who runs what needs no rights
_USERS: Final = """\
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin
"""
_GROUPS: Final = """\
root:x:0:
nobody:x:65534:
nonroot:x:65532:
"""
#: the kubelet writes /etc/hosts; without this line, libc would ask DNS first
_NSSWITCH: Final = "hosts: files dns\n"
_MERGED: Final = ("bin", "lib", "lib64", "sbin")

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_entries(
    *, merged: bool, users: Mapping[str, str] = MappingProxyType({}), groups: Mapping[str, str] = MappingProxyType({})
) -> list[Entry]:
    """``merged``: with /bin, /sbin, /lib and /lib64 as links into /usr, for the packages above. ``users``: name -> UID:GID,
    ``groups``: name -> GID:MEMBER,..., besides those of every image."""
    more_users = "".join(f"{name}:x:{numbers}:{name}:/nonexistent:/sbin/nologin\n" for name, numbers in sorted(users.items()))
    more_groups = "".join(f"{name}:x:{members}\n" for name, members in sorted(groups.items()))
    entries = [
        file("etc/group", (_GROUPS + more_groups).encode()),
        file("etc/nsswitch.conf", _NSSWITCH.encode()),
        file("etc/passwd", (_USERS + more_users).encode()),
        directory("root", 0o700),
        directory("tmp", 0o1777),
    ]
    if merged:
        entries += [entry for name in _MERGED for entry in (directory(f"usr/{name}"), link(name, f"usr/{name}"))]
    return entries
