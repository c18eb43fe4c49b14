"""Which licences a text consists of. Never a guess: what no known licence explains is said to be unexplained.

The matching is that of Google's licensecheck, which pkg.go.dev uses, in its Python port ``licenseclassifier``: word by word
against the texts of the SPDX licence list, with its rules for what may vary. On top of it, everything between and around the
matches has to be a copyright line, a title, or a sentence that somebody has read (reviewed.toml).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from kubewright.files.digest import sha256_bytes

#: raised whenever the rules of this module come to other results
_RULES = 1

_WORD = re.compile(r"\w[\w'.+-]*")
_COPYRIGHT = re.compile(
    r"[\W_]*(portions )?(copyright|\(c\)|©|all rights reserved|spdx-(license-identifier|filecopyrighttext))"
)
_COPYRIGHT_WORDS = 24
#: a copyright line that says more than who and when
_TERMS = re.compile(r"licen[cs]ed|permi|grant|\bus(e|ed|age)\b|commerc|restrict|prohibit|patent|\bmust|\bshall|\bonly\b|govern")
#: a line of these words alone is a title
_TITLE = """
the a this is under of and version v license licenses licence copying copyright notice text file software library project
apache mit isc bsd mozilla public mpl-2.0 new simplified revised modified expat style clause 2-clause 3-clause two-clause
three-clause 2.0 2 3 distributed released http https www.opensource.org opensource.org mit-license.php mit-license
bsd-license bsd-2-clause bsd-3-clause apache-2.0 x11
"""
_TITLE_WORDS = frozenset(_TITLE.split())


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text is made of: SPDX ids, sorted, and the words that none of them explains (empty: nothing is left)."""

    ids: tuple[str, ...]
    unexplained: str = ""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What people have read: sentences that are no terms; copyright files of Debian packages by their digest; digests of
    licence files that speak of things which are never linked here."""

    sentences: frozenset[str]
    copyrights: dict[tuple[str, str], str]
    elsewhere: frozenset[str]


@functools.cache
def read_text(text: str) -> Reading:
    """The licences of ``text``. A text without any match has no ids, and all of it is unexplained."""
    from licenseclassifier import identify_license

    regions = identify_license(text, 0.0)
    if not regions:
        return Reading((), _words(text))
    left = []
    at = 0
    for region in regions:
        left.append(text[at : region.start])
        at = region.end
    left.append(text[at:])
    unexplained = [words for gap in left for words in [_gap(gap)] if words]
    return Reading(tuple(sorted({_spdx(region.id) for region in regions})), " ... ".join(unexplained))


def _spdx(name: str) -> str:
    """The classifier's name as SPDX has it."""
    names = _not_spdx()
    return (names[name] or f"LicenseRef-licensecheck-{name}") if name in names else name


@functools.cache
def _not_spdx() -> dict[str, str]:
    """not-spdx.txt beside this module: name -> SPDX's name, or nothing."""
    lines = _NOT_SPDX.read_text("utf-8").splitlines()
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {name: replacement for name, _, replacement in pairs}


def _gap(text: str) -> str:
    """The words between two matches that say something: without copyright lines, titles and reviewed sentences."""
    words = _words("\n".join(line for line in text.splitlines() if not _harmless(line)))
    return "" if words in reviewed().sentences else words


def _harmless(line: str) -> bool:
    lower = line.lower()
    words = _WORD.findall(lower)
    if _COPYRIGHT.match(lower):
        return len(words) <= _COPYRIGHT_WORDS and not _TERMS.search(lower)
    return all(word.rstrip(".") in _TITLE_WORDS for word in words)


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def rules() -> str:
    """A name for what decides a reading: these rules, the library's version, and what people have read."""
    import licenseclassifier

    data = _REVIEWED.read_bytes() + _NOT_SPDX.read_bytes()
    return f"{_RULES}-{licenseclassifier.__version__}-{sha256_bytes(data)[7:23]}"


# -- what people have read ----------------------------------------------------------------------------------------

_REVIEWED = Path(__file__).with_name("reviewed.toml")
_NOT_SPDX = Path(__file__).with_name("not-spdx.txt")


@functools.cache
def reviewed() -> Reviewed:
    """reviewed.toml beside this module."""
    import tomli

    data = tomli.loads(_REVIEWED.read_text("utf-8"))
    sentences = frozenset(_words(each["text"]) for each in data["sentence"])
    copyrights = {(package, each["sha256"]): each["licence"] for each in data["debian"] for package in each["packages"]}
    return Reviewed(sentences, copyrights, frozenset(each["sha256"] for each in data["elsewhere"]))
