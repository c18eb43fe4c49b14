"""A named set of components that make a working thing: stacks/NAME.toml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kubewright.errors import RecipeError
from kubewright.model import tomlfile
from kubewright.model.recipe import Name
from kubewright.model.schema import Doc, NotEmpty, Pattern, Problem


@dataclass(frozen=True, slots=True)
class Stack:
    """A set of components. The file is stacks/NAME.toml."""

    name: Annotated[Name, Doc("The file's name without .toml.")]
    summary: Annotated[str, Doc("What it makes, in one line."), Pattern(r"[^\n]*\S[^\n]*", "one line of text")]
    components: Annotated[tuple[Name, ...], Doc("Names of recipes."), NotEmpty("minItems")]


def load_stack(path: Path) -> Stack:
    """The stack in the file ``path`` (stacks/NAME.toml); raises RecipeError."""
    return tomlfile.load(Stack, tomlfile.read(path, RecipeError), lambda stack: _problems(stack, path.stem))


def load_stacks(directory: Path) -> dict[str, Stack]:
    """Every stack in ``directory`` (stacks/), by name, sorted."""
    return {path.stem: load_stack(path) for path in sorted(directory.glob("*.toml"))}


def _problems(stack: Stack, stem: str) -> Iterator[Problem]:
    if stack.name != stem:
        yield Problem(("name",), f"{stack.name!r} is not the file's name {stem!r}", "rename one of the two")
    for index, component in enumerate(stack.components):
        if component in stack.components[:index]:
            yield Problem(("components", index), f"{component!r} is there twice", "remove one")
