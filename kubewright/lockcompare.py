"""Two questions about a lock: does it still say what recipe and builder say, and what would a new one change?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from kubewright.builder import Builder
from kubewright.errors import LockOutdatedError
from kubewright.lockfile import FILE, Lock, LockedBuilder, LockedComponent, LockedPackage, LockedSource
from kubewright.recipe import Recipe, Source, has_main_module
from kubewright.schema import fields_of

T = TypeVar("T")

# -- recipe or builder against lock ---------------------------------------------------------------------------------


def check_against(recipe: Recipe, locked: LockedComponent | None) -> None:
    """Raise LockOutdatedError, with both values, when ``recipe`` says something else than its lock."""
    where = f"recipes/{recipe.name}/recipe.toml"
    if locked is None:
        raise _outdated(recipe.name, [f"{where}: the component {recipe.name!r} is not in {FILE}"])
    _raise_if_any(recipe.name, [f"{where}: {line}" for line in _recipe_differences(recipe, locked)])


def check_builder(builder: Builder, locked: LockedBuilder | None) -> None:
    """Raise LockOutdatedError, with both values, when ``builder`` asks for something else than its lock has."""
    where = f"builders/{builder.name}.toml"
    if locked is None:
        raise _outdated(builder.name, [f"{where}: the builder {builder.name!r} is not in {FILE}"])
    _raise_if_any(builder.name, [f"{where}: {line}" for line in _builder_differences(builder, locked)])


def _raise_if_any(name: str, lines: list[str]) -> None:
    if lines:
        raise _outdated(name, lines)


def _outdated(name: str, lines: list[str]) -> LockOutdatedError:
    return LockOutdatedError(lines[0], remedy=f"./doit lock:{name}", details="\n".join(lines[1:]))


def _recipe_differences(recipe: Recipe, locked: LockedComponent) -> Iterator[str]:
    yield from _unequal("version", recipe.version, locked.version)
    wanted, had = [source.name for source in recipe.sources], [source.name for source in locked.sources]
    if wanted != had:
        yield from _unequal("sources", ", ".join(wanted), ", ".join(had))
        return
    for source, pin in zip(recipe.sources, locked.sources, strict=True):
        for line in _source_differences(source, pin):
            yield f"source {source.name}: {line}"
    yield from _file_differences(recipe, [file.path for file in locked.files])


def _source_differences(source: Source, pin: LockedSource) -> Iterator[str]:
    yield from _unequal("form", source.form, pin.form)
    yield from _unequal("url", source.url, pin.url)
    # a lock names the module of a tree, and the commit of a module, only where that was confirmed
    if source.form == "module" or pin.module:
        yield from _unequal("module", source.module, pin.module)
        yield from _unequal("version", source.version, pin.version)
    if source.form == "tree" or pin.git:
        yield from _unequal("git", source.git, pin.git)
        yield from _unequal("tag", source.tag, pin.tag)


def _file_differences(recipe: Recipe, locked: list[str]) -> Iterator[str]:
    here = f"recipes/{recipe.name}"
    wanted = [f"patches/{recipe.name}/{patch.file}" for source in recipe.sources for patch in source.patches]
    if has_main_module(recipe):
        wanted += [f"{here}/go.mod", f"{here}/go.sum"]
    folders = tuple(f"{here}/{overlay.from_}" for overlay in recipe.overlays)
    for path in wanted:
        if path not in locked:
            yield f"{path} is not in {FILE}"
    for folder in folders:
        if not any(_within(path, folder) for path in locked):
            yield f"overlay {folder} is not in {FILE}"
    for path in locked:
        if path not in wanted and not any(_within(path, folder) for folder in folders):
            yield f"{FILE} has {path}, which the recipe does not use"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _builder_differences(builder: Builder, locked: LockedBuilder) -> Iterator[str]:
    wanted = builder.go.version if builder.go else ""
    if not locked.toolchains:
        yield from _unequal("go.version", wanted, "")
    for toolchain in locked.toolchains:
        yield from _unequal(f"go.version for {toolchain.platform}", wanted, toolchain.version)
    suite, packages = (builder.debian.suite, builder.debian.packages) if builder.debian else ("", ())
    yield from _unequal("debian.suite", suite, locked.suite)
    yield from _unequal("debian.packages", ", ".join(sorted(packages)), ", ".join(sorted(locked.requested)))


def _unequal(what: str, wanted: str, locked: str) -> Iterator[str]:
    if wanted != locked:
        yield f"{what} is {wanted or 'not set'!r} here and {locked or 'not set'!r} in {FILE}"


# -- lock against lock ----------------------------------------------------------------------------------------------


def describe_difference(old: Lock, new: Lock) -> list[str]:
    """What changes from ``old`` to ``new``, one line each, for people to read before it is written."""
    return [
        *_maps("component", old.components, new.components, _component_difference, lambda item: item.version),
        *_maps("builder", old.builders, new.builders, _builder_difference, _builder_summary),
    ]


def _maps(
    what: str,
    old: Mapping[str, T],
    new: Mapping[str, T],
    difference: Callable[[T, T], Iterable[str]],
    summary: Callable[[T], str],
) -> Iterator[str]:
    """Lines for what came, went or changed, by name."""
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"{what} {name}: removed (was {summary(old[name])})"
        elif name not in old:
            yield f"{what} {name}: new: {summary(new[name])}"
        else:
            for line in difference(old[name], new[name]):
                yield f"{what} {name}: {line}"


def _component_difference(old: LockedComponent, new: LockedComponent) -> Iterator[str]:
    if old.version != new.version:
        yield f"version {old.version} -> {new.version}"
    order = [source.name for source in old.sources], [source.name for source in new.sources]
    if order[0] != order[1] and sorted(order[0]) == sorted(order[1]):
        yield f"order of sources {', '.join(order[0])} -> {', '.join(order[1])}"
    before, after = ({item.name: item for item in component.sources} for component in (old, new))
    yield from _maps("source", before, after, _fields, lambda item: f"{item.form} {item.version or item.commit or item.url}")
    was, now = ({item.path: item for item in component.files} for component in (old, new))
    yield from _maps("file", was, now, _fields, lambda item: f"sha256 {item.sha256}")


def _fields(old: Any, new: Any) -> Iterator[str]:
    for key, field in fields_of(type(old)).items():
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before != after:
            yield f"{key} {_value(before)} -> {_value(after)}"


def _value(value: object) -> str:
    return "(none)" if value == "" else str(value).lower() if isinstance(value, bool) else str(value)


def _builder_difference(old: LockedBuilder, new: LockedBuilder) -> Iterator[str]:
    if old.suite != new.suite:
        yield f"suite {_value(old.suite)} -> {_value(new.suite)}"
    if sorted(old.requested) != sorted(new.requested):
        yield f"requested packages: {_changes(set(old.requested), set(new.requested))}"
    before, after = ({item.platform: item for item in builder.toolchains} for builder in (old, new))
    yield from _maps("toolchain", before, after, _fields, lambda item: f"{item.version} {item.h1}")
    packages = [_package_difference(*pair) for pair in _pairs(old, new)]
    changed = [line for line in packages if line]
    if changed:
        yield f"{len(changed)} package{'s' if len(changed) > 1 else ''} changed: {'; '.join(changed)}"


def _changes(old: set[str], new: set[str]) -> str:
    return " ".join([*(f"+{item}" for item in sorted(new - old)), *(f"-{item}" for item in sorted(old - new))])


def _pairs(old: LockedBuilder, new: LockedBuilder) -> Iterator[tuple[LockedPackage | None, LockedPackage | None]]:
    before, after = ({(item.name, item.architecture): item for item in side.packages} for side in (old, new))
    for key in sorted({*before, *after}):
        yield before.get(key), after.get(key)


def _package_difference(old: LockedPackage | None, new: LockedPackage | None) -> str:
    if old is None or new is None:
        item = old or new
        return f"{item.name} {item.version} {'removed' if old else 'added'}" if item else ""
    if old.version != new.version:
        return f"{old.name} {old.version} -> {new.version}"
    return f"{old.name} {old.version}: {', '.join(_fields(old, new))}" if old != new else ""


def _builder_summary(builder: LockedBuilder) -> str:
    parts = [f"go {item.version} for {item.platform}" for item in builder.toolchains]
    if builder.packages:
        parts.append(f"{len(builder.packages)} packages of {builder.suite}")
    return ", ".join(parts) or "empty"
