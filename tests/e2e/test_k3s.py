"""k3s, by its own recipe, from a stand-in with its shape: built in both sandboxes, bit for bit the same, and it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from standin import RECIPE, Standin, document, without_pins
from workshop import Workshop

from kubewright.model.lockfile import LockedBuilder


@pytest.fixture(scope="module")
def k3s(tmp_path_factory: pytest.TempPathFactory, shared: Mapping[str, Path], tools: tuple[Path, LockedBuilder]) -> Standin:
    """Locked and built in bubblewrap."""
    made = Standin(Workshop(tmp_path_factory.mktemp("k3s") / "shop", shared, tools))
    made.shop.doit("lock:k3s")
    made.shop.doit("build:k3s")
    return made


def test_its_recipe_is_that_of_k3s_but_for_origins_pins_and_versions(k3s: Standin) -> None:
    ours = document(k3s.shop.root / "recipes/k3s/recipe.toml")
    real = document(RECIPE)
    assert without_pins(ours) == without_pins(real)
    assert ours != real
