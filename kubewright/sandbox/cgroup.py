"""Memory and process limits through control groups (v1 and v2), where we may write them.

A run gets a group of its own, a child of a group that is there; nothing else of the hierarchy is changed (no
controller is switched on for others), and the group is removed after the run. Should kubewright be killed, a shell that
waits for its end removes it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kubewright.sandbox import Limits

#: controller -> the name it has in Limits and in Result.enforced
_NAMES = {"memory": "memory", "pids": "processes"}
_JANITOR = """read -r _
for group; do n=0; while [ -d "$group" ] && [ $n -lt 30 ]; do rmdir "$group" 2>/dev/null || sleep 1; n=$((n+1)); done; done"""


@dataclass(frozen=True, slots=True)
class Group:
    """The groups made for one run, by controller (v2: the same directory for each)."""

    folders: dict[str, Path]

    @property
    def enforced(self) -> tuple[str, ...]:
        return tuple(_NAMES[controller] for controller in self.folders)

    def add(self, pid: int) -> None:
        """Put a process, and thereby all that it will start, under the limits. Raises OSError when it may not."""
        for folder in dict.fromkeys(self.folders.values()):
            (folder / "cgroup.procs").write_text(f"{pid}\n")

    def killed(self) -> bool:
        """Whether the kernel killed something because memory ran out."""
        if "memory" not in self.folders:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                lines = (self.folders["memory"] / name).read_text().splitlines()
                return any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in lines)
        return False


@contextmanager
def limited(limits: Limits) -> Iterator[Group]:
    """Groups with these limits for the time of a run; empty where the machine does not let us make any."""
    wanted = {"memory": limits.memory, "pids": limits.processes}
    name = f"kubewright-{os.getpid()}-{secrets.token_hex(4)}"
    folders: dict[str, Path] = {}
    janitor: subprocess.Popen[bytes] | None = None
    try:
        for controller, value in wanted.items():
            if value is not None:
                _make(controller, value, name, folders)
        if folders:
            janitor = _janitor(folders)
        yield Group(folders)
    finally:
        for folder in dict.fromkeys(folders.values()):
            _remove(folder)
        if janitor is not None and janitor.stdin is not None:
            janitor.stdin.close()
            janitor.wait()


def _make(controller: str, value: int, name: str, folders: dict[str, Path]) -> None:
    for parent in _parents(controller):
        folder = parent / name
        try:
            if not folder.is_dir():
                folder.mkdir()
            folders[controller] = folder  # from here on it is removed in every case
            _limit(folder, controller, value)
            return
        except OSError:
            if folders.pop(controller, None) is not None and folder not in folders.values():
                _remove(folder)


def _limit(folder: Path, controller: str, value: int) -> None:
    if controller == "pids":
        (folder / "pids.max").write_text(str(value))
        return
    names = ("memory.max", "memory.swap.max") if (folder / "memory.max").exists() else (
        "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")  # fmt: skip
    (folder / names[0]).write_text(str(value))
    with suppress(OSError):  # no swap accounting in this kernel
        (folder / names[1]).write_text("0" if names[1] == "memory.swap.max" else str(value))


def _remove(folder: Path) -> None:
    """A group whose processes have just ended may be busy for some milliseconds more."""
    for _ in range(200):
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)


def _janitor(folders: dict[str, Path]) -> subprocess.Popen[bytes]:
    command = ["/bin/sh", "-c", _JANITOR, "kubewright-cgroup", *(str(f) for f in dict.fromkeys(folders.values()))]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, cwd="/", start_new_session=True)


def _parents(controller: str) -> list[Path]:
    """The groups under which a child with this controller can be made, best first."""
    own = _own_groups()
    for kind, options, point, root in _hierarchies():
        if kind == "cgroup" and controller in options and controller in own:
            return [_below(point, root, own[controller])]
    for kind, _, point, root in _hierarchies():
        if kind == "cgroup2" and "" in own:
            return _delegating(point, _below(point, root, own[""]), controller)
    return []


def _delegating(point: Path, own: Path, controller: str) -> list[Path]:
    """v2: our group or those above it that pass the controller on to their children already."""
    above = [own, *(parent for parent in own.parents if parent == point or point in parent.parents)]
    return [group for group in above if controller in _words(group / "cgroup.subtree_control")]


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _own_groups() -> dict[str, str]:
    """controller -> path of our group ('' for v2), from /proc/self/cgroup (cgroups(7))."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _hierarchies() -> Iterator[tuple[str, list[str], Path, str]]:
    """(type, options, mount point, root of the mount) of each mounted hierarchy, from mountinfo (proc(5))."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = before.split(" ")
            yield kind, options.split(","), Path(fields[4]), fields[3]


def _below(point: Path, root: str, path: str) -> Path:
    """Where a group's path is under a mount point that may show only a part of the hierarchy."""
    if path == root or path.startswith(root.rstrip("/") + "/"):
        path = path[len(root.rstrip("/")) :]
    return point / path.lstrip("/")
