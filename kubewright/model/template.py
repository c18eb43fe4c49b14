"""Variables in a recipe's strings: ``{version}``, ``{module:k8s.io/api}``; ``{{`` and ``}}`` stand for braces.

Two sets: what the recipe itself gives (*early*: usable where a source is named) and what lock and go.mod add (*late*:
usable in steps and smoke checks). Whatever is not known is an error when the recipe is loaded, not when it is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubewright.errors import RecipeError

EARLY = ("version", "major", "minor", "patch")
LATE = (*EARLY, "commit", "commit_short", "source_date", "source_date_iso", "build")
#: variables with an argument: the module's path, the source's name
WITH_ARGUMENT = ("module", "commit")
#: the same where early variables stand: another component's name
EARLY_WITH_ARGUMENT = EARLY

_REMEDY = "the variables are listed in docs/recipes.md; {module:PATH} is there when go.mod requires PATH"
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def expand(text: str, context: Mapping[str, str]) -> str:
    """``text`` with each ``{name}`` replaced by ``context[name]``; raises RecipeError."""
    if "{" not in text and "}" not in text:
        return text

    def value(name: str) -> str:
        if name not in context:
            raise RecipeError(f"{_unknown(name, tuple(context))} in {text!r}", remedy=_REMEDY)
        return context[name]

    return _substitute(text, value)


def variables(text: str) -> tuple[str, ...]:
    """The names in ``text``, in order, with their arguments (``module:PATH``); raises RecipeError for a lone brace."""
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return ""

    _substitute(text, note)
    return tuple(names)


def recipe_context(version: str) -> dict[str, str]:
    """The early variables of a version; parts that it does not have are not there."""
    release = re.match(r"[0-9]+(\.[0-9]+)*", version)
    numbers = release.group().split(".") if release else []
    return {"version": version, **dict(zip(EARLY[1:], numbers, strict=False))}


def lock_context(
    version: str, source_date: int, commits: Mapping[str, str], main: str, modules: Mapping[str, str]
) -> dict[str, str]:
    """All variables. ``commits`` by source name (confirmed ones only), ``main`` the first source, ``modules`` path -> version.

    ``{build}``, the build directory's path inside the sandbox, is added where it is known: see ``steps``.
    The commit of a source whose commit is not in ``commits`` has to be passed as an empty string: it is known, and empty.
    """
    from datetime import datetime, timezone

    moment = datetime.fromtimestamp(source_date, timezone.utc)
    return {
        **recipe_context(version),
        "commit": commits.get(main, ""),
        "commit_short": commits.get(main, "")[:8],
        "source_date": str(source_date),
        "source_date_iso": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **{f"commit:{name}": commit for name, commit in commits.items()},
        **{f"module:{path}": found for path, found in modules.items()},
    }


@dataclass(frozen=True, slots=True)
class Template:
    """A check for ``Annotated``: the string's variables are of the names given."""

    names: tuple[str, ...] = LATE
    with_argument: tuple[str, ...] = WITH_ARGUMENT

    def problem(self, value: str) -> str | None:
        if "{" not in value and "}" not in value:
            return None
        try:
            for name in variables(value):
                head, colon, argument = name.partition(":")
                if not (name in self.names or (colon and argument and head in self.with_argument)):
                    return _unknown(name, (*self.names, *(f"{head}:..." for head in self.with_argument)))
        except RecipeError as reason:
            return reason.message
        return None

    def keywords(self) -> Mapping[str, object]:
        return {}


def _substitute(text: str, value: Callable[[str], str]) -> str:
    def replace(match: re.Match[str]) -> str:
        token = match.group()
        if token in ("{{", "}}"):
            return token[0]
        if match.group(1) is None:
            remedy = f"write {token * 2!r} for the character itself"
            raise RecipeError(f"a lone {token!r} in {text!r}; {remedy}", remedy=remedy)
        return value(match.group(1))

    return _TOKEN.sub(replace, text)


def _unknown(name: str, known: tuple[str, ...]) -> str:
    shown = ", ".join(f"{{{item}}}" for item in known[:12])
    return f"unknown variable {{{name}}} (known: {shown}; {{{{ and }}}} for braces)"
