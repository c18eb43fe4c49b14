"""The release statement: lockfile.toml, digests.toml and a sequence number, signed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from kubewright.model.lockfile import Digest
from kubewright.model.recipe import Name, Platform
from kubewright.model.schema import AtLeast, Doc, NotEmpty
from kubewright.verify.provenance import decode_predicate
from kubewright.verify.statement import Statement


@dataclass(frozen=True, slots=True)
class Release:
    """The predicate urn:kubewright:release:v1."""

    sequence: Annotated[int, Doc("Raised with every release; a verifier takes no lower one than it has seen."), AtLeast(1)]
    components: Annotated[
        Mapping[Name, Annotated[Mapping[Platform, Digest], NotEmpty("minProperties")]],
        Doc("Component -> platform -> build key."),
        NotEmpty("minProperties"),
    ]


def read_release(statement: Statement, name: str) -> Release:
    """The predicate of a release statement; StatementError says what is wrong with that of ``name``."""
    release: Release = decode_predicate(Release, statement.predicate, name)
    return release
