"""Killed at any point and run again, an install ends as one that was never killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from contents import make_host

from kubewright.files.digest import sha256_file

#: how many moments are tried; node one is the control plane, two joins it
POINTS = {"one": 24, "two": 16}
#: what says when and how often, or is random by intent
_DIFFERENT = ("calls", "arguments", "applied", "given-to-kubeadm", "audit.jsonl", "encryption.json", "lock", "secret")


def install(root: Path, node: str, point: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(Path(__file__).parent / "killed.py"), str(root), node, str(point)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def state(root: Path) -> dict[str, str]:
    """Path -> mode and content of everything below a root."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            same = path.name in _DIFFERENT
            found[name] = f"{path.stat().st_mode:o} " + ("" if same else sha256_file(path))
        else:
            found[name] = f"{path.stat().st_mode:o}"
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, str], int]]:
    """For each node what an install that nobody kills leaves, and at how many points one could be killed."""
    found = {}
    for node in POINTS:
        root = make_host(tmp_path_factory.mktemp("undisturbed") / "root")
        ended = install(root, node)
        assert ended.returncode == 0, ended.stderr
        found[node] = state(root), int(ended.stdout)
    return found


@pytest.mark.parametrize(("node", "part"), [(node, part) for node, points in POINTS.items() for part in range(points)])
def test_killed_and_run_again_it_ends_the_same(
    tmp_path: Path, undisturbed: dict[str, tuple[dict[str, str], int]], node: str, part: int
) -> None:
    wanted, count = undisturbed[node]
    point = 1 + part * (count - 1) // (POINTS[node] - 1)
    root = make_host(tmp_path / "root")
    assert install(root, node, point).returncode == -signal.SIGKILL
    again = install(root, node)
    assert again.returncode == 0, again.stderr
    assert state(root) == wanted, point


def test_there_are_points_enough(undisturbed: dict[str, tuple[dict[str, str], int]]) -> None:
    assert all(undisturbed[node][1] > 3 * points for node, points in POINTS.items())
