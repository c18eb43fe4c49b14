"""JSON Schemas of what is signed and of the policy, from the classes that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from kubewright.model.lockfile import Sha256
from kubewright.model.recipe import RelativePath
from kubewright.model.schema import Key, NotEmpty
from kubewright.model.schema_json import schema_of
from kubewright.verify.image_provenance import ImageProvenance
from kubewright.verify.policy import Policy
from kubewright.verify.provenance import Provenance
from kubewright.verify.release import Release


@dataclass(frozen=True, slots=True)
class SubjectDigest:
    """The digest of a subject."""

    sha256: Sha256


@dataclass(frozen=True, slots=True)
class StatementSubject:
    """A file that the statement is about."""

    name: RelativePath
    digest: SubjectDigest


Subjects = Annotated[tuple[StatementSubject, ...], NotEmpty("minItems")]


@dataclass(frozen=True, slots=True)
class ProvenanceStatement:
    """in-toto Statement v1 with SLSA provenance v1 of build type urn:kubewright:build:v1."""

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Key("_type")]
    subject: Subjects
    predicate_type: Annotated[Literal["https://slsa.dev/provenance/v1"], Key("predicateType")]
    predicate: Provenance


@dataclass(frozen=True, slots=True)
class ImageProvenanceStatement:
    """in-toto Statement v1 with SLSA provenance v1 of build type urn:kubewright:image:v1."""

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Key("_type")]
    subject: Subjects
    predicate_type: Annotated[Literal["https://slsa.dev/provenance/v1"], Key("predicateType")]
    predicate: ImageProvenance


@dataclass(frozen=True, slots=True)
class ReleaseStatement:
    """in-toto Statement v1 about lockfile.toml and digests.toml, with a sequence number."""

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Key("_type")]
    subject: Subjects
    predicate_type: Annotated[Literal["urn:kubewright:release:v1"], Key("predicateType")]
    predicate: Release


#: schemas/NAME.json -> what it describes
DOCUMENTS: Final[Mapping[str, type]] = {
    "policy": Policy,
    "statement-provenance": ProvenanceStatement,
    "statement-image-provenance": ImageProvenanceStatement,
    "statement-release": ReleaseStatement,
}


def schema(name: str) -> dict[str, object]:
    """The schema of one of ``DOCUMENTS``."""
    return schema_of(DOCUMENTS[name], name)
