"""What changes from one lock to the next, in lines for people to read before it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from kubewright.model.lockfile import Lock, LockedBuilder, LockedComponent, LockedPackage
from kubewright.model.schema import fields_of

T = TypeVar("T")


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
    if old.root != new.root:
        yield f"root file system {_value(old.root)} -> {_value(new.root)}"
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
