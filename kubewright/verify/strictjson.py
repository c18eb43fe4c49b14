"""JSON that has one meaning: what two readers could read differently, or what is there to exhaust one, is refused.

Refused, each with its own error: invalid UTF-8 and byte order marks, duplicate keys, NaN and Infinity, numbers that are no
64-bit integers or that have no exact double, deep nesting, long strings, large documents, surrogates without a partner.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

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
    """Bounds in bytes of the document, characters of a string, levels of nesting and number of values."""

    size: int = 64 << 20
    string: int = 1 << 20
    depth: int = 32
    values: int = 2_000_000


#: an envelope's payload is one long string
ENVELOPE: Final = Limits(size=96 << 20, string=96 << 20, depth=16, values=10_000)
STATEMENT: Final = Limits()

_REMEDY: Final = "take the file from where it was signed; kubewright never writes such JSON"
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SKELETON: Final = re.compile(r'[\[\]{},"]')
_MAX_INTEGER: Final = (1 << 63) - 1
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes, limits: Limits = STATEMENT, name: str = "document") -> Any:
    """The value of a JSON document; raises a JsonError that calls it ``name``."""
    if len(data) > limits.size:
        raise JsonSizeError(f"{name}: {len(data)} bytes, more than {limits.size}", remedy=_REMEDY)
    text = _text(data, name)
    _measure(text, limits, name)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer, strict=True
        )
    except _RefusedError as reason:
        raise reason.kind(f"{name}: {reason.message}", remedy=_REMEDY) from None
    except RecursionError:  # not with a sane depth limit
        raise JsonDepthError(f"{name}: nested too deeply", remedy=_REMEDY) from None
    except ValueError as reason:
        raise JsonError(f"{name}: not JSON: {reason}", remedy=_REMEDY) from None
    if _SURROGATE.search(text):
        _require_pairs(value, name)
    return value


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
    """Depth, strings and number of values, before a parser makes objects of them."""
    depth = values = position = 0
    while found := _SKELETON.search(text, position):
        position = found.end()
        mark = found.group()
        if mark == '"':
            position = _end_of_string(text, found.start(), limits, name)
        elif mark in "[{":
            depth += 1
            if depth > limits.depth:
                raise JsonDepthError(f"{name}: nested deeper than {limits.depth} levels", remedy=_REMEDY)
        elif mark in "]}":
            depth -= 1
        else:
            values += 1
            if values > limits.values:
                raise JsonSizeError(f"{name}: more than {limits.values} values", remedy=_REMEDY)


def _end_of_string(text: str, start: int, limits: Limits, name: str) -> int:
    string = _STRING.match(text, start)
    if string is None:
        raise JsonError(f"{name}: not JSON: a string that does not end (character {start})", remedy=_REMEDY)
    if string.end() - start - 2 > limits.string:
        message = f"{name}: a string of {string.end() - start - 2} characters, more than {limits.string}"
        raise JsonSizeError(message, remedy=_REMEDY)
    return string.end()


class _RefusedError(Exception):
    """Carries a refusal out of the parser, which does not know the document's name."""

    def __init__(self, kind: type[JsonError], message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RefusedError(DuplicateKeyError, f"the key {key[:80]!r} is there twice")
        found[key] = value
    return found


def _constant(text: str) -> NoReturn:
    raise _RefusedError(JsonNumberError, f"{text} is no number of JSON's")


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > _MAX_INTEGER:
        raise _RefusedError(JsonNumberError, f"the number {text[:24]}... does not fit 64 bits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _RefusedError(JsonNumberError, f"the number {text[:24]} is out of range")
    return value
