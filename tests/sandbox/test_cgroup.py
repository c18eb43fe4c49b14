"""Which control groups a run may use: both versions, as mountinfo and the hierarchy tell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from leftovers import until

from kubewright.sandbox import Limits, cgroup


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/", ""),
        ("/", "/user.slice/a", "user.slice/a"),
        ("/docker/abc", "/docker/abc/child", "child"),  # a container that sees its part of the hierarchy only
        ("/docker/abc", "/docker/abc", ""),
        ("/docker/ab", "/docker/abc", "docker/abc"),
    ],
)
def test_a_group_is_found_below_its_mount_point(root: str, path: str, expected: str) -> None:
    assert cgroup._below(Path("/sys/fs/cgroup"), root, path) == Path("/sys/fs/cgroup") / expected


def test_version_2_uses_the_nearest_group_that_passes_the_controller_on(tmp_path: Path) -> None:
    own = tmp_path / "user.slice" / "session.scope"
    own.mkdir(parents=True)
    for group, controllers in ((tmp_path, "cpu memory pids"), (own.parent, "memory pids"), (own, "")):
        (group / "cgroup.subtree_control").write_text(controllers + "\n")
    assert cgroup._delegating(tmp_path, own, "memory") == [own.parent, tmp_path]
    assert cgroup._delegating(tmp_path, own, "cpu") == [tmp_path]
    assert cgroup._delegating(tmp_path, own, "io") == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("memory.max", "memory.swap.max"), ("1000", "0")),
        (("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), ("1000", "1000")),
    ],
)
def test_memory_is_limited_with_its_swap(tmp_path: Path, files: tuple[str, str], expected: tuple[str, str]) -> None:
    for name in files:
        (tmp_path / name).touch()
    cgroup._limit(tmp_path, "memory", 1000)
    assert tuple((tmp_path / name).read_text() for name in files) == expected


@pytest.mark.parametrize(
    ("name", "text", "killed"),
    [
        ("memory.events", "low 0\noom 3\noom_kill 2\n", True),
        ("memory.events", "low 0\noom 3\noom_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False),
    ],
)
def test_a_kill_for_lack_of_memory_is_seen(tmp_path: Path, name: str, text: str, killed: bool) -> None:
    (tmp_path / name).write_text(text)
    assert cgroup.Group({"memory": tmp_path}).killed() is killed


def test_a_machine_that_lets_us_make_none_enforces_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroup, "_parents", lambda controller: [tmp_path / "missing"])
    with cgroup.limited(Limits(memory=1 << 20)) as group:
        assert group.enforced == ()
        group.add(os.getpid())  # does nothing


def test_groups_are_there_for_the_time_of_a_run_only() -> None:
    with cgroup.limited(Limits(memory=64 << 20, processes=10)) as group:
        if not group.folders:
            pytest.skip("this user cannot write cgroups")
        assert all(folder.is_dir() for folder in group.folders.values())
        child = subprocess.Popen(["sleep", "60"])
        group.add(child.pid)
        assert f"/kubewright-{os.getpid()}-" in Path(f"/proc/{child.pid}/cgroup").read_text()
        child.kill()
        child.wait()
    until(lambda: not any(folder.exists() for folder in group.folders.values()))
