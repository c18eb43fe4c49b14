"""Files of Debian packages that a recipe lays into an output are those packages', not a program of unknown making."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kubewright.model.recipe import PackageFiles, load_recipe
from kubewright.sbom.linked import laid_packages

RECIPES = Path(__file__).parents[2] / "recipes"


def test_packages_of_k3s_are_found_at_their_folder() -> None:
    found = laid_packages(load_recipe(RECIPES / "k3s/recipe.toml"), "data")
    assert set(found) == {"bin/aux/debian"}
    assert {"ipset", "busybox-static", "libc6"} <= set(found["bin/aux/debian"])


def test_what_is_laid_elsewhere_is_not_of_the_output() -> None:
    recipe = load_recipe(RECIPES / "runc/recipe.toml")
    files = {"tools": ("usr/bin/tool",)}
    laid = dataclasses.replace(recipe, packages=(PackageFiles("out/data2", files), PackageFiles("src/x", files)))
    assert laid_packages(laid, "data") == {}
    assert laid_packages(laid, "data2") == {".": ("tools",)}
