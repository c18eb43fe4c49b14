"""What a bundle is: the names of its parts, the statement about them, and the one index.json that follows (docs/bundle.md).

``index_of`` is a pure function that the writer writes and the reader compares with: nothing in index.json is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from kubewright.model.lockfile import Digest
from kubewright.model.recipe import Name, Platform, Version
from kubewright.model.schema import AtLeast, Doc, Key, NotEmpty
from kubewright.oci import model
from kubewright.oci.model import INDEX, MANIFEST, REF_NAME, TITLE, Descriptor, Index
from kubewright.verify.provenance import decode_predicate
from kubewright.verify.statement import Statement

PREDICATE: Final = "urn:kubewright:bundle:v1"
#: the word before the key's id in the name of the statement
STATEMENT_KIND: Final = "bundle"

#: artifact types; statements have that of Sigstore bundles
COMPONENT_TYPE: Final = "application/vnd.kubewright.component.v1"
RELEASE_TYPE: Final = "application/vnd.kubewright.release.v1"
STACK_TYPE: Final = "application/vnd.kubewright.stack.v1"
MANIFESTS_TYPE: Final = "application/vnd.kubewright.manifests.v1"
INSTALLER_TYPE: Final = "application/vnd.kubewright.installer.v1"
LICENCES_TYPE: Final = "application/vnd.kubewright.licences.v1"
STATEMENT_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

#: media types of files: bytes as they are, and a folder as its normalised tar
FILE: Final = "application/octet-stream"
TREE: Final = "application/x-tar"

#: annotations: of a file (program, file or tree), of a component's manifest and of an image in index.json
KIND: Final = "vnd.kubewright.kind"
COMPONENT: Final = "vnd.kubewright.component"
VERSION: Final = "vnd.kubewright.version"
PLATFORM: Final = "vnd.kubewright.platform"

#: how the parts are called, as titles in index.json and as subjects of the statement
IMAGES: Final = "images/"
COMPONENTS: Final = "components/"
SINGLE: Final[Mapping[str, str]] = {
    "release": RELEASE_TYPE,
    "stack": STACK_TYPE,
    "manifests": MANIFESTS_TYPE,
    "installer": INSTALLER_TYPE,
    "licences": LICENCES_TYPE,
}


@dataclass(frozen=True, slots=True)
class EntryPlatform:
    """What an image runs on."""

    os: str
    architecture: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A descriptor of index.json."""

    media_type: Annotated[Literal["application/vnd.oci.image.manifest.v1+json"], Key("mediaType"), Doc("A manifest.")]
    digest: Annotated[Digest, Doc("Of the manifest; everything that it lists is signed with it.")]
    size: Annotated[int, Doc("Bytes."), AtLeast(1)]
    annotations: Annotated[Mapping[str, str], Doc("org.opencontainers.image.title is the subject's name.")]
    artifact_type: Annotated[str, Key("artifactType"), Doc("Empty: an image.")] = ""
    platform: Annotated[EntryPlatform | None, Doc("Of an image.")] = None

    def descriptor(self) -> Descriptor:
        """The same as index.json has it."""
        platform = model.Platform(self.platform.os, self.platform.architecture) if self.platform else None
        return Descriptor(self.media_type, self.digest, self.size, self.annotations, self.artifact_type, platform)


@dataclass(frozen=True, slots=True)
class BundlePredicate:
    """The predicate urn:kubewright:bundle:v1."""

    stack: Annotated[Name, Doc("The stack.")]
    version: Annotated[Version, Doc("Its version.")]
    platform: Annotated[Platform, Doc("What it is for.")]
    sequence: Annotated[int, Doc("That of the release in it."), AtLeast(1)]
    lock: Annotated[Digest, Doc("lockfile.toml of the release in it.")]
    digests: Annotated[Digest, Doc("digests.toml of the release in it.")]
    contents: Annotated[
        tuple[Entry, ...],
        Doc("What index.json lists, in its order, but for statements of this type and for lists of referrers."),
        NotEmpty("minItems"),
    ]


def read_predicate(statement: Statement, name: str) -> BundlePredicate:
    """The predicate of a statement about a bundle; StatementError says what is wrong with that of ``name``."""
    found: BundlePredicate = decode_predicate(BundlePredicate, statement.predicate, name)
    return found


def title(descriptor: Descriptor) -> str:
    """What a descriptor is called; empty when it has no name."""
    return descriptor.annotations.get(TITLE, "")


def index_of(
    contents: Iterable[Descriptor], statements: Iterable[Descriptor], referrers: Iterable[tuple[str, Descriptor]]
) -> tuple[Index, Mapping[str, bytes]]:
    """index.json, and the lists of referrers that it names: digest -> bytes.

    ``contents`` in the statement's order; ``statements`` about them, in the order of their digests; ``referrers`` as (digest of
    the subject, the referrer), which are listed under the fallback tag ``sha256-HEX`` of the subject (OCI distribution).
    """
    about: dict[str, list[Descriptor]] = {}
    for subject, referrer in referrers:
        about.setdefault(subject, []).append(referrer)
    listed: list[Descriptor] = []
    lists: dict[str, bytes] = {}
    for subject, found in sorted(about.items()):
        data = Index(tuple(sorted(map(_plain, found), key=lambda each: each.digest))).to_bytes()
        listed.append(Descriptor.of(INDEX, data, {REF_NAME: subject.replace(":", "-")}))
        lists[listed[-1].digest] = data
    return Index((*contents, *sorted(statements, key=lambda each: each.digest), *listed)), lists


def _plain(descriptor: Descriptor) -> Descriptor:
    """A referrer in a list: without the name that it has in index.json."""
    return Descriptor(MANIFEST, descriptor.digest, descriptor.size, {}, descriptor.artifact_type)
