"""Fixtures of the end-to-end tests: ``shop`` is a new workshop for each test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

for _folder in ("fetch", "sandbox", "e2e"):
    sys.path.append(str(Path(__file__).parents[1] / _folder))

from dockerd import NoDaemonError, daemon  # noqa: E402
from standin import Standin  # noqa: E402
from workshop import REPOSITORY, Workshop, heavy, make_tools  # noqa: E402

from kubewright.model.lockfile import LockedBuilder  # noqa: E402
from kubewright.project import Project  # noqa: E402


@pytest.fixture(scope="session")
def shared() -> Mapping[str, Path]:
    """The environment's own store, with what builders need in it."""
    return heavy(Project(REPOSITORY))


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LockedBuilder]:
    return make_tools(tmp_path_factory.mktemp("tools"))


@pytest.fixture
def shop(tmp_path: Path, shared: Mapping[str, Path], tools: tuple[Path, LockedBuilder]) -> Workshop:
    return Workshop(tmp_path / "shop", shared, tools)


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """A daemon's address. Without one: a skip, or a failure where KUBEWRIGHT_TEST_DOCKER=required."""
    try:
        with daemon() as address:
            yield address
    except NoDaemonError as error:
        if os.environ.get("KUBEWRIGHT_TEST_DOCKER") == "required":
            pytest.fail(f"KUBEWRIGHT_TEST_DOCKER=required, and {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def k3s(tmp_path_factory: pytest.TempPathFactory, shared: Mapping[str, Path], tools: tuple[Path, LockedBuilder]) -> Standin:
    """The stand-in for k3s, locked and built in bubblewrap: for tests of the group ``k3s``, which one worker runs."""
    made = Standin(Workshop(tmp_path_factory.mktemp("k3s") / "shop", shared, tools))
    made.shop.doit("lock:k3s")
    made.shop.doit("build:k3s")
    return made
