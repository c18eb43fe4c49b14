"""Every bundle of a set, read: who signed which statement, and what of it rules look at.

What is not signed by a trusted key is no evidence; it is listed with the reason. What claims a trusted key and does not
verify is refused at once, whatever else the set holds: it can only be damage or an attack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from kubewright.canonical import canonical_digest
from kubewright.verify import strictjson
from kubewright.verify.bundle import SUFFIX, Bundle, parse_bundle
from kubewright.verify.dsse import pae
from kubewright.verify.errors import (
    BundleError,
    ForeignSignatureError,
    PredicateTypeError,
    SignatureError,
    StatementError,
    UnsafeSetError,
    VerifyError,
)
from kubewright.verify.image_provenance import ImageProvenance, read_image_provenance
from kubewright.verify.layout import is_image_place
from kubewright.verify.licences import Terms, licences
from kubewright.verify.policy import Policy
from kubewright.verify.provenance import Provenance, read_provenance
from kubewright.verify.release import Release, read_release
from kubewright.verify.statement import KINDS, Statement, Subject, parse_statement

SBOM_KINDS: Final = ("cyclonedx", "spdx")

#: bundles that a bad signature is tried on, only to say where it comes from
_SUSPECTS: Final = 300
#: bundles of one place: one file may go under many names, and each is read
_MOST: Final = 500

_AGAIN: Final = "take the set from where it was signed"
_NAME: Final = re.compile(r"(?P<kind>[a-z0-9-]+)\.(?P<key>[0-9a-f]{16})" + re.escape(SUFFIX))
_TYPES: Final = {predicate_type: kind for kind, predicate_type in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statement whose signature is that of a trusted key. ``place`` is [images/]NAME/VERSION/OS-ARCH; empty for a release.


    ``document`` is the canonical digest of an SBOM.
    """

    file: str
    kind: str
    place: str
    operator: str
    fingerprint: str
    subjects: tuple[Subject, ...]
    provenance: Provenance | None = None
    release: Release | None = None
    licences: Mapping[str, Terms] = field(default_factory=dict)
    document: str = ""
    image: ImageProvenance | None = None

    def digests(self) -> dict[str, str]:
        """Subject name -> ``sha256:<hex>``."""
        return {subject.name: f"sha256:{subject.sha256}" for subject in self.subjects}

    @property
    def key(self) -> str:
        """The key of what was built or assembled; empty where the statement is no provenance."""
        said = self.provenance or self.image
        return said.external.key if said else ""

    @property
    def invocation(self) -> str:
        """The very build that a provenance is about."""
        said = self.provenance or self.image
        return said.run.metadata.invocation if said else ""

    @property
    def says(self) -> str:
        """Who says it, and where: for people."""
        return f"{self.operator} in {self.file}"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A bundle that proves nothing here, and why. ``standing``: unknown, revoked, or foreign (a predicate type)."""

    file: str
    kind: str
    place: str
    standing: str
    reason: str


Found = tuple[tuple[Evidence, ...], tuple[Ignored, ...]]


class Documents(Protocol):
    """Where statements are: a folder of a set (``pinned.Folder``), or what a bundle has about something."""

    def name(self, path: str) -> str:
        """How messages call a file."""

    def walk(self) -> Sequence[tuple[str, bool]]:
        """Every path, each with whether it is a directory."""

    def read(self, path: str, limit: int, *, again: bool = False) -> bytes:
        """A file's bytes; JsonSizeError when there are more than ``limit``."""


def is_bundle(name: str) -> bool:
    """Whether a file's name is that of a bundle."""
    return name.endswith(SUFFIX)


def gather(folder: Documents, place: str, names: Iterable[str], policy: Policy) -> Found:
    """Read the bundles ``names`` of the directory ``place`` of ``folder``."""
    evidence: list[Evidence] = []
    ignored: list[Ignored] = []
    names = list(names)
    if len(names) > _MOST:
        raise UnsafeSetError(
            f"{folder.name(place) or 'release'}: {len(names)} bundles, and {_MOST} are the most", remedy=_AGAIN
        )
    for name in names:
        item = _read(folder, place, name, policy)
        if isinstance(item, Evidence):
            evidence.append(item)
        else:
            ignored.append(item)
    return tuple(evidence), tuple(ignored)


