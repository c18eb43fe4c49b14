"""A disk that gets full at any point of an install: that is said, nothing is half done, and with room it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contents import make_host

#: pages that are left after the preflight: from none to all that an install takes
PAGES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36)
_OWN = ["unshare", "--mount", "--propagation", "private", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]


def install(root: Path, pages: int) -> subprocess.CompletedProcess[str]:
    command = [*_OWN, sys.executable, str(Path(__file__).parent / "full.py"), str(root), str(pages)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(autouse=True, scope="module")
def _mounts() -> None:
    if subprocess.run([*_OWN, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode:
        pytest.skip("mounts of its own are not to be had here")


@pytest.mark.parametrize("pages", PAGES)
def test_a_disk_that_gets_full_ends_the_install_and_with_room_it_goes_on(tmp_path: Path, pages: int) -> None:
    ended = install(make_host(tmp_path / "root"), pages)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("PlaceError: no space left while writing ")


def test_there_are_as_many_points_as_an_install_has(tmp_path: Path) -> None:
    assert install(make_host(tmp_path / "root"), 4 * PAGES[-1]).stdout == "installed\n"
