"""The files of an image's layout: which they are follows from its manifest, its name and its platform, byte for byte."""

from __future__ import annotations

import hashlib
from typing import Final

from kubewright.oci.layout import LAYOUT_FILE, MARKER
from kubewright.oci.model import CONTAINERD_NAME, MANIFEST, REF_NAME, Descriptor, Index, Platform, parse_index, parse_manifest
from kubewright.oci.strict import DOCUMENT_SIZE, INDEX_SIZE
from kubewright.verify.errors import ArtifactChangedError, ArtifactUnknownError
from kubewright.verify.pinned import Folder
from kubewright.verify.statement import Subject

INDEX_FILE: Final = "index.json"
_BLOBS: Final = "blobs/sha256"


def layout_files(folder: Folder, base: str, image: Subject, platform: str) -> tuple[Subject, ...]:
    """Every file that the layout below ``base`` has to hold. ``image``: its reference and its manifest's SHA-256.

    Only the manifest is read. Raises ArtifactMissingError or ArtifactChangedError for it, and what is wrong with its form.
    """
    path = f"{base}/{_BLOBS}/{image.sha256}".lstrip("/")
    data = folder.read(path, DOCUMENT_SIZE, again=True)
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise ArtifactChangedError(
            f"{folder.name(path)} is not the manifest that its name says",
            remedy="copy the image again from where it was signed",
        )
    manifest = parse_manifest(data, folder.name(path))
    if manifest.artifact_type:
        raise ArtifactUnknownError(f"{folder.name(path)} is no image but {manifest.artifact_type}")
    blobs = {each.digest.removeprefix("sha256:"): each.size for each in (manifest.config, *manifest.layers)}
    blobs[image.sha256] = len(data)
    index = _index(image, len(data), platform)
    return (
        *(Subject(f"{_BLOBS}/{digest}", digest, "file", size) for digest, size in sorted(blobs.items())),
        _of_bytes(INDEX_FILE, index),
        _of_bytes(LAYOUT_FILE, MARKER),
    )


def manifest_digest(folder: Folder) -> str:
    """``sha256:<hex>`` of the one manifest that a layout's index.json names. Raises ArtifactUnknownError."""
    found = parse_index(folder.read(INDEX_FILE, INDEX_SIZE, again=True), folder.name(INDEX_FILE)).manifests
    if len(found) != 1:
        raise ArtifactUnknownError(
            f"{folder.name(INDEX_FILE)} names {len(found)} manifests",
            remedy="verify images one at a time, or the bundle that has them",
        )
    return found[0].digest


def _index(image: Subject, size: int, platform: str) -> bytes:
    names = {REF_NAME: image.name, CONTAINERD_NAME: image.name}
    one = Descriptor(MANIFEST, f"sha256:{image.sha256}", size, names, platform=Platform.of(platform))
    return Index((one,)).to_bytes()


def _of_bytes(name: str, data: bytes) -> Subject:
    return Subject(name, hashlib.sha256(data).hexdigest(), "file", len(data))
