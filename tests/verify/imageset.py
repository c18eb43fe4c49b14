"""A signed set with an image in it: etcd's outputs, a package and certificates, as the lock has them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from setbuilder import LOCK, PLATFORM, Change, Json, SetBuilder, build_key, hexadecimal, key_id, place

from kubewright.model.digestsfile import Digests, dump_digests
from kubewright.model.lockfile import LockedBuilder, LockedPackage, dump_lock
from kubewright.oci.layer import Entry, file, write_layer
from kubewright.oci.layout import FilePart, Layout, write_directory
from kubewright.oci.model import (
    CONFIG,
    CONTAINERD_NAME,
    LAYER,
    MANIFEST,
    REF_NAME,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    digest_of,
)

REFERENCE = "registry.k8s.io/etcd:3.7.3-0"
KEY = f"sha256:{hexadecimal('key of the image')}"
PACKAGES = {
    "image-etcd": LockedPackage("libc6", "2.41-12", "amd64", "pool/libc6.deb", hexadecimal("libc6"), 9),
    "image-certificates": LockedPackage("ca-certificates", "2025", "all", "pool/ca.deb", hexadecimal("ca"), 9),
}
IMAGE_LOCK = dataclasses.replace(
    LOCK, builders={**LOCK.builders, **{name: LockedBuilder("trixie", packages=(each,)) for name, each in PACKAGES.items()}}
)


class ImageSet(SetBuilder):
    """With images/etcd/3.7.3/linux-amd64; ``layout`` is where."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.layout = self.set / "images" / place("etcd")
        self.manifest = self.write_image(self.layout)
        (self.release / "lockfile.toml").write_text(dump_lock(IMAGE_LOCK))
        self.list_image(self.manifest)
        for operator in ("site", "second"):
            self.sign_image(operator)
        self.sign_image_sbom()

    def write_image(self, target: Path, *more: Entry) -> str:
        """Write the layout, with further files in its last layer; the manifest's digest."""
        blobs: dict[str, bytes | FilePart] = {}
        layers = []
        for at, entries in enumerate([[file("etc/passwd", b"root:x:0:0::/:\n")], [file("etcd", b"etcd"), *more]]):
            path = self.root / f"layer{at}"
            with path.open("wb") as out:
                made = write_layer(entries, out, 1)
            blobs[made.digest] = path.read_bytes()
            layers.append(Descriptor(LAYER, made.digest, made.size))
        config = ImageConfig(Platform("linux", "amd64"), "2023-11-14T22:13:20Z", tuple(e.digest for e in layers), ("a", "b"))
        blobs[digest_of(config.to_bytes())] = config.to_bytes()
        manifest = Manifest(Descriptor.of(CONFIG, config.to_bytes()), tuple(layers)).to_bytes()
        blobs[digest_of(manifest)] = manifest
        names = {REF_NAME: REFERENCE, CONTAINERD_NAME: REFERENCE}
        one = Descriptor(MANIFEST, digest_of(manifest), len(manifest), names, platform=Platform("linux", "amd64"))
        write_directory(Layout(Index((one,)).to_bytes(), blobs), target)
        return digest_of(manifest)

    def list_image(self, manifest: str, key: str = KEY) -> None:
        """digests.toml with this manifest, in a release that is signed anew."""
        found = self.digests().components
        etcd = dataclasses.replace(found["etcd"][PLATFORM], images={"etcd": manifest}, image_keys={"etcd": key})
        (self.release / "digests.toml").write_text(dump_digests(Digests(components={**found, "etcd": {PLATFORM: etcd}})))
        self.sign_release()
        self.write_policy()

    def image_statement(self, predicate_type: str, predicate: Json, manifest: str = "") -> Json:
        subject = {"name": REFERENCE, "digest": {"sha256": (manifest or self.manifest).removeprefix("sha256:")}}
        return {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [subject],
            "predicateType": predicate_type,
            "predicate": predicate,
        }

    def image_bundle(self, kind: str, operator: str) -> Path:
        return self.attestations / "images" / place("etcd") / f"{kind}.{key_id(operator)}.sigstore.json"

    def sign_image(self, operator: str, change: Change = lambda statement: None, manifest: str = "") -> Path:
        statement = self.image_statement("https://slsa.dev/provenance/v1", _predicate(self, operator), manifest)
        change(statement)
        return self.put(self.image_bundle("provenance", operator), statement, operator)

    def sign_image_sbom(self, change: Change = lambda statement: None) -> Path:
        parts = [{"type": "library", "name": "libc6", "version": "2.41-12", "licenses": [{"expression": "LGPL-2.1-or-later"}]}]
        subject = {"type": "container", "name": "etcd", "licenses": [{"license": {"id": "Apache-2.0"}}]}
        bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": subject}, "components": parts}
        statement = self.image_statement("https://cyclonedx.org/bom", bom)
        change(statement)
        return self.put(self.image_bundle("cyclonedx", "site"), statement, "site")


def _predicate(made: SetBuilder, operator: str) -> Json:
    etcd = f"sha256:{made.digest('etcd', 'etcd')}"
    inputs = [
        _input("component", "etcd/etcd", etcd[7:], f"urn:kubewright:key:{build_key('etcd')}"),
        *(
            _input("package", each.label, each.sha256, f"pkg:deb/debian/{each.name}@{each.version}?arch=amd64")
            for each in PACKAGES.values()
        ),
        _input("recipe", "recipes/etcd/recipe.toml", hexadecimal("recipe")),
    ]
    layer = {"digest": f"sha256:{hexadecimal('layer')}", "size": 10240}
    return {
        "buildDefinition": {
            "buildType": "urn:kubewright:image:v1",
            "externalParameters": {
                "image": "etcd",
                "component": "etcd",
                "version": "3.7.3",
                "platform": PLATFORM,
                "key": KEY,
                "reference": REFERENCE,
                "recipe": "recipes/etcd/recipe.toml",
                "root": "image-etcd",
            },
            "internalParameters": {
                "config": f"sha256:{hexadecimal('config')}",
                "layers": [
                    {"kind": "base", "name": "base", **layer},
                    {"kind": "component", "name": "etcd", "inputs": ["etcd/etcd"], **layer},
                ],
            },
            "resolvedDependencies": inputs,
        },
        "runDetails": {
            "builder": {"id": "urn:kubewright:builder:assembly:v1", "version": {"kubewright": "0.1.0"}},
            "metadata": {"invocationId": f"urn:kubewright:assembly:sha256:{hexadecimal(operator)}"},
        },
    }


def _input(kind: str, name: str, sha256: str, uri: str = "") -> Json:
    found: Json = {"name": name, "digest": {"sha256": sha256}, "annotations": {"kubewright_kind": kind}}
    return {**found, "uri": uri} if uri else found


def blobs(layout: Path) -> list[Path]:
    """The blobs of a layout, smallest first."""
    return sorted((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
