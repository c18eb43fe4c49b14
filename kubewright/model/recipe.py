"""A component as its recipe says it. The one place to import it from.

Loading resolves what depends on the recipe alone (default names, ``{version}`` in source fields), so that a ``Recipe`` can
be taken as it stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from kubewright.errors import RecipeError
from kubewright.model import tomlfile
from kubewright.model.recipe_model import (
    GoStep,
    Input,
    Name,
    Output,
    Overlay,
    Patch,
    Platform,
    Recipe,
    RelativePath,
    Smoke,
    Source,
    Step,
    Url,
    Version,
    has_main_module,
)
from kubewright.model.recipe_rules import problems_of
from kubewright.model.template import expand, recipe_context

__all__ = [
    "FILE",
    "GoStep",
    "Input",
    "Name",
    "Output",
    "Overlay",
    "Patch",
    "Platform",
    "Recipe",
    "RelativePath",
    "Smoke",
    "Source",
    "Step",
    "Url",
    "Version",
    "has_main_module",
    "load_recipe",
    "load_recipes",
    "resolve",
]

FILE = "recipe.toml"
#: one that is not finished: checked when asked, and part of nothing else
DRAFT = "recipe.draft.toml"


def load_recipe(path: Path) -> Recipe:
    """The recipe in the file ``path`` (recipes/NAME/recipe.toml); raises RecipeError with every problem found."""
    document = tomlfile.read(path, RecipeError)
    return resolve(tomlfile.load(Recipe, document, lambda recipe: problems_of(recipe, path.parent.name)))


def load_recipes(directory: Path) -> dict[str, Recipe]:
    """Every recipe below ``directory`` (recipes/), by name, sorted; folders without a recipe.toml are not recipes."""
    return {path.parent.name: load_recipe(path) for path in sorted(directory.glob(f"*/{FILE}"))}


def resolve(recipe: Recipe) -> Recipe:
    """``recipe`` with default names and the variables of its sources filled in."""
    context = recipe_context(recipe.version)
    sources = tuple(_resolve_source(source, recipe.name, context) for source in recipe.sources)
    return dataclasses.replace(recipe, sources=sources)


def _resolve_source(source: Source, component: str, context: Mapping[str, str]) -> Source:
    return dataclasses.replace(
        source,
        name=source.name or component,
        version=expand(source.version, context) if source.module else "",
        tag=expand(source.tag, context) if source.git else "",
        url=expand(source.url, context),
        unpack=source.unpack or (source.form == "module" and bool(source.patches)),
        replace={target: expand(version, context) for target, version in source.replace.items()},
    )
