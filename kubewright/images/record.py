"""What is known of an image that was assembled here: kept in the store under the image's key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kubewright.errors import StoreCorruptError
from kubewright.model.decode import decode
from kubewright.model.schema import Problem
from kubewright.record import key_name
from kubewright.store import Store

KIND: Final = "image"
SCHEMA: Final = "kubewright/image-record/1"

#: base, certificates and links are made here; package: a .deb; component: outputs; source: files of the main source
LayerKind = Literal["base", "certificates", "package", "component", "source", "links"]


@dataclass(frozen=True, slots=True)
class RecordedLayer:
    """A layer, and the input that it was made of: ``inputs`` are digests (``sha256:``) by the path or name of what went in."""

    kind: LayerKind
    name: str
    digest: str
    size: int
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One assembled image for one platform; ``manifest`` and ``config`` are digests. ``index``: index.json of its layout."""

    image: str
    component: str
    version: str
    platform: str
    key: str
    reference: str
    manifest: str
    manifest_size: int
    config: str
    config_size: int
    layers: tuple[RecordedLayer, ...]
    index: str
    kubewright: str
    schema: str = SCHEMA

    @property
    def size(self) -> int:
        """Bytes of all its blobs; a layer that is there twice counts once."""
        blobs = {layer.digest: layer.size for layer in self.layers}
        return sum({**blobs, self.manifest: self.manifest_size, self.config: self.config_size}.values())

    def blobs(self) -> dict[str, int]:
        """Digest -> size of every blob of its layout."""
        found = {layer.digest: layer.size for layer in self.layers}
        return {**found, self.manifest: self.manifest_size, self.config: self.config_size}


def save(store: Store, record: ImageRecord) -> None:
    """Let the image's key stand for ``record``."""
    store.put_json(KIND, key_name(record.key), dataclasses.asdict(record))


def load(store: Store, key: str) -> ImageRecord | None:
    """The record under ``key``, or None; one that cannot be read any more counts as absent: it is quickly made again."""
    try:
        data = store.get_json(KIND, key_name(key))
    except StoreCorruptError:
        return None
    problems: list[Problem] = []
    record = None if data is None else decode(ImageRecord, data, problems)
    return None if record is None or problems or record.schema != SCHEMA else record
