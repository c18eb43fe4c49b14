from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from kubewright.model.decode import decode
from kubewright.model.recipe import Recipe, load_recipe
from kubewright.model.recipe_rules import problems_of
from kubewright.model.reference import PAGE, render_reference, with_reference
from kubewright.model.template import LATE

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / PAGE).read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_the_reference_is_current() -> None:
    assert with_reference(TEXT) == TEXT, "run: python -m kubewright.model.reference"


def test_the_reference_has_each_table_and_key() -> None:
    reference = render_reference()
    for heading in ("#### source.patch\n", "#### step.go\n", "#### smoke\n", "### builders/NAME.toml\n", "### settings.toml\n"):
        assert heading in reference
    assert '| `platforms` | array of strings | `["linux/amd64"]` | Platforms that it is built for. |' in reference
    assert '- `form = "archive"` needs `url`; does not take `module`' in reference
    assert "Exactly one of `go` and `run`." in reference


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="no <!-- generated"):
        with_reference("# A page\n")


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_good_recipes(example: str) -> None:
    recipe = decode(Recipe, tomli.loads(example), [])
    assert recipe is not None
    assert list(problems_of(recipe, recipe.name)) == []


def test_the_first_example_is_the_fixture_that_is_tested() -> None:
    path = ROOT / "tests/data/project/recipes/small/recipe.toml"
    assert EXAMPLES[0] == path.read_text()
    assert load_recipe(path).name == "small"


def test_every_variable_is_explained() -> None:
    for name in (*LATE, "commit:SOURCE", "module:PATH"):
        assert f"`{{{name}}}`" in TEXT
