"""Images of a layout as one tar that others take: containerd, podman and skopeo by its index.json, docker by its manifest.json.

Streamed, so that it can go into a pipe; the same images give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import BinaryIO, Final

from kubewright.oci.layout import LAYOUT_FILE, MARKER
from kubewright.oci.model import CONTAINERD_NAME, MANIFEST, REF_NAME, Descriptor, Index
from kubewright.oci.reading import OpenLayout
from kubewright.oci.tarheader import END, header, padding

_BLOBS: Final = "blobs/sha256/"


def write_images(
    layout: OpenLayout, images: Iterable[Descriptor], out: BinaryIO, progress: Callable[[int], None] = lambda done: None
) -> None:
    """Write the images that these descriptors of index.json name to ``out``, which need not be a file.

    Raises what reading raises; then the two blocks that end a tar are missing, and what has been written is worth nothing.
    """
    listed = sorted(images, key=lambda each: each.annotations.get(REF_NAME, ""))
    blobs: dict[str, Descriptor] = {}
    for_docker = []
    for each in listed:
        manifest = layout.manifest(each)
        blobs |= {blob.digest: blob for blob in (each, manifest.config, *manifest.layers)}
        name = each.annotations.get(CONTAINERD_NAME, "")
        for_docker.append(
            {
                "Config": _path(manifest.config),
                "RepoTags": [name] if name else None,
                "Layers": [_path(layer) for layer in manifest.layers],
            }
        )
    index = Index(tuple(Descriptor(MANIFEST, each.digest, each.size, _names(each), "", each.platform) for each in listed))
    small = {LAYOUT_FILE: MARKER, "index.json": index.to_bytes(), "manifest.json": json.dumps(for_docker).encode()}
    for name, data in small.items():
        out.write(header(name, len(data)) + data + bytes(padding(len(data))))
    for _, blob in sorted(blobs.items()):
        out.write(header(_path(blob), blob.size))
        with layout.open(blob) as stream:
            for piece in stream:
                out.write(piece)
                progress(len(piece))
        out.write(bytes(padding(blob.size)))
    out.write(END)


def _names(descriptor: Descriptor) -> dict[str, str]:
    return {key: value for key, value in descriptor.annotations.items() if key in (REF_NAME, CONTAINERD_NAME)}


def _path(descriptor: Descriptor) -> str:
    return _BLOBS + descriptor.digest.removeprefix("sha256:")
