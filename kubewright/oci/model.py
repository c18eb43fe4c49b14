"""Descriptors, manifests, image configurations and indices: values <-> the one spelling of their bytes.

Written: canonical JSON (sorted keys, no white space), so that equal values have equal digests. Read: two shapes of manifest and
no other, an *image* (a configuration and uncompressed layers) and an *artifact* (``artifactType``, the empty configuration, any
files). Keys that these do not have are refused, embedded data and foreign URLs among them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kubewright.canonical import canonical_json
from kubewright.oci.errors import MediaTypeError
from kubewright.oci.strict import INDEX_SIZE, Table, loads

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
#: a plain tar: its digest is its diffID, so nothing depends on a compressor
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
EMPTY: Final = "application/vnd.oci.empty.v1+json"

EMPTY_DATA: Final = b"{}"

#: the full name under which an image is found; containerd reads the second one
REF_NAME: Final = "org.opencontainers.image.ref.name"
CONTAINERD_NAME: Final = "io.containerd.image.name"
TITLE: Final = "org.opencontainers.image.title"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_MANY: Final = 20_000  # descriptors in one document


def digest_of(data: bytes) -> str:
    """``sha256:<hex>`` of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def document(value: object) -> bytes:
    """A document's bytes: canonical JSON without a final newline."""
    return canonical_json(value).rstrip(b"\n")


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in Go's words."""

    os: str
    architecture: str

    @classmethod
    def of(cls, platform: str) -> Platform:
        """``linux/amd64``."""
        system, _, architecture = platform.partition("/")
        return cls(system, architecture)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is and which bytes it has (descriptor.md). ``size`` in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    platform: Platform | None = None

    @classmethod
    def of(cls, media_type: str, data: bytes, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """The descriptor of bytes at hand."""
        return cls(media_type, digest_of(data), len(data), annotations or {})

    def to_json(self) -> dict[str, object]:
        found: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        if self.platform:
            found["platform"] = {"os": self.platform.os, "architecture": self.platform.architecture}
        return found


EMPTY_CONFIG: Final = Descriptor.of(EMPTY, EMPTY_DATA)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest, or with ``artifact_type`` an artifact (manifest.md). ``subject``: what it is about."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    subject: Descriptor | None = None

    def to_bytes(self) -> bytes:
        found: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        if self.subject:
            found["subject"] = self.subject.to_json()
        return document(found)


@dataclass(frozen=True, slots=True)
class Index:
    """A list of manifests (image-index.md); index.json of a layout is one."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        manifests = [each.to_json() for each in self.manifests]
        found: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        return document(found)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How a container of an image is started (config.md). ``created``: RFC 3339; ``diff_ids``: the layers' digests.

    ``history`` has one line for each layer: what it holds.
    """

    platform: Platform
    created: str
    diff_ids: tuple[str, ...]
    history: tuple[str, ...]
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = ""
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        if len(self.history) != len(self.diff_ids):
            raise ValueError(f"{len(self.history)} lines of history for {len(self.diff_ids)} layers")
        started: dict[str, object] = {
            "User": self.user,
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "Env": list(self.env),
            "WorkingDir": self.workdir,
            "ExposedPorts": {port: {} for port in self.ports},
            "Volumes": {volume: {} for volume in self.volumes},
            "Labels": dict(self.labels),
        }
        return document(
            {
                "os": self.platform.os,
                "architecture": self.platform.architecture,
                "created": self.created,
                "config": {key: value for key, value in started.items() if value},
                "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
                "history": [{"created": self.created, "created_by": line} for line in self.history],
            }
        )


# -- reading ------------------------------------------------------------------------------------------------------


def parse_index(data: bytes, name: str = "index.json") -> Index:
    """An index from bytes that nobody vouches for. Raises DocumentError, MediaTypeError."""
    table = _document(data, name, INDEX, INDEX_SIZE)
    manifests = tuple(_descriptor(each, name, f"manifests[{at}]") for at, each in enumerate(_bounded(table, "manifests")))
    for at, each in enumerate(manifests):
        _expect(each, (MANIFEST, INDEX), name, f"manifests[{at}]")
    found = Index(manifests, table.texts("annotations"))
    table.end()
    return found


def parse_manifest(data: bytes, name: str) -> Manifest:
    """A manifest from bytes that nobody vouches for: an image or an artifact. Raises DocumentError, MediaTypeError."""
    table = _document(data, name, MANIFEST)
    config = _descriptor(table.take("config"), name, "config")
    layers = tuple(_descriptor(each, name, f"layers[{at}]") for at, each in enumerate(_bounded(table, "layers")))
    subject = _descriptor(table.take("subject"), name, "subject") if table.has("subject") else None
    found = Manifest(config, layers, table.texts("annotations"), table.text("artifactType", ""), subject)
    table.end()
    if subject:
        _expect(subject, (MANIFEST, INDEX), name, "subject")
    if found.artifact_type:
        _expect(config, (EMPTY,), name, "config")
        _check_media_type(found.artifact_type, table, "artifactType")
        return found
    _expect(config, (CONFIG,), name, "config")
    for at, layer in enumerate(layers):
        _expect(layer, (LAYER,), name, f"layers[{at}]")
    return found


def diff_ids(data: bytes, name: str) -> tuple[str, ...]:
    """The layers that an image configuration names; for images of ours they are the layers' own digests."""
    table = Table(loads(data, name), name, "")
    root = Table(table.take("rootfs"), name, "rootfs")
    if root.text("type") != "layers":
        raise root.refuse("type", "is not 'layers'")
    return tuple(_digest(each, root, f"diff_ids[{at}]") for at, each in enumerate(root.items("diff_ids")))


def _document(data: bytes, name: str, media_type: str, limit: int = 0) -> Table:
    table = Table(loads(data, name, limit) if limit else loads(data, name), name, "")
    if table.number("schemaVersion") != 2:
        raise table.refuse("schemaVersion", "is not 2")
    if table.text("mediaType", media_type) != media_type:
        raise table.refuse("mediaType", f"is not {media_type}", MediaTypeError)
    return table


def _bounded(table: Table, key: str) -> list[object]:
    found = table.items(key)
    if len(found) > _MANY:
        raise table.refuse(key, f"has more than {_MANY} entries")
    return found


def _descriptor(value: object, name: str, where: str) -> Descriptor:
    table = Table(value, name, where)
    media_type = _check_media_type(table.text("mediaType"), table, "mediaType")
    platform = table.take("platform") if table.has("platform") else None
    found = Descriptor(
        media_type,
        _digest(table.take("digest"), table, "digest"),
        table.number("size"),
        table.texts("annotations"),
        table.text("artifactType", ""),
        None if platform is None else _platform(platform, name, table.path("platform")),
    )
    table.end()
    return found


def _platform(value: Any, name: str, where: str) -> Platform:
    table = Table(value, name, where)
    found = Platform(table.text("os"), table.text("architecture"))
    table.end()
    return found


def _digest(value: object, table: Table, key: str) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise table.refuse(key, "is not sha256: and 64 hexadecimal digits")
    return value


def _check_media_type(value: str, table: Table, key: str) -> str:
    if not _MEDIA_TYPE.fullmatch(value):
        raise table.refuse(key, f"is not a media type: {value[:80]!r}", MediaTypeError)
    return value


def _expect(found: Descriptor, wanted: tuple[str, ...], name: str, where: str) -> None:
    if found.media_type not in wanted:
        remedy = "kubewright reads images of uncompressed layers and artifacts with the empty configuration"
        raise MediaTypeError(f"{name}: {where} is {found.media_type}, not {' or '.join(wanted)}", remedy=remedy)
