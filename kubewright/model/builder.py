"""A build environment as builders/NAME.toml asks for it; the lock pins what was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kubewright.errors import RecipeError
from kubewright.model import tomlfile
from kubewright.model.recipe import Name
from kubewright.model.schema import Doc, NotEmpty, Pattern, Problem

GoVersion = Annotated[str, Pattern(r"1\.[0-9]+(\.[0-9]+|rc[0-9]+)", "a Go release such as 1.26.8")]
Suite = Annotated[str, Pattern(r"[a-z][a-z0-9-]*", "a Debian suite such as bookworm")]
PackageName = Annotated[str, Pattern(r"[a-z0-9][a-z0-9+.-]+", "a Debian package name")]


@dataclass(frozen=True, slots=True)
class GoToolchain:
    """The official Go toolchain."""

    version: Annotated[GoVersion, Doc("Its release.")]


@dataclass(frozen=True, slots=True)
class DebianRoot:
    """A root file system of unpacked Debian packages; their scripts are not run."""

    suite: Annotated[Suite, Doc("Only its main archive is used: the packages of a released suite stay.")]
    packages: Annotated[tuple[PackageName, ...], Doc("What is wanted; the lock adds what they need."), NotEmpty("minItems")]


@dataclass(frozen=True, slots=True)
class Builder:
    """A build environment: a Go toolchain, a root of Debian packages, or both. The file is builders/NAME.toml."""

    name: Annotated[Name, Doc("The file's name without .toml.")]
    summary: Annotated[str, Doc("What it is for, in one line."), Pattern(r"[^\n]*\S[^\n]*", "one line of text")]
    go: Annotated[GoToolchain | None, Doc("Go toolchain.")] = None
    debian: Annotated[DebianRoot | None, Doc("Root file system. Without it the root is empty.")] = None


def load_builder(path: Path) -> Builder:
    """The builder in the file ``path`` (builders/NAME.toml); raises RecipeError."""
    return tomlfile.load(Builder, tomlfile.read(path, RecipeError), lambda builder: _problems(builder, path.stem))


def load_builders(directory: Path) -> dict[str, Builder]:
    """Every builder in ``directory`` (builders/), by name, sorted."""
    return {path.stem: load_builder(path) for path in sorted(directory.glob("*.toml"))}


def _problems(builder: Builder, stem: str) -> Iterator[Problem]:
    if builder.name != stem:
        yield Problem(("name",), f"{builder.name!r} is not the file's name {stem!r}", "rename one of the two")
    if builder.go is None and builder.debian is None:
        yield Problem((), "has neither [go] nor [debian]", "a builder holds at least one of them")
    packages = builder.debian.packages if builder.debian else ()
    for index, package in enumerate(packages):
        if package in packages[:index]:
            yield Problem(("debian", "packages", index), f"{package!r} is there twice", "remove one")
