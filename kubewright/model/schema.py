"""How a dataclass says what a TOML file may hold: by its type hints, and by what ``Annotated`` adds to them.

One definition serves three readers: the decoder (``decode``), the JSON Schemas that editors use (``schema_json``) and the
reference in docs/recipes.md (``reference``). A hint is str, int, bool, Literal[...], tuple[T, ...], Mapping[str, T],
another such dataclass, or any of them ``| None``; ``Annotated`` adds what a type cannot say: ``Doc``, ``Key``,
``Pattern``, ``AtLeast``, ``NotEmpty`` or anything else with the ``problem`` method of ``Check``.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

#: keys and array indexes from the document's root to a value
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at one place of a document; ``str(problem)`` is without the file, which the caller knows."""

    path: KeyPath
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        where = show_path(self.path)
        return f"{where}: {self.message}" if where else self.message


def show_path(path: KeyPath) -> str:
    """``source[0].patch[1].file``; keys that TOML has to quote are quoted."""
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts.append(f"[{key}]")
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", key)
            parts.append(("." if parts else "") + (key if bare else f'"{key}"'))
    return "".join(parts)


# -- what Annotated may carry -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Doc:
    """One line or two for the reference and for editors."""

    text: str


@dataclass(frozen=True, slots=True)
class Key:
    """The key in TOML, where it is not the attribute's name."""

    name: str


class Check(Protocol):
    """A constraint beyond the type."""

    def problem(self, value: Any) -> str | None:
        """What is wrong with ``value``, or None."""

    def keywords(self) -> Mapping[str, object]:
        """The same as JSON Schema keywords, as far as they can say it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The whole string matches ``regex``; ``meaning`` completes 'X is not ...'. The regex is valid in ECMAScript too."""

    regex: str
    meaning: str

    def problem(self, value: str) -> str | None:
        if _compiled(self.regex).fullmatch(value):
            return None
        return f"{value!r} is not {self.meaning}"

    def keywords(self) -> Mapping[str, object]:
        return {"pattern": f"^(?:{self.regex})$"}


@dataclass(frozen=True, slots=True)
class AtLeast:
    """An integer's lowest value."""

    least: int

    def problem(self, value: int) -> str | None:
        return None if value >= self.least else f"{value} is less than {self.least}"

    def keywords(self) -> Mapping[str, object]:
        return {"minimum": self.least}


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """A string, array or table that holds something."""

    keyword: Literal["minLength", "minItems", "minProperties"] = "minLength"

    def problem(self, value: Any) -> str | None:
        empty = not (value.strip() if isinstance(value, str) else value)
        return "is empty" if empty else None

    def keywords(self) -> Mapping[str, object]:
        return {self.keyword: 1}


@cache
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex)


@dataclass(frozen=True, slots=True)
class Case:
    """Keys that one value of the deciding key makes necessary or meaningless."""

    required: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cases:
    """As ``CASES: ClassVar[Cases]`` of a dataclass: what is required or refused depends on the value of ``key``."""

    key: str
    cases: Mapping[str, Case]


@dataclass(frozen=True, slots=True)
class ExactlyOne:
    """As ``CHOICE: ClassVar[ExactlyOne]`` of a dataclass: one of these keys is there, and no other of them."""

    keys: tuple[str, ...]


# -- what decoder, JSON Schema and reference know of a class ------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a table. ``hint`` is ``annotated`` bare; ``default`` is ``dataclasses.MISSING`` when required."""

    name: str
    key: str
    annotated: Any
    hint: Any
    metadata: tuple[Any, ...]
    default: Any

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING

    @property
    def doc(self) -> str:
        return next((item.text for item in self.metadata if isinstance(item, Doc)), "")


_PLANS: dict[type, Mapping[str, Field]] = {}


def fields_of(cls: type) -> Mapping[str, Field]:
    """The keys of a dataclass in order, by key. Made once per class."""
    if cls not in _PLANS:
        hints = get_type_hints(cls, include_extras=True)
        fields = (_field(item, hints[item.name]) for item in dataclasses.fields(cls))
        _PLANS[cls] = {field.key: field for field in fields}
    return _PLANS[cls]


def cases_of(cls: type) -> Cases | None:
    """The class's ``CASES``, if it has them."""
    found = getattr(cls, "CASES", None)
    return found if isinstance(found, Cases) else None


def choice_of(cls: type) -> tuple[str, ...]:
    """The keys of the class's ``CHOICE``, if it has one."""
    found = getattr(cls, "CHOICE", None)
    return found.keys if isinstance(found, ExactlyOne) else ()


def _field(item: dataclasses.Field[Any], annotated: Any) -> Field:
    hint, metadata = split(annotated)
    key = next((entry.name for entry in metadata if isinstance(entry, Key)), item.name)
    default = item.default
    if item.default_factory is not dataclasses.MISSING:
        default = item.default_factory()
    return Field(item.name, key, annotated, hint, metadata, default)


def split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A hint and the metadata of its Annotated; ``X | None`` becomes X, since TOML has no null and says it by absence."""
    metadata: tuple[Any, ...] = ()
    while True:
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            metadata = (*metadata, *more)
        elif get_origin(hint) in (Union, types.UnionType):
            (hint,) = (arg for arg in get_args(hint) if arg is not type(None))
        else:
            return hint, metadata


def choices(allowed: tuple[str | int, ...]) -> str:
    """``"a", "b" or "c"``."""
    *others, last = (f'"{item}"' if isinstance(item, str) else str(item) for item in allowed)
    return f"{', '.join(others)} or {last}" if others else last
