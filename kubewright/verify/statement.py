"""in-toto Statement v1 (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md), read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubewright.verify import strictjson
from kubewright.verify.errors import StatementError, UnsafeSetError
from kubewright.verify.shape import Shape, is_hex_sha256

TYPE: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
CYCLONEDX: Final = "https://cyclonedx.org/bom"
SPDX: Final = "https://spdx.dev/Document/v2.3"
RELEASE: Final = "urn:kubewright:release:v1"

#: the word in a file's name -> what has to be in the file
KINDS: Final[Mapping[str, str]] = {"provenance": PROVENANCE, "cyclonedx": CYCLONEDX, "spdx": SPDX, "release": RELEASE}

_PATH: Final = re.compile(r"(?!/)(?!(?:.*/)?\.{0,2}(?:/|$))[^\\\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Subject:
    """A file that a statement is about. ``kind`` and ``size`` are empty and None where the statement does not say them."""

    name: str
    sha256: str
    kind: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody says about some files. ``predicate`` is parsed JSON, not looked into."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]

    def digests(self) -> dict[str, str]:
        """Subject name -> ``sha256:<hex>``."""
        return {subject.name: f"sha256:{subject.sha256}" for subject in self.subjects}


def parse_statement(payload: bytes, name: str = "statement") -> Statement:
    """Read a statement strictly; raises StatementError, UnsafeSetError or a JsonError that calls it ``name``."""
    root = Shape.of(strictjson.loads(payload, strictjson.STATEMENT, name), name, StatementError)
    root.only("_type", "subject", "predicateType", "predicate")
    if root.text("_type") != TYPE:
        raise root.refuse("_type", f"expected {TYPE}, found {root.text('_type')[:80]!r}")
    subjects = tuple(_subject(item) for item in root.objects("subject"))
    if not subjects:
        raise root.refuse("subject", "is empty: a statement about nothing")
    if len({subject.name for subject in subjects}) != len(subjects):
        raise root.refuse("subject", "names one file twice")
    return Statement(subjects, root.text("predicateType"), root.inner("predicate").value)


def _subject(item: Shape) -> Subject:
    item.only("name", "digest", "annotations")
    name = item.text("name")
    if not _PATH.fullmatch(name):
        raise UnsafeSetError(f"{item.name}.name: {name[:80]!r} is not a relative path without '.', '..' and empty parts")
    digests = item.inner("digest")
    if not is_hex_sha256(digests.value.get("sha256")):
        raise digests.refuse("sha256", "expected a SHA-256 in lower-case hexadecimal")
    notes = item.maybe("annotations")
    if notes is None:
        return Subject(name, digests.text("sha256"))
    kind = notes.optional_text("kind")
    if kind not in ("", "program", "file", "tree"):
        raise notes.refuse("kind", f"expected program, file or tree, found {kind[:40]!r}")
    return Subject(name, digests.text("sha256"), kind, notes.integer("size") if "size" in notes.value else None)
