"""What goes into a bundle, and the layout that this makes: a pure function, so that equal content has equal bytes.

Everything is a file of an artifact, an image as it was assembled, or a statement about one of those. The statement about all
of it lists what index.json lists; ``sign`` adds it, and with it index.json itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubewright.oci.layout import Layout, Source
from kubewright.oci.model import (
    CONTAINERD_NAME,
    EMPTY_CONFIG,
    EMPTY_DATA,
    MANIFEST,
    REF_NAME,
    TITLE,
    Descriptor,
    Manifest,
    Platform,
)
from kubewright.trust.keys import SigningKey
from kubewright.trust.sign import sign_statement
from kubewright.verify import bundle_model as model
from kubewright.verify.bundle import SUFFIX
from kubewright.verify.rules import DIGESTS, LOCK
from kubewright.verify.statement import TYPE


@dataclass(frozen=True, slots=True)
class File:
    """A file of an artifact. ``kind``: program, file or tree (as its normalised tar)."""

    name: str
    kind: str
    digest: str
    size: int
    source: Source


@dataclass(frozen=True, slots=True)
class ComponentPart:
    """A component: what a host gets of it, and every statement about it (file name -> bytes)."""

    name: str
    version: str
    files: tuple[File, ...]
    statements: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An assembled image: its manifest, the blobs that it leads to, the statements. ``component``: whose recipe has it."""

    name: str
    component: str
    version: str
    reference: str
    manifest: bytes
    blobs: Mapping[str, Source]
    statements: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ingredients:
    """All that a bundle is made of. Files of ``release`` are lockfile.toml and digests.toml."""

    stack: str
    version: str
    platform: str
    sequence: int
    components: tuple[ComponentPart, ...]
    images: tuple[ImagePart, ...]
    release: tuple[File, ...]
    release_statements: Mapping[str, bytes]
    definition: tuple[File, ...]
    manifests: tuple[File, ...]
    installer: tuple[File, ...]
    licences: tuple[File, ...]


def of_bytes(name: str, data: bytes, kind: str = "file") -> File:
    """A file whose bytes are at hand."""
    blob = Descriptor.of(model.FILE, data)
    return File(name, kind, blob.digest, blob.size, data)


class Draft:
    """A bundle that only lacks the statement about it."""

    def __init__(self, made_of: Ingredients) -> None:
        self.made_of = made_of
        self.blobs: dict[str, Source] = {EMPTY_CONFIG.digest: EMPTY_DATA}
        self.contents: list[Descriptor] = []
        self._referrers: list[tuple[str, Descriptor]] = []
        self._fill()
        self.contents.sort(key=model.title)

    def sign(self, *keys: SigningKey) -> Layout:
        """The layout with a statement by each key."""
        said = self.statement()
        return self.with_statements({f"{model.STATEMENT_KIND}.{key.key_id}{SUFFIX}": sign_statement(said, key) for key in keys})

    def with_statements(self, statements: Mapping[str, bytes], about: str = "stack") -> Layout:
        """The layout with signed statements about its contents: file name -> bytes."""
        blobs = dict(self.blobs)
        subject = next(each for each in self.contents if model.title(each) == about)
        own = [_put_manifest(blobs, _about(blobs, file, data, subject), file) for file, data in statements.items()]
        referrers = [*self._referrers, *((subject.digest, each) for each in own)]
        index, lists = model.index_of(self.contents, own, referrers)
        return Layout(index.to_bytes(), {**blobs, **lists})

    def statement(self) -> dict[str, Any]:
        """What is signed: the list of contents, and which release they belong to."""
        release = {file.name: file.digest for file in self.made_of.release}
        subjects = [{"name": model.title(each), "digest": {"sha256": each.digest[7:]}} for each in self.contents]
        return {
            "_type": TYPE,
            "subject": subjects,
            "predicateType": model.PREDICATE,
            "predicate": {
                "stack": self.made_of.stack,
                "version": self.made_of.version,
                "platform": self.made_of.platform,
                "sequence": self.made_of.sequence,
                "lock": release[LOCK],
                "digests": release[DIGESTS],
                "contents": [each.to_json() for each in self.contents],
            },
        }

    # -- inside -------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        made = self.made_of
        for component in made.components:
            notes = {model.COMPONENT: component.name, model.VERSION: component.version, model.PLATFORM: made.platform}
            part = self._artifact(model.COMPONENTS + component.name, model.COMPONENT_TYPE, component.files, notes)
            self._statements(part, component.statements)
        for image in made.images:
            self._image(image)
        release = self._artifact("release", model.RELEASE_TYPE, made.release)
        self._statements(release, made.release_statements)
        self._artifact("stack", model.STACK_TYPE, made.definition)
        self._artifact("manifests", model.MANIFESTS_TYPE, made.manifests)
        self._artifact("installer", model.INSTALLER_TYPE, made.installer)
        self._artifact("licences", model.LICENCES_TYPE, made.licences)

    def _artifact(
        self, name: str, artifact_type: str, files: Iterable[File], annotations: Mapping[str, str] | None = None
    ) -> Descriptor:
        layers = []
        for file in sorted(files, key=lambda each: each.name):
            media_type = model.TREE if file.kind == "tree" else model.FILE
            layers.append(Descriptor(media_type, file.digest, file.size, {TITLE: file.name, model.KIND: file.kind}))
            self.blobs[file.digest] = file.source
        manifest = Manifest(EMPTY_CONFIG, tuple(layers) or (EMPTY_CONFIG,), annotations or {}, artifact_type)
        self.contents.append(_put_manifest(self.blobs, manifest, name))
        return self.contents[-1]

    def _image(self, image: ImagePart) -> None:
        self.blobs.update(image.blobs)
        found = Descriptor.of(MANIFEST, image.manifest)
        self.blobs[found.digest] = image.manifest
        name = model.IMAGES + image.name
        notes = {
            TITLE: name,
            REF_NAME: image.reference,
            CONTAINERD_NAME: image.reference,
            model.COMPONENT: image.component,
            model.VERSION: image.version,
        }
        part = Descriptor(MANIFEST, found.digest, found.size, notes, platform=Platform.of(self.made_of.platform))
        self.contents.append(part)
        self._statements(part, image.statements)

    def _statements(self, part: Descriptor, statements: Mapping[str, bytes]) -> None:
        for file, data in sorted(statements.items()):
            manifest = _about(self.blobs, file, data, part)
            self.contents.append(_put_manifest(self.blobs, manifest, f"{model.title(part)}/{file}"))
            self._referrers.append((part.digest, self.contents[-1]))


def _about(blobs: dict[str, Source], file: str, data: bytes, subject: Descriptor) -> Manifest:
    layer = Descriptor.of(model.STATEMENT_TYPE, data, {TITLE: file})
    blobs[layer.digest] = data
    plain = Descriptor(MANIFEST, subject.digest, subject.size)
    return Manifest(EMPTY_CONFIG, (layer,), {}, model.STATEMENT_TYPE, plain)


def _put_manifest(blobs: dict[str, Source], manifest: Manifest, name: str) -> Descriptor:
    data = manifest.to_bytes()
    found = Descriptor.of(MANIFEST, data)
    blobs[found.digest] = data
    return Descriptor(MANIFEST, found.digest, found.size, {TITLE: name}, manifest.artifact_type)
