"""Keys and a small checkout with a build in its store."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_builder import ProjectBuilder
from signers import new_key

from kubewright.trust.keys import SigningKey


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return new_key(tmp_path / "keys", "site")


@pytest.fixture
def second(tmp_path: Path) -> SigningKey:
    return new_key(tmp_path / "keys", "second")


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    """runc and containerd, which takes runc; locked, and runc built."""
    builder = (
        ProjectBuilder(tmp_path / "p")
        .component("runc", patches={"0001-x.patch": "it has to be"})
        .component("containerd", inputs=["runc"])
        .stack("kubernetes", ["runc", "containerd"])
        .write("release.toml", "sequence = 1\n")
        .lock()
    )
    builder.record("runc")
    return builder.write("digests.toml", "version = 1\n\n# end of digests.toml\n")
