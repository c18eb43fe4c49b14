"""``kubewright graph``: what a component is built from and in, and what it takes from others. From recipes alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from kubewright.errors import CycleError, RecipeError
from kubewright.model.recipe import Recipe, Source
from kubewright.project import Project


def as_tree(project: Project, names: Iterable[str]) -> str:
    """A text tree per name; what was shown once is not repeated. Raises UsageError, RecipeError, CycleError."""
    shown: set[str] = set()
    lines = [line for name in names for line in _component_lines(project, name, (), shown)]
    return "\n".join(lines) + "\n"


def _component_lines(project: Project, name: str, above: tuple[str, ...], shown: set[str]) -> Iterator[str]:
    recipe = _recipe(project, name, above)
    title = f"{recipe.name} {recipe.version}"
    if name in shown:
        yield f"{title} (above)"
        return
    shown.add(name)
    yield title
    children = [[_source(source)] for source in recipe.sources] + [[_builder(project, recipe)]]
    for each in recipe.inputs:
        first, *rest = _component_lines(project, each.component, (*above, name), shown)
        children.append([f"{each.output} -> {each.to}, from {first}", *rest])
    for child in children:
        last = child is children[-1]
        yield ("└── " if last else "├── ") + child[0]
        yield from (("    " if last else "│   ") + line for line in child[1:])


def _recipe(project: Project, name: str, above: tuple[str, ...]) -> Recipe:
    if name in above:
        circle = " -> ".join([*above[above.index(name) :], name])
        raise CycleError(
            f"recipes/{name}/recipe.toml: input: recipes need each other's outputs: {circle}",
            remedy="break the circle: one of these recipes has to do without its [[input]]",
        )
    if above and name not in project.recipes:
        raise RecipeError(f"recipes/{above[-1]}/recipe.toml: input: there is no recipes/{name}", remedy="correct the name")
    return project.recipe(name)


def _source(source: Source) -> str:
    where = {
        "module": f"{source.module} {source.version}",
        "tree": f"{source.git} {source.tag or f'branch {source.branch}'}",
        "archive": source.url,
    }[source.form]
    patches = f", patched by {', '.join(patch.file for patch in source.patches)}" if source.patches else ""
    return f"source {source.name}: {where}{patches}"


def _builder(project: Project, recipe: Recipe) -> str:
    builder = project.builder(recipe.builder, recipe.name)
    parts = [f"Go {builder.go.version}"] if builder.go else []
    parts += [f"{' '.join(builder.debian.packages)} of {builder.debian.suite}"] if builder.debian else []
    return f"builder {builder.name}: {', '.join(parts)}"


# -- dot ----------------------------------------------------------------------------------------------------------


def as_dot(project: Project, names: Iterable[str]) -> str:
    """The same for graphviz (https://graphviz.org/doc/info/lang.html): an edge points at what is needed."""
    lines = ["digraph kubewright {", "  rankdir=LR;", "  node [shape=box];"]
    seen: set[str] = set()
    for name in names:
        lines += _dot(project, name, (), seen)
    return "\n".join([*lines, "}"]) + "\n"


def _dot(project: Project, name: str, above: tuple[str, ...], seen: set[str]) -> Iterator[str]:
    recipe = _recipe(project, name, above)
    if name in seen:
        return
    seen.add(name)
    yield f"  {_quoted(name)} [label={_quoted(f'{recipe.name} {recipe.version}')}];"
    for source in recipe.sources:
        origin = source.module or source.git or source.url
        if origin not in seen:
            seen.add(origin)
            yield f"  {_quoted(origin)} [shape=note];"
        yield f"  {_quoted(name)} -> {_quoted(origin)} [label={_quoted(source.version or source.tag or source.branch)}];"
    for each in recipe.inputs:
        yield from _dot(project, each.component, (*above, name), seen)
        yield f"  {_quoted(name)} -> {_quoted(each.component)} [label={_quoted(each.output)}];"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
