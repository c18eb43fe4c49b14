"""A verified bundle as content and source. Every stream is hashed again while it is read (docs/bundle.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from kubewright.canonical import canonical_digest
from kubewright.files.digest import sha256_file
from kubewright.install.content import (
    INSTALLER,
    RELEASE_FILES,
    STATEMENTS,
    Content,
    HostFile,
    Image,
    Manifest,
    image_names,
)
from kubewright.install.errors import ContentError
from kubewright.model import tomlfile
from kubewright.model.stack import parse_stack
from kubewright.oci.image_archive import write_images
from kubewright.oci.model import CONTAINERD_NAME, REF_NAME, Descriptor
from kubewright.verify.bundle_check import BundleOptions, VerifiedBundle, verify_bundle
from kubewright.verify.bundle_contents import own_statements
from kubewright.verify.errors import PolicyError
from kubewright.verify.policy import parse_policy


@dataclass(frozen=True, slots=True)
class Bundle:
    """Content, where its bytes are, and what the audit log says of why it was believed."""

    content: Content
    source: BundleSource
    evidence: Mapping[str, Any]


@contextmanager
def open_bundle(
    path: Path, policy_file: Path, *, older: str = "", installed: Callable[[Content], bool] = lambda content: False
) -> Iterator[Bundle]:
    """The bundle, verified under the policy: nothing of it is used before. Raises VerifyError, ArchiveError, LayoutError.

    ``installed``: whether a content is what this host has already. Then signatures, statements and the list of contents are
    verified, and blobs are hashed only where one is read after all.
    """
    text = tomlfile.read(policy_file, PolicyError).text
    options = BundleOptions(older=older, enough=lambda found: installed(_content(found, text)))
    with verify_bundle(path, parse_policy(text, str(policy_file)), policy_file, options) as found:
        yield Bundle(_content(found, text), BundleSource(found), _evidence(found, policy_file))


def _content(bundle: VerifiedBundle, policy: str) -> Content:
    predicate = bundle.contents.predicate
    stack = parse_stack(bundle.stack_definition().decode(errors="replace"), f"{bundle.stack}.toml of the bundle", ContentError)
    files = tuple(
        HostFile(file.component, file.path, file.digest, file.size, file.mode == 0o755)
        for file in bundle.files
        if file.kind != "tree"
    ) + tuple(HostFile(component, name, blob.digest, blob.size, False) for (component, name), blob in _beside(bundle).items())
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
        policy=policy,
        built=max((_seconds(place.built) for place in bundle.places), default=0),
    )


def _seconds(time: str) -> int:
    """Of 2026-11-23T15:23:10Z; 0 where that is no time."""
    try:
        return int(datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z").timestamp())
    except ValueError:
        return 0


def _beside(bundle: VerifiedBundle) -> dict[tuple[str, str], Descriptor]:
    """Files that are no component's: what a node keeps to judge images later."""
    groups = {
        INSTALLER: bundle.installer,
        RELEASE_FILES: bundle.contents.single["release"].files,
        STATEMENTS: {**bundle.contents.statements.get("release", {}), **own_statements(bundle.layout)},
    }
    return {(group, name): blob for group, files in groups.items() for name, blob in files.items()}


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
        self._files = {(each.component, each.path): each.blob for each in bundle.files} | _beside(bundle)

    def open_file(self, file: HostFile) -> BinaryIO:
        return cast(BinaryIO, _Closing(self._bundle, self._files[file.component, file.name]))

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
