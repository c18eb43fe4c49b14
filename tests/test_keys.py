"""Cache keys are pinned by a golden file: a change of key is a decision. What decides no byte changes no key."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from kubewright import keys
from kubewright.model.lockfile import LockedComponent, load_lock
from kubewright.model.recipe import PackageFiles, Recipe, load_recipes

DATA = Path(__file__).parent / "data"
PROJECT = DATA / "project"
GOLDEN = DATA / "keys.json"

LOCK = load_lock(PROJECT / "lockfile.toml")
RECIPES = {name: recipe for name, recipe in load_recipes(PROJECT / "recipes").items() if name in LOCK.components}


def key(recipe: Recipe, locked: LockedComponent | None = None, platform: str = "linux/amd64", builder: str = "") -> str:
    pins = locked or LOCK.components[recipe.name]
    dependencies = {each.component: "sha256:" + "0" * 64 for each in recipe.inputs}
    return keys.component_key(recipe, pins, LOCK.builders[builder or recipe.builder], platform, dependencies)


def test_keys_are_those_of_the_golden_file() -> None:
    found = {name: key(recipe) for name, recipe in RECIPES.items()}
    found |= {f"builder {name}": keys.builder_digest(LOCK.builders[name]) for name in LOCK.builders}
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_what_is_for_people_only_changes_no_key(name: str) -> None:
    recipe = RECIPES[name]
    other = dataclasses.replace(recipe, summary="x", notes="x", homepage="https://x", licence="MIT", status="x", smokes=())
    assert key(other) == key(recipe)
    sources = tuple(dataclasses.replace(source, git="https://elsewhere.example/x", commit_hint="") for source in recipe.sources)
    assert key(dataclasses.replace(recipe, sources=sources)) == key(recipe)


def test_tests_instead_of_commands_are_in_the_key() -> None:
    recipe = RECIPES["small"]
    steps = tuple(dataclasses.replace(step, go=dataclasses.replace(step.go, test=True)) for step in recipe.steps if step.go)
    assert key(dataclasses.replace(recipe, steps=steps)) != key(recipe)


def test_standard_output_as_a_file_is_in_the_key() -> None:
    recipe = RECIPES["k3s-like"]
    steps = tuple(dataclasses.replace(step, stdout="out/x") if step.run else step for step in recipe.steps)
    assert steps != recipe.steps
    assert key(dataclasses.replace(recipe, steps=steps)) != key(recipe)


def test_what_is_laid_beside_sources_and_what_go_mod_says_decide_bytes() -> None:
    recipe, pins = RECIPES["k3s-like"], LOCK.components["k3s-like"]
    files = PackageFiles("x", {"gcc": ("usr/bin/gcc",)})
    changed = [
        key(recipe),
        key(dataclasses.replace(recipe, packages=(files,))),
        key(dataclasses.replace(recipe, packages=(dataclasses.replace(files, to="y"),))),
        key(dataclasses.replace(recipe, links={"a": "b"})),
        key(dataclasses.replace(recipe, links={"a": "c"})),
        key(recipe, dataclasses.replace(pins, modules={"example.org/a": "v1.0.0"})),
        key(recipe, dataclasses.replace(pins, modules={"example.org/a": "v1.0.1"})),
    ]
    assert len(set(changed)) == len(changed)


def test_who_named_a_commit_changes_no_key() -> None:
    recipe, pins = RECIPES["k3s-like"], LOCK.components["k3s-like"]
    first = dataclasses.replace(pins.sources[0], branch="main", tag="", tag_object="0" * 40, signer="SHA256:x")
    assert key(recipe, dataclasses.replace(pins, sources=(first, *pins.sources[1:]))) == key(recipe)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_what_decides_bytes_changes_the_key(name: str) -> None:
    recipe, pins = RECIPES[name], LOCK.components[name]
    first, *rest = pins.sources
    changed = [
        key(dataclasses.replace(recipe, steps=recipe.steps + recipe.steps[:1])),
        key(dataclasses.replace(recipe, outputs=recipe.outputs[:-1])),
        key(recipe, platform="linux/arm64"),
        key(recipe, dataclasses.replace(pins, sources=(dataclasses.replace(first, source_date=1), *rest))),
        key(recipe, dataclasses.replace(pins, sources=(dataclasses.replace(first, h1="h1:other", sha256="0" * 64), *rest))),
        key(recipe, dataclasses.replace(pins, files=pins.files[:-1])) if pins.files else "no files",
        key(recipe, builder=next(each for each in LOCK.builders if each != recipe.builder)),
    ]
    assert key(recipe) not in changed
    assert len(set(changed)) == len(changed)
