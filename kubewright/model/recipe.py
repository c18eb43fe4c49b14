"""A component as its recipe says it. The one place to import it from.

Loading resolves what depends on the recipe alone (default names, ``{version}`` in source fields), so that a ``Recipe`` can
be taken as it stands.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from kubewright.errors import RecipeError
from kubewright.model import tomlfile
from kubewright.model.image_model import Image
from kubewright.model.recipe_model import (
    GoStep,
    Input,
    Manifest,
    Name,
    Output,
    Overlay,
    PackageFiles,
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
from kubewright.model.recipe_rules import named_components, problems_of, templates
from kubewright.model.schema import show_path
from kubewright.model.template import expand, recipe_context, variables

__all__ = [
    "FILE",
    "GoStep",
    "Image",
    "Input",
    "Manifest",
    "Name",
    "Output",
    "Overlay",
    "PackageFiles",
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
    "modules_of_source",
    "resolve",
    "tagged",
]

FILE = "recipe.toml"
#: one that is not finished: checked when asked, and part of nothing else
DRAFT = "recipe.draft.toml"


def load_recipe(path: Path) -> Recipe:
    """The recipe in the file ``path`` (recipes/NAME/recipe.toml); raises RecipeError with every problem found."""
    document = tomlfile.read(path, RecipeError)
    recipe = tomlfile.load(Recipe, document, lambda recipe: problems_of(recipe, path.parent.name))
    return resolve(recipe, _versions(recipe, path))


def load_recipes(directory: Path) -> dict[str, Recipe]:
    """Every recipe below ``directory`` (recipes/), by name, sorted; folders without a recipe.toml are not recipes."""
    return {path.parent.name: load_recipe(path) for path in sorted(directory.glob(f"*/{FILE}"))}


def resolve(recipe: Recipe, versions: Mapping[str, str]) -> Recipe:
    """``recipe`` with default names and the variables of its sources and manifests filled in.

    ``versions``: of the other components that it names, see ``named_components``.
    """
    context = recipe_context(recipe.version)
    for name, version in versions.items():
        context |= {f"{part}:{name}": value for part, value in recipe_context(version).items()}
    sources = tuple(_resolve_source(source, recipe.name, context) for source in recipe.sources)
    manifests = tuple(
        dataclasses.replace(each, replace={theirs: expand(ours, context) for theirs, ours in each.replace.items()})
        for each in recipe.manifests
    )
    images = tuple(dataclasses.replace(image, reference=expand(image.reference, context)) for image in recipe.images)
    return dataclasses.replace(recipe, sources=sources, manifests=manifests, images=images)


def _versions(recipe: Recipe, path: Path) -> dict[str, str]:
    """The versions of the other components that the recipe names, from their recipes, which lie beside its own."""
    found = {}
    for name, key in named_components(recipe).items():
        version = sibling_version(path, name)
        if not version:
            raise RecipeError(
                f"{path}: {show_path(key)}: {{version:{name}}}: there is no recipes/{name} with a version",
                remedy="correct the name, or add the recipe",
            )
        found[name] = version
    return found


def sibling_version(path: Path, name: str) -> str:
    """The version in the recipe of the component ``name``, which lies beside the one at ``path``; empty without one."""
    other = path.parent.parent / name / FILE
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        return ""
    version = tomlfile.read(other, RecipeError).data.get("version") if other.is_file() else None
    return version if isinstance(version, str) else ""


def _resolve_source(source: Source, component: str, context: Mapping[str, str]) -> Source:
    return dataclasses.replace(
        source,
        name=source.name or component,
        version=expand(source.version, context) if source.module else "",
        tag=_tag(source, context),
        url=expand(source.url, context),
        unpack=source.unpack or (source.form == "module" and bool(source.patches)),
        replace={target: expand(version, context) for target, version in source.replace.items()},
        facts={path: tuple(expand(text, context) for text in texts) for path, texts in source.facts.items()},
    )


def _tag(source: Source, context: Mapping[str, str]) -> str:
    """The tag, in which ``{module:PATH}`` still stands: only the lock knows what the main source's go.mod says."""
    if not source.git or source.branch:
        return ""
    kept = {name: f"{{{name}}}" for name in variables(source.tag) if name.startswith("module:")}
    return expand(source.tag, {**context, **kept})


def tagged(source: Source, modules: Mapping[str, str]) -> Source:
    """``source`` with the modules of its tag filled in. Raises RecipeError for one that ``modules`` lacks."""
    return dataclasses.replace(source, tag=expand(source.tag, {f"module:{path}": each for path, each in modules.items()}))


def modules_of_source(recipe: Recipe) -> tuple[str, ...]:
    """The Go modules whose versions the recipe takes from the main source's own go.mod: ``{module:PATH}`` in tags, and in steps
    and smoke checks where nothing is built in the generated main module."""
    own = has_main_module(recipe)
    texts = [text for path, text in templates(recipe) if not own or path[-1] == "tag"]
    names = {name for text in texts if "{module:" in text for name in variables(text)}
    return tuple(sorted(name.removeprefix("module:") for name in names if name.startswith("module:")))
