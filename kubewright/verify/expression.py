"""SPDX licence expressions (SPDX 2.3, annex D), and what a deny list makes of one.

The rule, from the smallest part up; ``docs/policy.md`` has it in the words of whoever writes a policy:

- An identifier is denied when the list has it; case does not count, nor a ``+`` behind it. ``X WITH Y`` is denied when the list
  has ``X``, ``Y`` or ``X WITH Y``: an exception does not lift what is denied.
- ``A AND B`` is denied when one of them is: both apply.
- ``A OR B`` is denied when one of them is, and the other cannot be chosen: it is denied as well, or unknown.
- ``LicenseRef-unknown-...``, NOASSERTION or NONE anywhere make the whole expression unknown. So does what cannot be read as an
  expression; there, each identifier that is named counts, as with AND.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

UNKNOWN: Final = frozenset({"", "NONE", "NOASSERTION"})

_TOKEN: Final = re.compile(r"[ \t\r\n]*(\(|\)|[A-Za-z0-9][A-Za-z0-9.:+-]*)")
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:+-]*")
_UNKNOWN_TEXT: Final = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-unknown(?:-.*)?", re.IGNORECASE)
_WORDS: Final = frozenset({"AND", "OR", "WITH"})
_LONGEST: Final = 1 << 16
_DEEPEST: Final = 50


@dataclass(frozen=True, slots=True)
class Licence:
    """One identifier, with the exception that stands behind it."""

    identifier: str
    exception: str = ""

    @property
    def unknown(self) -> bool:
        """Whether it says only that somebody does not know."""
        names = (self.identifier, self.exception) if self.exception else (self.identifier,)
        return any(name.upper() in UNKNOWN or _UNKNOWN_TEXT.fullmatch(name) for name in names)

    def usable(self, deny: frozenset[str]) -> bool:
        """Whether it is known and not denied."""
        return not self.unknown and not self.denied(deny)

    def denied(self, deny: frozenset[str]) -> frozenset[str]:
        """What of it is in ``deny``, which is in lower case."""
        plain = self.identifier.rstrip("+")
        names = {self.identifier, plain}
        if self.exception:
            names |= {self.exception, f"{self.identifier} WITH {self.exception}", f"{plain} WITH {self.exception}"}
        return frozenset(name for name in names if name.lower() in deny)


@dataclass(frozen=True, slots=True)
class Both:
    """AND: all parts apply."""

    parts: tuple[Expression, ...]

    @property
    def unknown(self) -> bool:
        """Whether one part is."""
        return any(part.unknown for part in self.parts)

    def usable(self, deny: frozenset[str]) -> bool:
        """Whether all parts are."""
        return all(part.usable(deny) for part in self.parts)

    def denied(self, deny: frozenset[str]) -> frozenset[str]:
        """What of any part is denied."""
        return frozenset().union(*(part.denied(deny) for part in self.parts))


@dataclass(frozen=True, slots=True)
class Either:
    """OR: one part may be chosen."""

    parts: tuple[Expression, ...]

    @property
    def unknown(self) -> bool:
        """Whether one part is: nobody knows what is offered there."""
        return any(part.unknown for part in self.parts)

    def usable(self, deny: frozenset[str]) -> bool:
        """Whether one part is."""
        return any(part.usable(deny) for part in self.parts)

    def denied(self, deny: frozenset[str]) -> frozenset[str]:
        """What is denied of the parts, when no part is left to choose."""
        return frozenset() if self.usable(deny) else frozenset().union(*(part.denied(deny) for part in self.parts))


Expression = Licence | Both | Either


def parse(text: str) -> Expression:
    """``text`` as an expression. Raises ValueError."""
    if len(text) > _LONGEST:
        raise ValueError("too long")
    tokens = list(_tokens(text))
    found, end = _either(tokens, 0, 0)
    if end != len(tokens):
        raise ValueError(f"{tokens[end]!r} does not belong there")
    return found


def unknown(text: str) -> bool:
    """Whether anything in ``text`` is unknown, or all of it cannot be read."""
    try:
        return parse(text).unknown
    except ValueError:
        return True


def denied(text: str, deny: frozenset[str]) -> frozenset[str]:
    """The identifiers for which a list (in lower case) refuses ``text``; none when it does not."""
    try:
        return parse(text).denied(deny)
    except ValueError:
        words = (word for word in _IDENTIFIER.findall(text) if word not in _WORDS)
        return frozenset().union(*(Licence(word).denied(deny) for word in words))


# -- reading: either := both (OR both)*; both := one (AND one)*; one := "(" either ")" | identifier [WITH exception] ------


def _tokens(text: str) -> Iterator[str]:
    text = text.rstrip(" \t\r\n")
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise ValueError(f"{text[position : position + 20]!r} is no part of an expression")
        yield found.group(1)
        position = found.end()


def _either(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    part, at = _both(tokens, at, depth)
    parts = [part]
    while at < len(tokens) and tokens[at].upper() == "OR":
        part, at = _both(tokens, at + 1, depth)
        parts.append(part)
    return (Either(tuple(parts)) if len(parts) > 1 else part), at


def _both(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    part, at = _one(tokens, at, depth)
    parts = [part]
    while at < len(tokens) and tokens[at].upper() == "AND":
        part, at = _one(tokens, at + 1, depth)
        parts.append(part)
    return (Both(tuple(parts)) if len(parts) > 1 else part), at


def _one(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    if at < len(tokens) and tokens[at] == "(":
        if depth == _DEEPEST:
            raise ValueError("nested too deeply")
        found, at = _either(tokens, at + 1, depth + 1)
        if at == len(tokens) or tokens[at] != ")":
            raise ValueError("a parenthesis is not closed")
        return found, at + 1
    name = _name(tokens, at)
    if at + 1 < len(tokens) and tokens[at + 1].upper() == "WITH":
        return Licence(name, _name(tokens, at + 2)), at + 3
    return Licence(name), at + 1


def _name(tokens: list[str], at: int) -> str:
    if at >= len(tokens) or tokens[at] in ("(", ")") or tokens[at].upper() in _WORDS:
        raise ValueError(f"an identifier is missing at {' '.join(tokens[at : at + 3]) or 'the end'!r}")
    return tokens[at]