def _read(folder: Documents, place: str, name: str, policy: Policy) -> Evidence | Ignored:
    path = f"{place}/{name}" if place else name
    shown = folder.name(path)
    words = _NAME.fullmatch(name)
    if words is None:
        raise BundleError(f"{shown}: the name of a bundle is KIND.KEYID{SUFFIX}, KEYID 16 hexadecimal digits")
    kind = words["kind"]
    bundle = parse_bundle(folder.read(path, strictjson.ENVELOPE.size), shown)
    if not bundle.hint.startswith(f"sha256:{words['key']}"):
        raise BundleError(f"{shown}: its name says key {words['key']}, its content {bundle.hint[7:23]}")
    trusted = policy.key_of(bundle.hint)
    revoked = policy.revoked_reason(bundle.hint)
    if revoked:
        return Ignored(shown, kind, place, "revoked", f"the key {bundle.hint} is revoked: {revoked}")
    if trusted is None:
        return Ignored(shown, kind, place, "unknown", f"the policy does not know the key {bundle.hint}")
    if not trusted.key.verify(pae(bundle.payload_type, bundle.payload), bundle.signature):
        raise _bad_signature(folder, path, bundle, trusted.operator, policy)
    statement = parse_statement(bundle.payload, shown)
    if _TYPES.get(statement.predicate_type) is None and kind not in KINDS:
        return Ignored(shown, kind, place, "foreign", f"the predicate type {statement.predicate_type} has no rule")
    if _TYPES.get(statement.predicate_type) != kind:
        raise PredicateTypeError(
            f"{shown}: its name says {kind} ({KINDS.get(kind, 'unknown')}), the statement is {statement.predicate_type}",
            remedy="a statement in the place of another one proves nothing; take the file from where it was signed",
        )
    return _evidence(shown, kind, place, trusted.operator, bundle.hint, statement)


def _evidence(name: str, kind: str, place: str, operator: str, fingerprint: str, statement: Statement) -> Evidence:
    of_image = is_image_place(place)
    provenance = read_provenance(statement, name) if kind == "provenance" and not of_image else None
    image = read_image_provenance(statement, name) if kind == "provenance" and of_image else None
    about = provenance or image
    if about is not None and about.place != place:
        raise StatementError(
            f"{name}: it is about {about.place} and lies with {place}", remedy="somebody moved it; put it back"
        )
    if (kind == "release") != (place == ""):
        raise StatementError(f"{name}: a {kind} statement does not belong here")
    return Evidence(
        name,
        kind,
        place,
        operator,
        fingerprint,
        statement.subjects,
        provenance,
        read_release(statement, name) if kind == "release" else None,
        licences(statement.predicate, kind, name) if kind in SBOM_KINDS else {},
        canonical_digest(statement.predicate) if kind in SBOM_KINDS else "",
        image,
    )


def _bad_signature(folder: Documents, path: str, bundle: Bundle, operator: str, policy: Policy) -> SignatureError:
    """Tell a changed payload from a signature that was taken from another statement of the set."""
    shown = folder.name(path)
    others = [other for other, is_folder in folder.walk() if not is_folder and is_bundle(other) and other != path]
    for other in others[:_SUSPECTS]:
        if _signs(folder, other, bundle, policy):
            return ForeignSignatureError(
                f"{shown}: its signature is that of {folder.name(other)}",
                remedy="somebody put this bundle together; take it from where it was signed",
            )
    return SignatureError(
        f"{shown}: the payload is not what {operator} ({bundle.hint}) signed",
        remedy="the statement or its signature was changed; take the file from where it was signed",
    )


def _signs(folder: Documents, other: str, bundle: Bundle, policy: Policy) -> bool:
    try:
        found = parse_bundle(folder.read(other, strictjson.ENVELOPE.size, again=True))
    except VerifyError:
        return False
    trusted = policy.key_of(bundle.hint)
    return trusted is not None and trusted.key.verify(pae(found.payload_type, found.payload), bundle.signature)
