"""What an install does to a host, as data: every file, link, kernel setting, image and command, in order.

Nothing is touched here: a plan is a pure function of (content, site settings, node, facts of the host). Files lie in a
directory whose name is the digest of what is in it; ``current`` points to it. What has to be there before /var is mounted
(units, kernel settings) is written to its own place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kubewright.canonical import canonical_digest
from kubewright.files.digest import sha256_bytes
from kubewright.install.content import HostFile, Image
from kubewright.install.settings import Node

HOME: Final = "/var/lib/kubewright"
RELEASES: Final = f"{HOME}/releases"
CURRENT: Final = f"{HOME}/current"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan has to know of a host. ``adjust_oom``: whether processes may get a lower OOM score than their parents."""

    hostname: str
    address: str
    platform: str
    cgroup: Literal[1, 2]
    adjust_oom: bool


@dataclass(frozen=True, slots=True)
class File:
    """A file and where it goes: relative to the release's directory, or absolute. ``content`` is text or a HostFile."""

    path: str
    content: str | HostFile
    mode: int = 0o644

    @property
    def digest(self) -> str:
        if isinstance(self.content, HostFile):
            return self.content.digest
        return sha256_bytes(self.content.encode())

    @property
    def size(self) -> int:
        return self.content.size if isinstance(self.content, HostFile) else len(self.content.encode())

    @property
    def origin(self) -> str:
        """COMPONENT/NAME, or "rendered"."""
        return f"{self.content.component}/{self.content.name}" if isinstance(self.content, HostFile) else "rendered"


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link at an absolute path."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that the install makes; ``keep``: uninstalling leaves it when others have put something there."""

    path: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Secret:
    """A file of mode 0600 that is made once, on the host, from its random numbers; its content is in no plan and no log."""

    path: str
    kind: Literal["encryption-key", "k3s-token"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A kernel setting, as below /proc/sys: ``net.ipv4.ip_forward``."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Archive:
    """An OCI archive of images as a file (k3s imports those of a directory)."""

    path: str
    images: tuple[Image, ...]


# -- steps: what is done after everything is in its place ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program. ``when``: once for a release, or at every install."""

    name: str
    argv: tuple[str, ...]
    timeout: int = 120
    when: Literal["once", "always"] = "once"


@dataclass(frozen=True, slots=True)
class Import:
    """Bring the images into containerd, from one stream; skipped when containerd has them all."""

    name: str
    images: tuple[Image, ...]
    timeout: int = 900


@dataclass(frozen=True, slots=True)
class Kubeadm:
    """``kubeadm init`` or ``join``. The token is put into ``documents`` when it is run, in a file of mode 0600 in /run."""

    name: str
    action: Literal["init", "join"]
    documents: tuple[Mapping[str, Any], ...]
    timeout: int = 360


@dataclass(frozen=True, slots=True)
class Apply:
    """Give objects to the API server. ``manifest`` is the content's name for them; ``parameters`` are the site's."""

    name: str
    manifest: str
    digest: str
    parameters: Mapping[str, Any]
    timeout: int = 60


@dataclass(frozen=True, slots=True)
class Await:
    """Run a program until it ends well and prints ``expect``."""

    name: str
    argv: tuple[str, ...]
    expect: str = ""
    timeout: int = 240


@dataclass(frozen=True, slots=True)
class Give:
    """Give rendered objects to the API server."""

    name: str
    objects: tuple[Mapping[str, Any], ...]
    timeout: int = 60


@dataclass(frozen=True, slots=True)
class Serve:
    """Make the registry's storage, of images that containerd has."""

    name: str
    served: tuple[Image, ...]


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A Secret object with random content that nobody has to know; made once, left as it is where there is one."""

    name: str
    namespace: str
    secret: str
    key: str
    timeout: int = 60


Step = Run | Import | Kubeadm | Apply | Await | Give | Serve | NewSecret


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that an install does, in the order of its fields; ``current`` is switched after ``archives``."""

    stack: str
    sequence: int
    platform: str
    node: Node
    files: tuple[File, ...]
    outside: tuple[File, ...]
    directories: tuple[Directory, ...]
    secrets: tuple[Secret, ...]
    modules: tuple[str, ...]
    settings: tuple[Setting, ...]
    archives: tuple[Archive, ...]
    links: tuple[Link, ...]
    steps: tuple[Step, ...]
    services: tuple[str, ...]

    @property
    def release(self) -> str:
        """The digest that names the release's directory: of path, mode and content of each file in it."""
        return canonical_digest([[file.path, file.mode, file.digest] for file in self.files])

    @property
    def directory(self) -> str:
        """Where the files go."""
        return f"{RELEASES}/{self.release.removeprefix('sha256:')}"

    @property
    def images(self) -> tuple[Image, ...]:
        """Every image that the node gets."""
        steps = [image for step in self.steps if isinstance(step, Import) for image in step.images]
        return tuple(steps + [image for archive in self.archives for image in archive.images])


def current(path: str) -> str:
    """Where a file of the release is, whichever release it is."""
    return f"{CURRENT}/{path}"
