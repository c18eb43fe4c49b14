"""The sandbox contract: what a build step may see and do, whichever back end runs it.

Inside: a network namespace with its own loopback and nothing else, a read-only root, fresh writable ``/build`` and
``/tmp``, an unprivileged uid, no capabilities, no new privileges, a fixed host name, the environment given and no more.
``Spec`` is plain data so that it can be shown (``kubewright plan``), hashed and compared; both back ends take it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

#: what takes output in pieces, as they come
Take = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Mount:
    """A host directory or file at an absolute path inside; read-only unless ``writable``."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run: wall-clock seconds always; bytes of memory and number of processes where cgroups allow."""

    seconds: float = 3 * 3600
    memory: int | None = None
    processes: int | None = 4096


@dataclass(frozen=True, slots=True)
class Spec:
    """One command in one sandbox.

    ``root`` is a directory with a root file system (locked packages, unpacked), or None for an empty root. ``mounts``
    are laid over it in order. ``build`` is the host directory that appears, writable, at the absolute path ``at``
    (``/build``; a rebuild varies it). ``cwd`` is absolute inside. ``cpus`` limits the visible CPUs (None: all), ``umask``
    and ``uid`` are varied by rebuilds. HOME (``/tmp`` unless given) and PWD (``cwd``) are always in the environment.
    """

    argv: tuple[str, ...]
    build: Path
    env: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    root_digest: str | None = None  # names the root for back ends that must copy it (docker: the image's tag)
    mounts: tuple[Mount, ...] = ()
    at: str = "/build"
    cwd: str = "/build"
    hostname: str = "kubewright"
    uid: int = 1000
    gid: int = 1000
    umask: int = 0o022
    cpus: int | None = None
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: the command's exit status (128+N for signal N), wall-clock seconds, and the limits really set."""

    status: int
    seconds: float
    enforced: tuple[str, ...]  # subset of ("time", "memory", "processes"): what the machine let us enforce


class Sandbox(Protocol):
    """A back end. ``name`` is what settings and records call it."""

    name: str

    def usable(self) -> str | None:
        """None when it can run here, else one sentence that says why not (the remedy included)."""

    def run(self, spec: Spec, output: Take, stdout: Take | None = None) -> Result:
        """Run ``spec``; ``output`` gets stdout and stderr, merged, as they come. With ``stdout``, that gets stdout alone.

        Raises SandboxError when the sandbox cannot start or is lost, TimeLimitError at the limit. Whatever way it ends
        (KeyboardInterrupt included), no process, mount, container or cgroup of it is left behind.
        """
