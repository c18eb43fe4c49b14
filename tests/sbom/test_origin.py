"""Which step made a program, and whether more may be in it than it tells: asked of k3s' own recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.model.recipe import Recipe, load_recipes
from kubewright.sbom.origin import Origin, built_by_go, go_step, made_of_more, origin


@pytest.fixture(scope="module")
def recipes() -> dict[str, Recipe]:
    return load_recipes(Path(__file__).parents[2] / "recipes")


def test_the_step_is_found_by_path_and_package(recipes: dict[str, Recipe]) -> None:
    package = "github.com/k3s-io/k3s/cmd/server"
    step = go_step(recipes["k3s"], "data/bin/k3s", package)
    assert step is not None
    assert origin(recipes["k3s"], step.dir) == Origin("k3s", "")
    assert go_step(recipes["k3s"], "k3s", package) is None
    assert go_step(recipes["k3s"], "data/bin/k3s", "github.com/k3s-io/k3s/cmd/k3s") is None


def test_programs_of_a_folder_go_by_their_path_in_it(recipes: dict[str, Recipe]) -> None:
    assert list(built_by_go(recipes["k3s"], "data")) == ["bin/cni", "bin/k3s", "bin/containerd-shim-runc-v2"]
    assert list(built_by_go(recipes["k3s"], "k3s")) == [""]


def test_folders_that_are_no_source_are_nobodys(recipes: dict[str, Recipe]) -> None:
    assert origin(recipes["k3s"], "") is None
    assert origin(recipes["k3s"], "src/other") is None
    assert origin(recipes["k3s"], "out/data") is None


@pytest.mark.parametrize(("folder", "below"), [("", "near"), ("a/b", "a/b/near")])
def test_a_folder_of_the_source_is_seen_from_the_module(folder: str, below: str) -> None:
    assert Origin("x", folder).below("./near") == Origin("x", below)
    assert Origin("x", "a").below("../b") == Origin("x", "b")
    assert Origin("x", "a").below("..") == Origin("x", "")
    assert Origin("x", folder).below("../../../near") is None


@pytest.mark.parametrize(
    ("recipe", "output", "more"),
    [("k3s", "k3s", True), ("k3s", "data", True), ("csi-driver-nfs", "nfsplugin", False), ("kubectl", "kubectl", False)],
)
def test_what_was_laid_into_the_folder_before_may_be_in_the_program(
    recipes: dict[str, Recipe], recipe: str, output: str, more: bool
) -> None:
    """k3s' wrapper embeds the archive that earlier steps made; nothing is laid into the others' folders."""
    assert made_of_more(recipes[recipe], output) is more
