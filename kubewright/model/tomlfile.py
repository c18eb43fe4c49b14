"""Read a TOML file into a dataclass, or say in which line and key what is wrong, and what to do.

The only place of the package that parses TOML: size is bounded, and what git, an editor or a broken disk make of a file
(merge markers, duplicate keys, a cut end, other encodings) has a message of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomli

from kubewright.errors import KubewrightError, LockError, RecipeError
from kubewright.model.decode import decode
from kubewright.model.schema import Problem

T = TypeVar("T")

#: no file of ours comes near it; more is a mistake or an attack
MAX_BYTES = 16 * 1024 * 1024

#: where a problem itself has nothing better to say
_REMEDIES: dict[type[KubewrightError], str] = {
    LockError: "it is a generated file: go back to the last good one (git diff shows what changed)",
    RecipeError: "docs/recipes.md has every key and what it takes",
}

Checker = Callable[[T], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed TOML file with the text that it came from. ``name`` is how messages call it."""

    name: str
    text: str
    data: dict[str, Any]
    error: type[KubewrightError]

    def where(self, problem: Problem) -> str:
        """``file:line``."""
        from kubewright.model.tomlines import line_of  # only failures need lines

        return f"{self.name}:{line_of(self.text, problem.path)}"

    def describe(self, problem: Problem) -> str:
        """``file:line: key.path: what is wrong``."""
        return f"{self.where(problem)}: {problem}"

    def failure(self, problems: Iterable[Problem]) -> KubewrightError:
        """One error for all of them: the first is the reason, the others are details."""
        first, *others = problems
        details = "\n".join(self.describe(problem) for problem in others)
        return self.error(self.describe(first), remedy=first.remedy or _REMEDIES.get(self.error, ""), details=details)


def load(cls: type[T], document: Document, check: Checker[T] | None = None) -> T:
    """``document`` as a ``cls``; raises its error with every problem found."""
    problems: list[Problem] = []
    value = decode(cls, document.data, problems)
    if value is not None and check is not None:
        problems.extend(check(value))
    if problems or value is None:
        raise document.failure(problems)
    return value


def read(path: Path, error: type[KubewrightError] = RecipeError) -> Document:
    """Parse the file at ``path``; raises ``error`` for whatever keeps it from being TOML."""
    name = shown(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise error(f"{name}: there is no such file") from None
    except OSError as reason:
        raise error(f"{name}: cannot be read: {reason.strerror}") from None
    if len(content) > MAX_BYTES:
        raise error(f"{name}: larger than {MAX_BYTES} bytes", remedy="no file of this kind is; look at what wrote it")
    return parse(_text(content, name, error), name, error)


def parse(text: str, name: str, error: type[KubewrightError] = RecipeError) -> Document:
    """Parse ``text``; ``name`` is what messages call it."""
    try:
        return Document(name, text, tomli.loads(text), error)
    except tomli.TOMLDecodeError as reason:
        raise _syntax_error(text, name, error, reason) from None
    except RecursionError:
        raise error(
            f"{name}: arrays or tables nested too deeply", remedy="nothing here nests deeper than a few levels"
        ) from None


def shown(path: Path) -> str:
    """``path`` as people like it: relative when below the working directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _text(content: bytes, name: str, error: type[KubewrightError]) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as reason:
        line = content.count(b"\n", 0, reason.start) + 1
        raise error(f"{name}:{line}: not UTF-8 (byte 0x{content[reason.start]:02x})", remedy="save it as UTF-8") from None
    if text.startswith("\ufeff"):
        raise error(f"{name}:1: starts with a byte order mark", remedy="save it as UTF-8 without BOM")
    return text


def _syntax_error(text: str, name: str, error: type[KubewrightError], reason: tomli.TOMLDecodeError) -> KubewrightError:
    marker = re.search(r"^(<{7}|={7}|>{7}|\|{7})(?= |\r?$)", text, re.MULTILINE)
    if marker:
        line = text.count("\n", 0, marker.start()) + 1
        remedy = "resolve the merge (git status names the files), then try again"
        return error(f"{name}:{line}: git merge marker {marker.group()}", remedy=remedy)
    what = re.sub(r" \(at .*\)$", "", str(reason))
    if "end of document" in str(reason):
        line = text.rstrip().count("\n") + 1
        return error(f"{name}:{line}: the file ends in the middle of something: {what}", remedy="restore its end; was it cut?")
    line = getattr(reason, "lineno", 0) or _line_in(str(reason))
    if re.search(r"overwrite|twice|already|mutate|redefine|Cannot declare", what):
        cited = text.split("\n")[line - 1].strip()
        return error(f"{name}:{line}: duplicate key or table: {cited} ({what})", remedy="keep one of the two")
    return error(f"{name}:{line}: not TOML: {what}", remedy=_REMEDIES.get(error, "is it the file that you meant?"))


def _line_in(message: str) -> int:
    found = re.search(r"at line (\d+)", message)
    return int(found.group(1)) if found else 1
