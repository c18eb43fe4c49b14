"""Decode parsed TOML into frozen dataclasses, strictly, by their type hints.

One definition serves three readers: this decoder, the JSON Schemas that editors use (``schema_json``) and the reference
in docs/recipes.md (``reference``). A hint is str, int, bool, Literal[...], tuple[T, ...], Mapping[str, T], another such
dataclass, or any of them ``| None``; ``Annotated`` adds what a type cannot say: ``Doc``, ``Key``, ``Pattern``,
``AtLeast``, ``NotEmpty`` or anything else with the ``problem`` method of ``Check``.

Nothing here knows files or lines: a failure is a ``Problem`` with a key path, and decoding goes on to find the next one.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

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


# -- plans: what the decoder, the JSON Schema and the reference know of a class ------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a table. ``hint`` has its Annotated taken off; ``default`` is ``dataclasses.MISSING`` when required."""

    name: str
    key: str
    hint: Any
    metadata: tuple[Any, ...]
    default: Any
    decode: Decoder

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING

    @property
    def doc(self) -> str:
        return next((item.text for item in self.metadata if isinstance(item, Doc)), "")


Decoder = Callable[[Any, KeyPath, "list[Problem]"], Any]


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
    return Field(item.name, key, hint, metadata, default, decoder(annotated))


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


# -- decoders, one per hint, made once -----------------------------------------------------------------------------


def decode(cls: type[T], data: object, problems: list[Problem], path: KeyPath = ()) -> T | None:
    """``data`` (a parsed TOML table) as a ``cls``; None when ``problems`` got something added."""
    hint: Any = cls
    result: T | None = decoder(hint)(data, path, problems)
    return result


@cache
def decoder(annotated: Any) -> Decoder:
    """The function that decodes values of one hint."""
    hint, metadata = split(annotated)
    plain = _plain_decoder(hint)
    checks = tuple(item.problem for item in metadata if hasattr(item, "problem"))
    return _checked(plain, checks) if checks else plain


def _plain_decoder(hint: Any) -> Decoder:
    origin = get_origin(hint)
    if hint in (str, int, bool):
        return _scalar(hint)
    if origin is Literal:
        return _literal(get_args(hint))
    if origin is tuple:
        return _array(decoder(get_args(hint)[0]))
    if origin in (Mapping, dict):
        key, value = get_args(hint)
        return _table(decoder(key), decoder(value))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass(hint)
    raise TypeError(f"no decoder for {hint!r}")


def _checked(plain: Decoder, checks: tuple[Callable[[Any], str | None], ...]) -> Decoder:
    def decode_checked(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
        before = len(problems)
        result = plain(value, path, problems)
        if len(problems) == before:
            for check in checks:
                message = check(result)
                if message is not None:
                    problems.append(Problem(path, message))
                    break
        return result

    return decode_checked


def choices(allowed: tuple[str | int, ...]) -> str:
    """``"a", "b" or "c"``."""
    *others, last = (f'"{item}"' if isinstance(item, str) else str(item) for item in allowed)
    return f"{', '.join(others)} or {last}" if others else last


_NAMES = {str: "a string", int: "an integer", bool: "true or false", float: "a number", list: "an array", dict: "a table"}


def _found(value: object) -> str:
    name = _NAMES.get(type(value), "a date or time")
    shown = "" if isinstance(value, (dict, list)) else f": {value!r}" if isinstance(value, str) else f": {value}"
    return f"{'a boolean' if isinstance(value, bool) else name}{shown.lower() if isinstance(value, bool) else shown}"


def _wrong_type(expected: str, value: object, path: KeyPath) -> Problem:
    return Problem(path, f"expected {expected}, found {_found(value)}")


def _scalar(kind: type) -> Decoder:
    def decode_scalar(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
        if type(value) is not kind:  # bool is an int for isinstance
            problems.append(_wrong_type(_NAMES[kind], value, path))
        return value

    return decode_scalar


def _literal(allowed: tuple[str | int, ...]) -> Decoder:
    expected = choices(allowed)
    kinds = {type(item) for item in allowed}

    def decode_literal(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
        if type(value) not in kinds or value not in allowed:
            remedy = _suggest(value, tuple(map(str, allowed)))
            problems.append(Problem(path, f"expected {expected}, found {_found(value)}", remedy))
        return value

    return decode_literal


def _array(item: Decoder) -> Decoder:
    def decode_array(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
        if type(value) is not list:
            problems.append(_wrong_type("an array", value, path))
            return ()
        return tuple(item(entry, (*path, index), problems) for index, entry in enumerate(value))

    return decode_array


def _table(key: Decoder, item: Decoder) -> Decoder:
    def decode_table(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
        if type(value) is not dict:
            problems.append(_wrong_type("a table", value, path))
            return {}
        return {key(name, (*path, name), problems): item(entry, (*path, name), problems) for name, entry in value.items()}

    return decode_table


def _dataclass(cls: type) -> Decoder:
    plan: Mapping[str, Field] | None = None

    def decode_dataclass(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
        nonlocal plan
        if plan is None:  # here, not above: a class may hold itself or one that is defined later
            plan = fields_of(cls)
        if type(value) is not dict:
            problems.append(_wrong_type("a table", value, path))
            return None
        before = len(problems)
        arguments: dict[str, Any] = {}
        for key, entry in value.items():
            field = plan.get(key)
            if field is None:
                problems.append(_unknown(key, path, plan))
            else:
                arguments[field.name] = field.decode(entry, (*path, key), problems)
        _check_presence(cls, plan, value, path, problems)
        return cls(**arguments) if len(problems) == before else None

    return decode_dataclass


def _check_presence(
    cls: type, plan: Mapping[str, Field], value: Mapping[str, Any], path: KeyPath, problems: list[Problem]
) -> None:
    for key, field in plan.items():
        if field.required and key not in value:
            problems.append(_missing(path, field))
    cases = cases_of(cls)
    if cases:
        _check_case(cases, plan, value, path, problems)
    choice = choice_of(cls)
    there = [key for key in choice if key in value]
    if choice and len(there) != 1:
        message = f"has {' and '.join(there)}" if there else f"has neither {' nor '.join(choice)}"
        problems.append(Problem(path, message, f"each has exactly one of {' and '.join(choice)}"))


def _check_case(
    cases: Cases, plan: Mapping[str, Field], value: Mapping[str, Any], path: KeyPath, problems: list[Problem]
) -> None:
    decided = value.get(cases.key)
    case = cases.cases.get(decided) if isinstance(decided, str) else None
    if case is None:
        return
    reason = f"{cases.key} = {decided!r}"
    problems += [_missing(path, plan[key], f"; {reason} needs it") for key in case.required if key not in value]
    problems += [
        Problem((*path, key), f"has no meaning with {reason}", "remove the key") for key in case.refused if key in value
    ]


def _missing(path: KeyPath, field: Field, reason: str = "") -> Problem:
    return Problem(path, f"the key {field.key!r} is missing{reason}", f"{field.key}: {field.doc}" if field.doc else "")


def _unknown(key: str, path: KeyPath, plan: Mapping[str, Field]) -> Problem:
    return Problem((*path, key), "unknown key", _suggest(key, tuple(plan)))


def _suggest(value: object, allowed: tuple[str, ...]) -> str:
    import difflib  # only failures need it

    close = difflib.get_close_matches(str(value), allowed, n=1)
    known = ", ".join(sorted(allowed))
    return f"did you mean {close[0]!r}? (known: {known})" if close else f"known: {known}"
