"""JSON that has one meaning: what two readers could read differently, or what is there to exhaust one, is refused.

Refused, each with its own error: invalid UTF-8 and byte order marks, duplicate keys, NaN and Infinity, numbers that are no
64-bit integers or that have no exact double, deep nesting, long strings, large documents, surrogates without a partner.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeGuard

from kubewright.verify.errors import (
    DuplicateKeyError,
    JsonDepthError,
    JsonEncodingError,
    JsonError,
    JsonNumberError,
    JsonSizeError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds in bytes of the document, characters of a string, levels of nesting and number of values.

    They also bound the memory that reading takes: a list of nothing but empty lists is the worst, at 64 bytes a value.
    """

    size: int
    string: int
    depth: int
    values: int


STATEMENT: Final = Limits(size=8 << 20, string=1 << 20, depth=32, values=400_000)
#: its payload is one long string, a third longer than what it holds
ENVELOPE: Final = Limits(size=12 << 20, string=12 << 20, depth=8, values=1000)

_REMEDY: Final = "take the file from where it was signed; kubewright never writes such JSON"
#: up to the end of the text where the closing quote is missing: or else each escaped quote would begin a search of its own
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_EMPTY: Final = re.compile(r"\[\]|\{\}")
_NO_BRACKETS: Final = re.compile(r"[^\[\]{}]+")
_LONG_NUMBER: Final = re.compile(r"[0-9]{19,}")
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes, limits: Limits = STATEMENT, name: str = "document") -> Any:
    """The value of a JSON document; raises a JsonError that calls it ``name``."""
    if len(data) > limits.size:
        raise JsonSizeError(f"{name}: {len(data)} bytes, more than {limits.size}", remedy=_REMEDY)
    text = _text(data, name)
    _measure(text, limits, name)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, strict=True)
    except _RefusedError as reason:
        raise reason.kind(f"{name}: {reason.message}", remedy=_REMEDY) from None
    except RecursionError:  # not with a sane depth limit
        raise JsonDepthError(f"{name}: nested too deeply", remedy=_REMEDY) from None
    except ValueError as reason:
        raise JsonError(f"{name}: not JSON: {reason}", remedy=_REMEDY) from None
    if _SURROGATE.search(text):
        _require_pairs(value, name)
    return value


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is an integer of JSON's: ``true`` and 1.0 are none, though Python takes them for equal to 1."""
    return type(value) is int


def is_version(value: object, known: int) -> bool:
    """Whether a value is the number of a format that is known."""
    return is_integer(value) and value == known


def _require_pairs(value: Any, name: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        message = f"{name}: a string has half of a surrogate pair, which UTF-8 cannot say"
        raise JsonEncodingError(message, remedy=_REMEDY) from None


def _text(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as reason:
        message = f"{name}: byte {reason.start} (0x{data[reason.start]:02x}) is not UTF-8"
        raise JsonEncodingError(message, remedy=_REMEDY) from None
    if text.startswith("\ufeff"):
        raise JsonEncodingError(f"{name}: begins with a byte order mark", remedy=_REMEDY)
    return text


def _measure(text: str, limits: Limits, name: str) -> None:
    """Bounds that hold before a parser makes objects of the text; each step is one pass of compiled code."""
    values = text.count(",") + text.count("[") + text.count("{")  # those in strings as well: more than there are
    if values > limits.values:
        raise JsonSizeError(f"{name}: more than {limits.values} values", remedy=_REMEDY)
    longest = max((found.end() - found.start() for found in _STRING.finditer(text)), default=2) - 2
    if longest > limits.string:
        raise JsonSizeError(f"{name}: a string of {longest} characters, more than {limits.string}", remedy=_REMEDY)
    bare = _STRING.sub("", text)
    number = _LONG_NUMBER.search(bare)
    if number:
        raise JsonNumberError(f"{name}: the number {number.group()[:24]}... does not fit 64 bits", remedy=_REMEDY)
    brackets = _NO_BRACKETS.sub("", bare)
    left = brackets
    for _ in range(limits.depth):
        left = _EMPTY.sub("", left)  # takes one level off
    if left and _depth(brackets) > limits.depth:
        raise JsonDepthError(f"{name}: nested deeper than {limits.depth} levels", remedy=_REMEDY)


def _depth(brackets: str) -> int:
    depth = deepest = 0
    for mark in brackets:
        depth += 1 if mark in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


class _RefusedError(Exception):
    """Carries a refusal out of the parser, which does not know the document's name."""

    def __init__(self, kind: type[JsonError], message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _RefusedError(DuplicateKeyError, f"the key {twice[:80]!r} is there twice")
    return found


def _constant(text: str) -> NoReturn:
    raise _RefusedError(JsonNumberError, f"{text} is no number of JSON's")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _RefusedError(JsonNumberError, f"the number {text[:24]} is out of range")
    return value
