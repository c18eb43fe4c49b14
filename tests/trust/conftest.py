"""Keys and a small checkout with a build in its store."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_builder import ProjectBuilder

from kubewright.trust import keys
from kubewright.trust.keys import SigningKey


def new_key(folder: Path, name: str) -> SigningKey:
    folder.mkdir(parents=True, exist_ok=True)
    keys.create(folder / f"{name}.key", None)
    return keys.load(folder / f"{name}.key", lambda: "")


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
