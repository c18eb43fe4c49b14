"""What both back ends do on the host's side of a run: look at the spec, its environment, owner of /build, CPUs."""

from __future__ import annotations

import os
from pathlib import Path

from kubewright.errors import SandboxError, TimeLimitError
from kubewright.sandbox import Spec

#: where a command without a slash is looked for when the environment has no PATH (what execvp does)
DEFAULT_PATH = "/bin:/usr/bin"


def check(spec: Spec) -> None:
    """Refuse a spec that names what is not there, before anything is started."""
    if not spec.argv or not spec.argv[0]:
        raise SandboxError("the sandbox has no command to run", remedy="give argv at least one word")
    if not spec.build.is_dir():
        raise SandboxError(f"the build directory {spec.build} does not exist", remedy="make it before the run")
    if spec.root is not None and not spec.root.is_dir():
        raise SandboxError(f"the root file system {spec.root} does not exist", remedy="fetch the builder again")
    for mount in spec.mounts:
        if not mount.source.exists():
            raise SandboxError(f"{mount.source}, to be mounted at {mount.target}, does not exist")
    for path in (spec.at, spec.cwd, *(mount.target for mount in spec.mounts)):
        if not path.startswith("/") or ".." in path.split("/"):
            raise SandboxError(f"{path!r} is not an absolute path inside the sandbox")


def environment(spec: Spec) -> dict[str, str]:
    """The environment a command sees, exactly: what the spec gives, and the two that no sandbox can leave out.

    runc invents HOME when it is not given and bubblewrap always sets PWD, so both are always set, to fixed values.
    """
    return {"HOME": "/tmp", **spec.env, "PWD": spec.cwd}  # noqa: S108 (the sandbox's own /tmp)


def candidates(spec: Spec) -> list[str]:
    """The paths at which the command may be, in order: what execvp would try."""
    name = spec.argv[0]
    if "/" in name:
        return [name]
    return [f"{folder or '.'}/{name}" for folder in spec.env.get("PATH", DEFAULT_PATH).split(":")]


def cpus(count: int | None) -> set[int] | None:
    """The CPUs a run may use: ``count`` of ours (at least one), or None for no restriction.

    Which ones depends on our process: runs side by side (``doit -n``) should not all sit on the first.
    """
    if count is None:
        return None
    ours = sorted(os.sched_getaffinity(0))
    return {ours[(os.getpid() + offset) % len(ours)] for offset in range(min(max(count, 1), len(ours)))}


def own(spec: Spec, uid: int, gid: int) -> None:
    """Give what is writable inside to the ids that the sandbox's processes have on the host (only as root).

    The build directory is looked through before each run, because steps of ours put files into it; a writable mount only
    while its top is somebody else's, because after that the sandbox alone writes there.

    No process of this sandbox runs at this time, and links are not followed, so a link that an earlier step left changes
    nothing outside. The trees must hold copies, never hard links into the store: their owner would change as well.
    """
    _own_tree(spec.build, uid, gid)
    for mount in spec.mounts:
        if mount.writable and (mount.source.stat().st_uid, mount.source.stat().st_gid) != (uid, gid):
            _own_tree(mount.source, uid, gid)


def _own_tree(directory: Path, uid: int, gid: int) -> None:
    """Plain strings and no Path: this looks at every file of a source tree before every command."""
    pending = [str(directory)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                _give(entry.path, entry.stat(follow_symlinks=False), uid, gid)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
    _give(str(directory), directory.lstat(), uid, gid)  # last: an interrupted pass begins again


def _give(path: str, found: os.stat_result, uid: int, gid: int) -> None:
    if (found.st_uid, found.st_gid) != (uid, gid):
        os.chown(path, uid, gid, follow_symlinks=False)


def late(spec: Spec) -> TimeLimitError:
    """The error of a run that its time limit ended."""
    return TimeLimitError(
        f"{spec.argv[0]} ran longer than its limit of {spec.limits.seconds:g} s and was ended",
        remedy="raise time_limit in settings.toml if the step needs it",
    )
