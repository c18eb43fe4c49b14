"""Which conformance specs are run: a list of their full texts, compared with what the tests themselves say that they have.

A spec that upstream renamed or dropped is an error, and not one spec fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from kubewright.lab.errors import ConformanceError

_MOST: Final = 4 << 20
#: what ginkgo puts before a spec's text when it looks for a focus
_SUITE: Final = "Kubernetes e2e suite"
#: what has a meaning in Go's regular expressions; anything else escaped would be an error there
_SPECIAL: Final = frozenset(r"\.+*?()|[]{}^$")


def read_list(path: Path) -> tuple[str, ...]:
    """The specs of a file: one a line, '#' begins a comment. Raises ConformanceError."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConformanceError(f"the list of specs cannot be read: {error}") from None
    specs = tuple(line for line in lines if line and not line.startswith("#"))
    twice = sorted({spec for spec in specs if specs.count(spec) > 1})
    if twice or not specs:
        what = f"{twice[0]!r} is there twice" if twice else "it lists nothing"
        raise ConformanceError(f"{path}: {what}", remedy="name every spec once, by its full text")
    return specs


def conformance_specs(said: str) -> tuple[str, ...]:
    """The specs that ``e2e.test --list-conformance-tests`` names. Raises ConformanceError for what it never says."""
    import yaml

    try:
        found = yaml.safe_load(said) if len(said) <= _MOST else None
        names = tuple(each["codename"] for each in found) if isinstance(found, list) else ()
    except (yaml.YAMLError, TypeError, KeyError):
        names = ()
    if not names or not all(isinstance(name, str) for name in names) or len({*names}) != len(names):
        raise ConformanceError("e2e.test does not say which conformance specs it has", details=said[:2000])
    return names


def require_known(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Raise ConformanceError unless every wanted spec is known, by its full text."""
    missing = [spec for spec in wanted if spec not in {*known}]
    if not missing:
        return
    near = get_close_matches(missing[0], known, 1)
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise ConformanceError(
        f"e2e.test has no conformance spec {missing[0]!r}{more}",
        remedy=f"is it {near[0]!r} now?" if near else "correct the list: e2e.test --list-conformance-tests names all of them",
    )


def focus(specs: Iterable[str]) -> str:
    """A regular expression of Go's that matches exactly these specs."""
    return f"^{_SUITE} (?:{'|'.join(_quoted(spec) for spec in specs)})$"


def _quoted(spec: str) -> str:
    return "".join(f"\\{each}" if each in _SPECIAL else each for each in spec)


def is_serial(spec: str) -> bool:
    """Whether a spec has to have the cluster to itself."""
    return "[Serial]" in spec


def dealt(specs: Sequence[str], hands: int) -> list[tuple[str, ...]]:
    """The specs, dealt to so many hands; specs that stand together go to different ones. No hand is empty."""
    return [hand for at in range(hands) if (hand := tuple(specs[at::hands]))]
