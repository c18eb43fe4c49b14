"""What an operator signs of a mirror: the digest of its index, so that nothing in the mirror is unsigned.

in-toto Statement v1, predicate type urn:kubewright:mirror:v1, in a Sigstore bundle: mirror.KEYID.sigstore.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from kubewright.fetch.mirror import INDEX
from kubewright.fetch.mirrorindex import Index
from kubewright.files.digest import sha256_bytes, sha256_hex
from kubewright.model.lockfile import GitObject, Sha256
from kubewright.model.recipe import Name
from kubewright.model.schema import AtLeast, Doc, Key
from kubewright.verify.provenance import decode_predicate
from kubewright.verify.schemas import Subjects
from kubewright.verify.statement import TYPE, Statement

if TYPE_CHECKING:
    from kubewright.trust.keys import SigningKey

PREDICATE: Final = "urn:kubewright:mirror:v1"
KIND: Final = "mirror"


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The predicate urn:kubewright:mirror:v1: the current release of the mirror."""

    sequence: Annotated[int, Doc("That of the release; 0 where it has none."), AtLeast(0)]
    stack: Annotated[Name, Doc("The stack that the mirror was made for.")]
    commit: Annotated[GitObject, Doc("Of kubewright.git.")]
    lock: Annotated[Sha256, Doc("Of release/lockfile.toml.")]


@dataclass(frozen=True, slots=True)
class MirrorStatement:
    """in-toto Statement v1 about the index.json of a mirror."""

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Key("_type")]
    subject: Subjects
    predicate_type: Annotated[Literal["urn:kubewright:mirror:v1"], Key("predicateType")]
    predicate: Mirrored


#: schemas/NAME.json -> what it describes
DOCUMENTS: Final = {"statement-mirror": MirrorStatement}


def statement(index: Index, data: bytes) -> dict[str, Any]:
    """The statement about an index whose bytes are ``data``."""
    release = index.releases[0]
    return {
        "_type": TYPE,
        "subject": [{"name": INDEX, "digest": {"sha256": sha256_hex(sha256_bytes(data))}}],
        "predicateType": PREDICATE,
        "predicate": {
            "sequence": release.sequence,
            "stack": release.stack,
            "commit": release.commit,
            "lock": release.lock,
        },
    }


def sign(index: Index, data: bytes, key: SigningKey) -> tuple[str, bytes]:
    """The name of the signed statement's file, and its bytes."""
    from kubewright.trust.setfolder import bundle_name
    from kubewright.trust.sign import sign_statement

    return bundle_name(KIND, key.key_id), sign_statement(statement(index, data), key)


def read(said: Statement, name: str) -> Mirrored:
    """The predicate of a mirror's statement; StatementError says what is wrong with that of ``name``."""
    found: Mirrored = decode_predicate(Mirrored, said.predicate, name)
    return found
