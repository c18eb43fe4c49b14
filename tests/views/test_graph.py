"""``graph``: the tree, the dot file, circles."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_builder import CGO_BUILDER, ProjectBuilder

from kubewright.errors import CycleError, RecipeError, UsageError
from kubewright.views.graph import as_dot, as_tree


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    base = ProjectBuilder(tmp_path).component("base", patches={"0001-x.patch": "why"})
    return (
        base.component("left", inputs=["base"]).component("right", inputs=["base"]).component("top", inputs=["left", "right"])
    )


def test_the_tree_needs_no_lock_and_repeats_nothing(made: ProjectBuilder) -> None:
    assert as_tree(made.project(), ["top"]) == (
        "top 1.0.0\n"
        "├── source top: example.org/top v1.0.0\n"
        "├── builder go: Go 1.26.8\n"
        "├── left -> bin/left, from left 1.0.0\n"
        "│   ├── source left: example.org/left v1.0.0\n"
        "│   ├── builder go: Go 1.26.8\n"
        "│   └── base -> bin/base, from base 1.0.0\n"
        "│       ├── source base: example.org/base v1.0.0, patched by 0001-x.patch\n"
        "│       └── builder go: Go 1.26.8\n"
        "└── right -> bin/right, from right 1.0.0\n"
        "    ├── source right: example.org/right v1.0.0\n"
        "    ├── builder go: Go 1.26.8\n"
        "    └── base -> bin/base, from base 1.0.0 (above)\n"
    )


def test_a_builder_with_packages(made: ProjectBuilder) -> None:
    made.builder("cgo", CGO_BUILDER)
    recipe = (made.root / "recipes/base/recipe.toml").read_text()
    made.recipe("base", recipe.replace('builder = "go"', 'builder = "cgo"'))
    assert "builder cgo: Go 1.26.8, gcc libc6-dev of bookworm" in as_tree(made.project(), ["base"])


def test_dot_has_each_component_once_and_an_edge_for_each_input(made: ProjectBuilder) -> None:
    lines = as_dot(made.project(), ["top", "base"]).splitlines()
    assert (lines[0], lines[-1]) == ("digraph kubewright {", "}")
    assert sum(line.startswith('  "base" [') for line in lines) == 1
    assert '  "left" -> "base" [label="base"];' in lines
    assert '  "right" -> "base" [label="base"];' in lines
    assert '  "base" -> "example.org/base" [label="v1.0.0"];' in lines


@pytest.mark.parametrize("view", [as_tree, as_dot])
def test_a_circle_is_named(made: ProjectBuilder, view: type) -> None:
    made.component("base", inputs=["top"])
    with pytest.raises(CycleError, match="top -> left -> base -> top"):
        view(made.project(), ["top"])


@pytest.mark.parametrize("view", [as_tree, as_dot])
def test_what_does_not_exist(made: ProjectBuilder, view: type) -> None:
    with pytest.raises(UsageError):
        view(made.project(), ["nothing"])
    made.component("base", inputs=["nothing"])
    with pytest.raises(RecipeError, match="recipes/base"):
        view(made.project(), ["top"])
