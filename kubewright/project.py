"""A checkout: its recipes, builders, stacks, lock, accepted digests and settings, each read once and only when asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from kubewright import keys
from kubewright.errors import CycleError, LockOutdatedError, NeverLockedError, RecipeError, UsageError
from kubewright.model.builder import Builder, load_builders
from kubewright.model.digestsfile import Digests, load_digests
from kubewright.model.lockcheck import check_builder, check_component, project_files
from kubewright.model.lockfile import Lock, LockedBuilder, LockedComponent, LockedSource, load_lock
from kubewright.model.recipe import Recipe, load_recipes, modules_of_source
from kubewright.model.settings import Settings, load_settings
from kubewright.model.stack import Stack, load_stacks
from kubewright.model.template import lock_context
from kubewright.store import Store

T = TypeVar("T")

_REQUIRE = re.compile(r"^(?:require\s+|\t)(\S+)\s+(v\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Component:
    """A recipe joined with its pins for one platform: all that decides what comes out, and the key that says so."""

    recipe: Recipe
    locked: LockedComponent
    builder: Builder
    locked_builder: LockedBuilder
    platform: str
    dependencies: Mapping[str, str]
    variables: Mapping[str, str]
    key: str
    default_platform: str

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def task(self) -> str:
        """What its tasks are called on this machine, after ``build:`` and the others."""
        return self.name if self.platform == self.default_platform else f"{self.name}@{self.platform.replace('/', '-')}"

    @property
    def source_date_iso(self) -> str:
        """The main source's date as RFC 3339."""
        return self.variables["source_date_iso"]

    @property
    def label(self) -> str:
        """How people and tasks call it; the host's platform goes without saying where there is but one."""
        return f"{self.name} {self.recipe.version} {self.platform}"


