"""Small signed bundles for tests, made of a ``SetBuilder``'s set: real files, statements and signatures.

    made = BundleBuilder(tmp_path)
    made.write()                     # tmp_path/b.oci.tar.zst and tmp_path/b.oci
    made.verify(made.file)

The component etcd has an image with its program in it (``ImageSet``), which is therefore not a file of the bundle.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from imageset import REFERENCE, ImageSet, blobs
from setbuilder import OUTPUTS, PLATFORM, VERSIONS, place, private_key, public_key

from kubewright.bundle.contents import ComponentPart, Draft, File, ImagePart, Ingredients, of_bytes
from kubewright.oci.archive_write import write_archive
from kubewright.oci.layer import file, write_layer
from kubewright.oci.layout import FilePart, Layout, write_directory
from kubewright.oci.model import CONFIG, LAYER, Descriptor, ImageConfig, Manifest, Platform
from kubewright.oci.source import Source
from kubewright.trust.keys import SigningKey
from kubewright.verify.bundle_check import BundleOptions, VerifiedBundle, verify_bundle
from kubewright.verify.policy import load_policy

IN_IMAGES = {("etcd", "etcd")}

#: stacks/tiny.toml
DEFINITION = b'name = "tiny"\nsummary = "x"\ncomponents = ["server"]\n'


def signing_key(operator: str) -> SigningKey:
    return SigningKey(private_key(operator), public_key(operator))


class BundleBuilder(ImageSet):
    """A set and what a bundle is made of; ``ingredients`` may be changed before ``write``."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.image = self._image()
        self.file = root / "b.oci.tar.zst"
        self.directory = root / "b.oci"
        self.ingredients = self._ingredients()

    def _image(self) -> ImagePart:
        found: dict[str, Source] = {f"sha256:{each.name}": FilePart(each) for each in blobs(self.layout)}
        manifest = found.pop(self.manifest)
        assert isinstance(manifest, FilePart)
        folder = self.attestations / "images" / place("etcd")
        about = {path.name: path.read_bytes() for path in sorted(folder.glob("*.sigstore.json"))}
        return ImagePart("etcd", "etcd", "3.7.3", REFERENCE, manifest.path.read_bytes(), found, about)

    def _ingredients(self) -> Ingredients:
        return Ingredients(
            "tiny",
            "3.7.3",
            PLATFORM,
            7,
            tuple(self.component(name) for name in OUTPUTS),
            (self.image,),
            tuple(of_bytes(path.name, path.read_bytes()) for path in sorted(self.release.glob("*.toml"))),
            {path.name: path.read_bytes() for path in sorted(self.release.glob("*.json"))},
            (of_bytes("tiny.toml", DEFINITION),),
            (of_bytes("etcd.yaml", b"kind: Pod\n"),),
            (of_bytes("kubewright-verify.pyz", b"#!/usr/bin/env python3\n", "program"),),
            (of_bytes("etcd/ATTRIBUTION", b"Apache-2.0\n"),),
        )

    def component(self, name: str) -> ComponentPart:
        files = [
            File(
                output, kind, f"sha256:{self.digest(name, output)}", len(self.packed(name, output)), self._source(name, output)
            )
            for output, (kind, _) in OUTPUTS[name].items()
            if (name, output) not in IN_IMAGES
        ]
        return ComponentPart(name, VERSIONS[name], tuple(files), self.statements(name))

    def _source(self, name: str, output: str) -> Source:
        return self.packed(name, output) if OUTPUTS[name][output][0] == "tree" else FilePart(self.output(name, output))

    def statements(self, name: str) -> dict[str, bytes]:
        folder = self.attestations / place(name)
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.sigstore.json"))}

    # -- writing and verifying ------------------------------------------------------------------------------------------

    def change(self, **changes: Any) -> None:
        """Replace some of the ingredients."""
        self.ingredients = replace(self.ingredients, **changes)

    def signed_layout(self, *operators: str) -> Layout:
        return Draft(self.ingredients).sign(*(signing_key(each) for each in operators or ("site",)))

    def write(self, *operators: str, change: Callable[[Layout], Layout] = lambda layout: layout) -> None:
        layout = change(self.signed_layout(*operators))
        write_archive(layout, self.file)
        write_directory(layout, self.directory)

    def verify_bundle(self, path: Path | None = None, **options: Any) -> VerifiedBundle:
        """Verified, and closed again: what it says can be looked at."""
        options = {"now": lambda: self.now, **options}
        with verify_bundle(path or self.file, load_policy(self.policy), self.policy, BundleOptions(**options)) as found:
            return found


def an_image(name: str, reference: str, content: bytes) -> ImagePart:
    out = io.BytesIO()
    write_layer([file(f"usr/local/bin/{name}", content, 0o755)], out, 0)
    layer = Descriptor.of(LAYER, out.getvalue())
    config = ImageConfig(
        Platform.of(PLATFORM), "2026-01-01T00:00:00Z", (layer.digest,), (name,), entrypoint=(f"/usr/local/bin/{name}",)
    ).to_bytes()
    described = Descriptor.of(CONFIG, config)
    manifest = Manifest(described, (layer,)).to_bytes()
    return ImagePart(name, name, "1.0.0", reference, manifest, {layer.digest: out.getvalue(), described.digest: config})
