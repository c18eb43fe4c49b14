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
    mark, found = bench.probe.stat().st_ino, []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "exe").stat().st_ino == mark:
                found.append(process.name)
        except OSError:
            continue
    return found


def groups() -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").rglob(f"kubewright-{os.getpid()}-*") if path.is_dir()]


def containers(bench: Bench) -> list[str]:
    if bench.kind != "docker":
        return []
    import docker

    client = docker.from_env()
    try:
        return [found.name for found in client.containers.list(all=True) if _mounts(found, bench.probe)]
    finally:
        client.close()


def _mounts(container: Any, path: Path) -> bool:
    return any(mount["Source"] == str(path) for mount in container.attrs["Mounts"])


def _mounted() -> list[str]:
    """The host's mounts; a daemon's own are as many as there are containers, and other tests may have some."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "docker" not in line]


@contextmanager
def nothing_left(bench: Bench) -> Iterator[None]:
    mounts = _mounted()
    descriptors, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    yield
    assert alive(bench) == []
    assert groups() == []
    assert containers(bench) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert threading.active_count() == threads
    assert _mounted() == mounts


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
