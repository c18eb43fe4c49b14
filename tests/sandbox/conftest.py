"""Fixtures of the sandbox tests. ``bubblewrap_prefix`` is the one place that says where bubblewrap comes from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import ORDINARY, Bench, Ordinary
from dockerd import NoDaemonError, daemon

from kubewright.sandbox.bubblewrap import Bubblewrap
from kubewright.sandbox.docker import Docker

PACKAGES = ("bubblewrap", "libc6", "libcap2", "libpcre2-8-0", "libselinux1")
BACK_ENDS = ("bubblewrap", "bubblewrap-ordinary", "docker")
HERE = Path(__file__).parent


def _reachable(name: str) -> Path:
    """A new directory that every user may enter (pytest's own are for their owner alone)."""
    folder = Path(tempfile.mkdtemp(prefix=f"kubewright-{name}-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def bubblewrap_prefix() -> Iterator[Path]:
    """A directory with bubblewrap and the libraries it needs, unpacked from Debian packages."""
    folder = _reachable("prefix")
    try:
        subprocess.run(["apt-get", "-q", "download", *PACKAGES], cwd=folder, check=True, capture_output=True, timeout=300)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, folder / "prefix"], check=True)
        yield folder / "prefix"
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"cannot get Debian packages: {error}")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """A daemon's address. Without one: a skip, or a failure where KUBEWRIGHT_TEST_DOCKER=required."""
    try:
        with daemon() as address:
            os.environ["DOCKER_HOST"] = address
            yield address
    except NoDaemonError as error:
        if os.environ.get("KUBEWRIGHT_TEST_DOCKER") == "required":
            pytest.fail(f"KUBEWRIGHT_TEST_DOCKER=required, and {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def probe() -> Iterator[Path]:
    """probe.c, static."""
    folder = _reachable("probe")
    subprocess.run(["gcc", "-static", "-O1", "-Wall", "-Werror", "-o", folder / "probe", HERE / "probe.c"], check=True)
    yield folder / "probe"
    shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = _reachable("bench")
    (made / "build").mkdir()
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=BACK_ENDS)
def bench(request: pytest.FixtureRequest, probe: Path, folder: Path) -> Bench:
    """Each back end in turn, bubblewrap as root and as an ordinary user."""
    kind = request.param
    if kind == "bubblewrap-ordinary" and os.geteuid() != 0:
        pytest.skip("we are an ordinary user already")
    if kind == "docker":
        request.getfixturevalue("docker_host")
        return Bench(kind, Docker(), folder, probe)
    if kind == "bubblewrap-ordinary":
        os.chown(folder, ORDINARY, ORDINARY)
    inner = Bubblewrap(request.getfixturevalue("bubblewrap_prefix"))
    return Bench(kind, inner if kind == "bubblewrap" else Ordinary(inner), folder, probe)
