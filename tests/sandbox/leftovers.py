"""What a run could leave behind, and waiting for it to go."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import Bench


def alive(bench: Bench) -> list[str]:
    """Processes of the host that run this bench's probe, whoever started them."""
    mark, found = bench.probe.stat(), []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and os.path.samestat((process / "exe").stat(), mark):
                found.append(process.name)
        except OSError:
            continue
    return found


def groups(pid: int) -> list[str]:
    """Control groups that the process made for its runs; os.walk does not mind others that go meanwhile."""
    walked = os.walk("/sys/fs/cgroup")
    return [f"{parent}/{name}" for parent, names, _ in walked for name in names if name.startswith(f"kubewright-{pid}-")]


def containers(bench: Bench) -> list[str]:
    if bench.kind != "docker":
        return []
    import docker

    client = docker.from_env()
    try:
        return [found.name for found in client.containers.list(all=True, ignore_removed=True) if _mounts(found, bench.probe)]
    finally:
        client.close()


def _mounts(container: Any, path: Path) -> bool:
    return any(mount["Source"] == str(path) for mount in container.attrs["Mounts"])


def _mounted(bench: Bench) -> list[str]:
    """Mounts on the host of anything of this bench (others come and go with other tests and builds)."""
    ours = (bench.folder.name, bench.probe.parent.name, " - tmpfs kubewright ", "newroot")
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if any(word in line for word in ours)]


@contextmanager
def nothing_left(bench: Bench) -> Iterator[None]:
    descriptors, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    yield
    assert alive(bench) == []
    assert groups(os.getpid()) == []
    assert containers(bench) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert threading.active_count() == threads
    assert _mounted(bench) == []


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
