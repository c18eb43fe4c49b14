"""Small strict readers over parsed JSON: the value at a key has the type that a rule relies on, or the caller's error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubewright.verify.errors import VerifyError

_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Shape:
    """One JSON object with what errors call it."""

    value: Mapping[str, Any]
    name: str
    error: type[VerifyError]

    @classmethod
    def of(cls, value: Any, name: str, error: type[VerifyError]) -> Shape:
        """``value`` has to be an object."""
        if not isinstance(value, dict):
            raise error(f"{name}: expected an object, found {_kind(value)}")
        return cls(value, name, error)

    def only(self, *keys: str) -> None:
        """No other keys than these."""
        unknown = sorted(self.value.keys() - set(keys))
        if unknown:
            raise self.refuse(unknown[0], "is a key that is not known here")

    def inner(self, key: str) -> Shape:
        """The object at ``key``."""
        return Shape.of(self.value.get(key), self._at(key), self.error)

    def maybe(self, key: str) -> Shape | None:
        """The object at ``key``, or None when there is no such key."""
        return self.inner(key) if key in self.value else None

    def text(self, key: str) -> str:
        """The string at ``key``, not empty."""
        value = self.value.get(key)
        if not isinstance(value, str) or not value:
            raise self.refuse(key, f"expected a string, found {_kind(value)}")
        return value

    def optional_text(self, key: str) -> str:
        """The string at ``key``; empty when there is no such key."""
        return self.text(key) if key in self.value else ""

    def integer(self, key: str, least: int = 0) -> int:
        """The integer at ``key``."""
        value = self.value.get(key)
        if type(value) is not int or value < least:
            raise self.refuse(key, f"expected an integer from {least}, found {_kind(value)}")
        return value

    def objects(self, key: str) -> list[Shape]:
        """The objects of the array at ``key``; none when there is no such key."""
        value = self.value.get(key, [])
        if not isinstance(value, list):
            raise self.refuse(key, f"expected an array, found {_kind(value)}")
        return [Shape.of(item, f"{self._at(key)}[{index}]", self.error) for index, item in enumerate(value)]

    def digest_set(self, key: str) -> Mapping[str, str]:
        """An in-toto DigestSet: algorithm -> lower-case hexadecimal."""
        inner = self.inner(key)
        for name, value in inner.value.items():
            if not isinstance(value, str) or not re.fullmatch(r"(?:[0-9a-f]{2}){20,64}", value):
                raise inner.refuse(name, "expected a digest in lower-case hexadecimal")
        return dict(inner.value)

    def refuse(self, key: str, message: str) -> VerifyError:
        """The error for what is wrong at ``key``."""
        return self.error(f"{self._at(key)}: {message}")

    def _at(self, key: str) -> str:
        return f"{self.name}: {key}" if ": " not in self.name else f"{self.name}.{key}"


def is_hex_sha256(text: object) -> bool:
    """Whether a value is a SHA-256 in lower-case hexadecimal."""
    return isinstance(text, str) and _HEX.fullmatch(text) is not None


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "an empty string" if not value else f"the string {value[:60]!r}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence):
        return "an array"
    return "an object" if isinstance(value, Mapping) else f"the number {value}"
