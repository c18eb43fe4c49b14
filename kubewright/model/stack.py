"""A named set of components that make a working thing: stacks/NAME.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kubewright.errors import KubewrightError, RecipeError
from kubewright.model import tomlfile
from kubewright.model.recipe import Name
from kubewright.model.schema import Doc, NotEmpty, Pattern, Problem

ImageReference = Annotated[
    str,
    Pattern(
        r"[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+:[A-Za-z0-9_][A-Za-z0-9_.-]*",
        "a full reference such as docker.io/rancher/mirrored-pause:3.10.2",
    ),
]


@dataclass(frozen=True, slots=True)
class Stack:
    """A set of components. The file is stacks/NAME.toml."""

    name: Annotated[Name, Doc("The file's name without .toml.")]
    summary: Annotated[str, Doc("What it makes, in one line."), Pattern(r"[^\n]*\S[^\n]*", "one line of text")]
    components: Annotated[tuple[Name, ...], Doc("Names of recipes."), NotEmpty("minItems")]
    names: Annotated[
        Mapping[ImageReference, Name],
        Doc("Further name of an image -> the image of one of the components that nodes know by it as well."),
    ] = field(default_factory=dict)
    not_built: Annotated[
        Mapping[ImageReference, Annotated[str, NotEmpty()]],
        Doc("Image that upstream's counterpart has and this stack does not -> what is done without it."),
    ] = field(default_factory=dict)

    def names_of(self, image: str) -> tuple[str, ...]:
        """The further names of an image, sorted."""
        return tuple(sorted(name for name, of in self.names.items() if of == image))


def load_stack(path: Path) -> Stack:
    """The stack in the file ``path`` (stacks/NAME.toml); raises RecipeError."""
    return tomlfile.load(Stack, tomlfile.read(path, RecipeError), lambda stack: _problems(stack, path.stem))


def parse_stack(text: str, name: str, error: type[KubewrightError]) -> Stack:
    """The stack in a text that is called ``name``; raises ``error``."""
    return tomlfile.load(Stack, tomlfile.parse(text, name, error))


def load_stacks(directory: Path) -> dict[str, Stack]:
    """Every stack in ``directory`` (stacks/), by name, sorted."""
    return {path.stem: load_stack(path) for path in sorted(directory.glob("*.toml"))}


def _problems(stack: Stack, stem: str) -> Iterator[Problem]:
    if stack.name != stem:
        yield Problem(("name",), f"{stack.name!r} is not the file's name {stem!r}", "rename one of the two")
    for index, component in enumerate(stack.components):
        if component in stack.components[:index]:
            yield Problem(("components", index), f"{component!r} is there twice", "remove one")
    for reference in sorted({*stack.names} & {*stack.not_built}):
        yield Problem(("not_built", reference), "is one of `names` as well", "remove one of the two")