class Project:
    """The checkout at ``root``."""

    def __init__(self, root: Path, environ: Mapping[str, str] | None = None) -> None:
        self.root = root.absolute()
        self._environ = os.environ if environ is None else environ
        self._components: dict[tuple[str, str], Component] = {}

    @classmethod
    def find(cls, start: Path) -> Project:
        """The checkout that ``start`` lies in. Raises UsageError outside of one."""
        for directory in (start.absolute(), *start.absolute().parents):
            if (directory / "dodo.py").is_file() and (directory / "recipes").is_dir():
                return cls(directory)
        raise UsageError(
            f"{start.absolute()} is not in a kubewright checkout (no folder above it holds dodo.py and recipes/)",
            remedy="change to the checkout, or name it with --project",
        )

    @cached_property
    def settings(self) -> Settings:
        return load_settings(self.root, self._environ)

    @cached_property
    def store(self) -> Store:
        return Store(self.settings.store)

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        return load_recipes(self.root / "recipes")

    @cached_property
    def builders(self) -> dict[str, Builder]:
        return load_builders(self.root / "builders")

    @cached_property
    def stacks(self) -> dict[str, Stack]:
        return load_stacks(self.root / "stacks")

    @cached_property
    def lock(self) -> Lock:
        return load_lock(self.root / "lockfile.toml")

    @cached_property
    def digests(self) -> Digests:
        return load_digests(self.root / "digests.toml")

    def reload(self) -> None:
        """Forget lock and accepted digests (and the keys made of them): they have been written anew."""
        for name in ("lock", "digests"):
            self.__dict__.pop(name, None)
        self._components.clear()

    @property
    def default_stack(self) -> Stack:
        return _named(self.stacks, self.settings.stack, "stack", "stacks/")

    def recipe(self, name: str) -> Recipe:
        """Raises UsageError with a suggestion."""
        return _named(self.recipes, name, "component", "recipes/")

    def check_references(self) -> None:
        """That what recipes and stacks name is there: tasks are made of it. Raises RecipeError, CycleError."""
        for name in sorted({*self.recipes} & {*self.builders}):
            raise RecipeError(
                f"recipes/{name} and builders/{name}.toml have one name, and so would have one task lock:{name}",
                remedy="rename one of the two",
            )
        for stack in self.stacks.values():
            for name in stack.components:
                if name not in self.recipes:
                    near = get_close_matches(name, self.recipes, 1)
                    raise RecipeError(
                        f"stacks/{stack.name}.toml: components: there is no recipes/{name}",
                        remedy=f"did you mean {near[0]!r}?" if near else "correct the name, or add the recipe",
                    )
        seen: set[str] = set()
        for name in self.recipes:
            self._check_inputs(name, (), seen)

    def _check_inputs(self, name: str, wanted_by: tuple[str, ...], seen: set[str]) -> None:
        _refuse_circle(name, wanted_by)
        recipe = self._wanted_recipe(name, wanted_by)
        if name in seen:
            return
        for each in recipe.inputs:
            self._check_inputs(each.component, (*wanted_by, name), seen)
            missing = sorted({*recipe.platforms} - {*self.recipes[each.component].platforms})
            if missing:
                raise RecipeError(
                    f"recipes/{name}/recipe.toml: input: {each.component} is not built for {missing[0]}, as {name} is",
                    remedy=f"add the platform to recipes/{each.component}/recipe.toml, or take it out of this one",
                )
        seen.add(name)

    def builder(self, name: str, wanted_by: str) -> Builder:
        """Raises RecipeError when recipe ``wanted_by`` names a builder that does not exist."""
        if name not in self.builders:
            near = get_close_matches(name, self.builders, 1)
            raise RecipeError(
                f"recipes/{wanted_by}/recipe.toml: builder: there is no builders/{name}.toml",
                remedy=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.builders)}",
            )
        return self.builders[name]

    def locked_builder(self, name: str) -> LockedBuilder:
        """The builder's pins, checked against what it asks for. Raises LockOutdatedError."""
        builder = _named(self.builders, name, "builder", "builders/")
        locked = self.lock.builders.get(name)
        if locked is None:
            raise LockOutdatedError(f"builder {name} is not in lockfile.toml", remedy=f"lock it: ./doit lock:{name}")
        check_builder(builder, locked)
        return locked

    def component(self, name: str, platform: str | None = None) -> Component:
        """The component with its key.

        Raises UsageError (no such component or platform), RecipeError, CycleError, LockOutdatedError.
        """
        return self._component(name, platform or self.settings.platform, ())

    def _component(self, name: str, platform: str, wanted_by: tuple[str, ...]) -> Component:
        _refuse_circle(name, wanted_by)
        known = self._components.get((name, platform))
        if known is None:
            known = self._components[name, platform] = self._join(name, platform, wanted_by)
        return known

    def _join(self, name: str, platform: str, wanted_by: tuple[str, ...]) -> Component:
        recipe = self._wanted_recipe(name, wanted_by)
        if platform not in recipe.platforms:
            raise UsageError(
                f"{name} is not built for {platform}, only for {', '.join(recipe.platforms)}",
                remedy=f"add the platform to recipes/{name}/recipe.toml, or name another one with KUBEWRIGHT_PLATFORM",
            )
        builder = self.builder(recipe.builder, name)
        dependencies = {
            each.component: self._component(each.component, platform, (*wanted_by, name)).key for each in recipe.inputs
        }
        locked = self.lock.components.get(name)
        if locked is None:
            raise self._not_locked(recipe)
        check_component(recipe, locked, self.root)
        locked_builder = self.locked_builder(recipe.builder)
        key = keys.component_key(recipe, locked, locked_builder, platform, dependencies)
        variables = self._variables(recipe, locked)
        default = self.settings.platform
        return Component(recipe, locked, builder, locked_builder, platform, dependencies, variables, key, default)

    def _not_locked(self, recipe: Recipe) -> NeverLockedError:
        main = recipe.sources[0]
        origin = main.git or main.module or main.url
        page = f"docs/{recipe.name}.md"
        told = f"; {page} says what then" if (self.root / page).is_file() else ""
        return NeverLockedError(
            f"component {recipe.name} is not in lockfile.toml: its recipe has not been run on the real source yet",
            remedy=f"./doit lock:{recipe.name}, where {origin} or a mirror of it can be reached{told}",
        )

    def as_if_locked(self, name: str, platform: str | None = None) -> Component:
        """A component that has no lock, for showing what would be done: no key, no pins, variables of the lock in braces.

        Raises what ``component`` raises but for NeverLockedError.
        """
        recipe, wanted = self.recipe(name), platform or self.settings.platform
        pins = tuple(
            LockedSource(
                each.name, each.form, 0, each.module, each.version, git=each.git, tag=each.tag, branch=each.branch, url=each.url
            )
            for each in recipe.sources
        )
        modules = {path: f"{{module:{path}}}" for path in modules_of_source(recipe)}
        files = tuple(file for file in project_files(recipe, self.root))
        locked = LockedComponent(recipe.version, pins, files, modules)
        dependencies = {each.component: self._key_or_none(each.component, wanted) for each in recipe.inputs}
        commits = {each.name: f"{{commit:{each.name}}}" for each in recipe.sources}
        variables = lock_context(recipe.version, 0, commits, recipe.sources[0].name, modules)
        variables |= {each: f"{{{each}}}" for each in ("commit", "commit_short", "source_date", "source_date_iso")}
        builder = self.builder(recipe.builder, name)
        default = self.settings.platform
        return Component(
            recipe, locked, builder, self.locked_builder(recipe.builder), wanted, dependencies, variables, "", default
        )

    def _key_or_none(self, name: str, platform: str) -> str:
        try:
            return self.component(name, platform).key
        except NeverLockedError:
            return ""

    def _wanted_recipe(self, name: str, wanted_by: tuple[str, ...]) -> Recipe:
        if name not in self.recipes and wanted_by:
            raise RecipeError(
                f"recipes/{wanted_by[-1]}/recipe.toml: input: there is no recipes/{name}",
                remedy="correct the name, or add the recipe",
            )
        return self.recipe(name)

    def _variables(self, recipe: Recipe, locked: LockedComponent) -> dict[str, str]:
        main = locked.sources[0]
        commits = {pin.name: pin.commit for pin in locked.sources}
        go_mod = self.root / "recipes" / recipe.name / "go.mod"
        modules = dict(_REQUIRE.findall(go_mod.read_text("utf-8"))) if go_mod.is_file() else dict(locked.modules)
        return lock_context(recipe.version, main.source_date, commits, main.name, modules)

    def in_order(self, names: Iterable[str], platform: str | None = None) -> list[Component]:
        """The components and all that they need, each after what it needs."""
        ordered: dict[str, Component] = {}

        def visit(name: str) -> None:
            component = self.component(name, platform)
            for dependency in component.dependencies:
                visit(dependency)
            ordered.setdefault(name, component)

        for name in names:
            visit(name)
        return list(ordered.values())


def _refuse_circle(name: str, wanted_by: tuple[str, ...]) -> None:
    if name in wanted_by:
        circle = " -> ".join([*wanted_by[wanted_by.index(name) :], name])
        raise CycleError(
            f"recipes/{name}/recipe.toml: input: recipes need each other's outputs: {circle}",
            remedy="break the circle: one of these recipes has to do without its [[input]]",
        )


def _named(mapping: Mapping[str, T], name: str, what: str, where: str) -> T:
    if name not in mapping:
        near = get_close_matches(name, mapping, 1)
        raise UsageError(
            f"there is no {what} {name!r} in {where}",
            remedy=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(mapping) or 'none'}",
        )
    return mapping[name]
