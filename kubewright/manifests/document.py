"""YAML as nodes that know where they stand in the text. Hostile input is expected: everything is bounded.

Refused are the constructs in which a value is not what stands at its place (anchors, aliases, merge keys, tags, keys given
twice): after a replacement, the text could mean something else to kubectl than to us.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from kubewright.manifests.errors import ManifestError

#: bytes of a manifest, nodes in it, depth of nesting; the largest of the default stack has 0.1 MB, 5,000 and 20
MOST_BYTES, MOST_NODES, MOST_DEPTH = 2 << 20, 150_000, 100


@dataclass(frozen=True, slots=True)
class Scalar:
    """``value`` as YAML reads it; ``text[start:end]`` is how it is written. ``style``: one of ' " | > or empty for plain."""

    value: str
    start: int
    end: int
    line: int
    style: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    items: tuple[tuple[Scalar, Node], ...]

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.items if name.value == key), None)

    def text(self, key: str) -> str:
        """The value of ``key`` where it is a scalar, else an empty string."""
        found = self.get(key)
        return found.value if isinstance(found, Scalar) else ""


Node: TypeAlias = "Scalar | Sequence | Mapping"


def read(name: str, text: str) -> list[Node]:
    """Every document of ``text``. Raises ManifestError; ``name`` is what errors call the text."""
    if len(text) > MOST_BYTES:
        raise _refused(name, f"it has more than {MOST_BYTES >> 20} MB")
    reader = _Reader(name, text)
    try:
        return list(reader.documents())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise _refused(name, f"{line}{problem}") from error
    except (ValueError, OverflowError) as error:  # numbers in escapes and directives
        raise _refused(name, str(error)[:200]) from error


def _refused(name: str, reason: str) -> ManifestError:
    remedy = "correct the source with a declared patch, or leave the manifest out"
    return ManifestError(f"{name}: {reason}", remedy=remedy)


class _Reader:
    """One pass over the parser's events."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._count = 0

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield self._node(next(self._events), 1)

    def _node(self, event: Any, depth: int) -> Node:
        self._count += 1
        self._check(event, depth)
        if isinstance(event, yaml.ScalarEvent):
            start: Any = event.start_mark
            end: Any = event.end_mark
            return Scalar(event.value, start.index, end.index, start.line + 1, event.style or "")
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(tuple(self._items(depth)))
        return Mapping(tuple(self._pairs(event, depth)))

    def _check(self, event: Any, depth: int) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refused(self._name, f"line {line}: anchors and aliases are not taken in manifests")
        if event.tag is not None:
            raise _refused(self._name, f"line {line}: tags ({event.tag}) are not taken in manifests")
        if depth > MOST_DEPTH or self._count > MOST_NODES:
            raise _refused(self._name, f"line {line}: more than {MOST_DEPTH} levels or {MOST_NODES} values")

    def _items(self, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            yield self._node(event, depth + 1)

    def _pairs(self, opening: Any, depth: int) -> Iterator[tuple[Scalar, Node]]:
        seen: set[str] = set()
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                return
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise _refused(self._name, f"line {opening.start_mark.line + 1}: a key that is no string")
            if key.value in seen or (key.value == "<<" and not key.style):
                what = "a merge key" if key.value == "<<" else f"the key {key.value[:80]!r} a second time"
                raise _refused(self._name, f"line {key.line}: {what}")
            seen.add(key.value)
            yield key, self._node(next(self._events), depth + 1)
