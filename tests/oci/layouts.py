"""A small layout to take apart: one image, one artifact about it, an index that lists the artifact."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubewright.oci.layer import file, write_layer
from kubewright.oci.layout import Layout
from kubewright.oci.model import (
    CONFIG,
    EMPTY_CONFIG,
    EMPTY_DATA,
    INDEX,
    LAYER,
    MANIFEST,
    REF_NAME,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
)

AMD64 = Platform.of("linux/amd64")


def a_layout() -> Layout:
    """index.json -> image manifest (config, layer), artifact manifest about it, index of referrers."""
    blobs: dict[str, bytes] = {}

    def put(media_type: str, data: bytes, **annotations: str) -> Descriptor:
        found = Descriptor.of(media_type, data, annotations)
        blobs[found.digest] = data
        return found

    out = io.BytesIO()
    write_layer([file("pause", b"\x7fELF", 0o755)], out, 0)
    layer = put(LAYER, out.getvalue())
    config = ImageConfig(AMD64, "2026-01-01T00:00:00Z", (layer.digest,), ("pause",), user="65535:65535", entrypoint=("/pause",))
    image = put(MANIFEST, Manifest(put(CONFIG, config.to_bytes()), (layer,)).to_bytes())
    put(EMPTY_CONFIG.media_type, EMPTY_DATA)
    statement = put("application/vnd.example+json", b'{"about":"pause"}')
    about = Manifest(EMPTY_CONFIG, (statement,), artifact_type="application/vnd.example+json", subject=image)
    artifact = put(MANIFEST, about.to_bytes())
    referrers = put(INDEX, Index((artifact,)).to_bytes())
    named = Descriptor(MANIFEST, image.digest, image.size, {REF_NAME: "registry.example/pause:1"}, platform=AMD64)
    return Layout(Index((named, artifact, referrers)).to_bytes(), blobs)


def edit_index(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change index.json of a layout on disk."""
    value = json.loads((path / "index.json").read_text())
    change(value)
    (path / "index.json").write_text(json.dumps(value))


def put_blob(path: Path, data: bytes, media_type: str) -> dict[str, Any]:
    """Add a blob to a layout on disk; its descriptor."""
    found = Descriptor.of(media_type, data)
    (path / "blobs" / "sha256" / found.digest[7:]).write_bytes(data)
    return dict(found.to_json())
