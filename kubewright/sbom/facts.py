"""The facts of one component's or image's bill of materials, of which CycloneDX, SPDX and ATTRIBUTION are three spellings.

Nothing in here depends on who built it, where or when: two builders with the same outputs make the same documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

from kubewright.sbom.licences import Licence

Kind = Literal["module", "standard library", "package", "source", "component"]


@dataclass(frozen=True, slots=True)
class Change:
    """A patch of ours to an ingredient: path in the project, SHA-256 (hexadecimal) and reason."""

    path: str
    sha256: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ingredient:
    """Something that is in an output. ``ref`` is its name in the documents: unique, and the same every time.

    ``h1`` and ``sha256`` (hexadecimal) pin it; one of them may be empty. ``details`` are further facts, by name.
    """

    ref: str
    kind: Kind
    name: str
    version: str
    purl: str
    licence: Licence
    h1: str = ""
    sha256: str = ""
    git: str = ""
    commit: str = ""
    patches: tuple[Change, ...] = ()
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class OutputFacts:
    """One output, or one layer of an image: ``contains`` are refs of ingredients.

    ``complete``: what is linked is known to the last module or library.
    """

    path: str
    kind: str
    sha256: str
    size: int
    contains: tuple[str, ...]
    complete: bool
    details: tuple[tuple[str, str], ...] = ()

    @property
    def ref(self) -> str:
        return f"{'layer' if self.kind == 'layer' else 'output'}:{self.path}"


@dataclass(frozen=True, slots=True)
class Unused:
    """A module that the lock has (go.sum) and that is in no output."""

    path: str
    version: str
    h1: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it. ``source_date``: seconds since 1970 of the main source; ``tool``: our version."""

    name: str
    version: str
    platform: str
    summary: str
    licence: str
    homepage: str
    key: str
    source_date: int
    tool: str
    purl: str
    outputs: tuple[OutputFacts, ...]
    ingredients: tuple[Ingredient, ...]
    unused: tuple[Unused, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of a licence file -> its text."""
    kind: Literal["component", "image"] = "component"
    sha256: str = ""
    """Of an image: its manifest's, hexadecimal."""

    @property
    def ref(self) -> str:
        return f"{self.kind}:{self.name}@{self.version}?platform={self.platform}"

    @property
    def created(self) -> str:
        """RFC 3339. The date of the source, since the moment of writing would make each document another one."""
        return datetime.fromtimestamp(self.source_date, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def ingredient(self, ref: str) -> Ingredient:
        return next(each for each in self.ingredients if each.ref == ref)
