"""A verified bundle as content and source. Every stream is hashed again while it is read (docs/bundle.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from kubewright.canonical import canonical_digest
from kubewright.files.digest import sha256_file
from kubewright.install.content import Content, HostFile, Image, Manifest, image_names
from kubewright.install.errors import ContentError
from kubewright.model.stack import parse_stack
from kubewright.oci.image_archive import write_images
from kubewright.oci.model import CONTAINERD_NAME, REF_NAME, Descriptor
from kubewright.verify.bundle_check import BundleOptions, VerifiedBundle, verify_bundle
from kubewright.verify.policy import load_policy


@dataclass(frozen=True, slots=True)
class Bundle:
    """Content, where its bytes are, and what the audit log says of why it was believed."""

    content: Content
    source: BundleSource
    evidence: Mapping[str, Any]


@contextmanager
def open_bundle(path: Path, policy_file: Path, *, older: str = "") -> Iterator[Bundle]:
    """The bundle, verified under the policy: nothing of it is used before. Raises VerifyError, ArchiveError, LayoutError."""
    with verify_bundle(path, load_policy(policy_file), policy_file, BundleOptions(older=older)) as found:
        yield Bundle(_content(found), BundleSource(found), _evidence(found, policy_file))


def _content(bundle: VerifiedBundle) -> Content:
    predicate = bundle.contents.predicate
    stack = parse_stack(bundle.stack_definition().decode(errors="replace"), f"{bundle.stack}.toml of the bundle", ContentError)
    files = tuple(
        HostFile(file.component, file.path, file.digest, file.size, file.mode == 0o755)
        for file in bundle.files
        if file.kind != "tree"
    )
    return Content(
        stack=bundle.stack,
        platform=bundle.platform,
        sequence=bundle.sequence,
        release=canonical_digest([predicate.lock, predicate.digests]),
        versions={file.component: file.version for file in bundle.files},
        files=files,
        images=tuple(
            Image(each.name, each.reference, each.digest, each.size, stack.names_of(each.name)) for each in bundle.images
        ),
        manifests=tuple(Manifest(PurePosixPath(name).stem, blob.digest) for name, blob in bundle.manifests.items()),
    )


def _evidence(bundle: VerifiedBundle, policy_file: Path) -> dict[str, Any]:
    return {
        "policy": sha256_file(policy_file),
        "lock": bundle.contents.predicate.lock,
        "contents_signed_by": sorted({each.operator for each in bundle.contents.by}),
        "release_signed_by": sorted({each.operator for each in bundle.signed.by}),
        "statements": sorted({rule.says for place in bundle.places for rule in place.passed if rule.says}),
    }


class BundleSource:
    """Reads from a bundle that is held open."""

    def __init__(self, bundle: VerifiedBundle) -> None:
        self._bundle = bundle

    def open_file(self, file: HostFile) -> BinaryIO:
        found = next(each for each in self._bundle.files if (each.component, each.path) == (file.component, file.name))
        return cast(BinaryIO, _Closing(self._bundle, found.blob))

    def read_manifest(self, manifest: Manifest) -> bytes:
        blob = next(blob for name, blob in self._bundle.manifests.items() if PurePosixPath(name).stem == manifest.name)
        return self._bundle.read(blob)

    def export_images(self, images: Sequence[Image], target: BinaryIO) -> None:
        parts = {each.digest: each.part.descriptor for each in self._bundle.images}
        named = [_named(parts[image.digest], name) for image in images for name in image_names(image)]
        write_images(self._bundle.layout, named, target)


def _named(descriptor: Descriptor, name: str) -> Descriptor:
    return replace(descriptor, annotations={CONTAINERD_NAME: name, REF_NAME: name})


class _Closing:
    """A checked stream with the manners of a file."""

    def __init__(self, bundle: VerifiedBundle, blob: Descriptor) -> None:
        self._stack = ExitStack()
        self._stream = self._stack.enter_context(bundle.open(blob))

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def __enter__(self) -> _Closing:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
