"""Decode parsed TOML into frozen dataclasses, strictly, by the definitions of ``schema``.

Nothing here knows files or lines: a failure is a ``Problem`` with a key path, and decoding goes on to find the next one.
What can be worked out from a class alone is worked out once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin

from kubewright.model.schema import Cases, Field, KeyPath, Problem, cases_of, choice_of, choices, fields_of, split

T = TypeVar("T")

Decoder = Callable[[Any, KeyPath, list[Problem]], Any]


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
    if hint in (str, int, bool, float):
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


_NAMES = {str: "a string", int: "an integer", bool: "true or false", float: "a number", list: "an array", dict: "a table"}


def _found(value: object) -> str:
    name = _NAMES.get(type(value), "a date or time")
    shown = "" if isinstance(value, (dict, list)) else f": {value!r}" if isinstance(value, str) else f": {value}"
    return f"{'a boolean' if isinstance(value, bool) else name}{shown.lower() if isinstance(value, bool) else shown}"


def _wrong_type(expected: str, value: object, path: KeyPath) -> Problem:
    return Problem(path, f"expected {expected}, found {_found(value)}")


def _scalar(kind: type) -> Decoder:
    def decode_scalar(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
        if type(value) is not kind and not (kind is float and type(value) is int):  # bool is an int for isinstance
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
    plan: Mapping[str, Field] = {}
    decoders: dict[str, tuple[str, Decoder]] = {}

    def decode_dataclass(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
        nonlocal plan
        if not plan:  # here, not above: a class may hold itself or one that is defined later
            plan = fields_of(cls)
            decoders.update({key: (field.name, decoder(field.annotated)) for key, field in plan.items()})
        if type(value) is not dict:
            problems.append(_wrong_type("a table", value, path))
            return None
        before = len(problems)
        arguments: dict[str, Any] = {}
        for key, entry in value.items():
            if key in decoders:
                name, decode_field = decoders[key]
                arguments[name] = decode_field(entry, (*path, key), problems)
            else:
                problems.append(Problem((*path, key), "unknown key", _suggest(key, tuple(plan))))
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


def _suggest(value: object, allowed: tuple[str, ...]) -> str:
    import difflib  # only failures need it

    close = difflib.get_close_matches(str(value), allowed, n=1)
    known = ", ".join(sorted(allowed))
    return f"did you mean {close[0]!r}? (known: {known})" if close else f"known: {known}"
