"""Verify a bundle under a policy, as one file or as a directory: the rules of ``rules`` over what ``bundle_contents`` found.

First the list of contents and who signed it, then the release, each component's statements and each image's digest; then every
blob is hashed, once, on all cores, as a stream. Nothing is written before all of it has passed: then the last-seen state, and
with ``copy_to`` the very bytes that were hashed.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final

from kubewright.errors import UsageError
from kubewright.oci.archive import SUFFIX, Archive
from kubewright.oci.errors import BlobExtraError
from kubewright.oci.layout import LayoutWriter, new_layout
from kubewright.oci.model import CONTAINERD_NAME, Descriptor
from kubewright.oci.reading import CheckedStream, OpenLayout, open_directory
from kubewright.oci.seekable import FOOTER
from kubewright.oci.strict import INDEX_SIZE
from kubewright.oci.workers import READERS, workers
from kubewright.verify import bundle_model as model
from kubewright.verify.bundle_contents import Contents, Part, Statements, image_place_of, place_of, take_apart
from kubewright.verify.bundle_errors import BundleContentError, ImageRefusedError
from kubewright.verify.errors import (
    ArtifactChangedError,
    ArtifactUnknownError,
    FileReplacedError,
    PolicyError,
    ReleaseError,
    UnsafeSetError,
    VerifyError,
)
from kubewright.verify.evidence import gather
from kubewright.verify.facts import Accepted, Place, ReleaseFolder, Signed
from kubewright.verify.image_rules import check_image
from kubewright.verify.policy import Policy
from kubewright.verify.rules import DIGESTS, LOCK, check_clock, check_place, check_release
from kubewright.verify.state import Seen, load_seen, remember

_LONGEST_TOML: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """How to verify. ``watch`` is told the bytes of each piece that was hashed, and how many there are in all.

    ``older``: why an older release than the one that was seen last is accepted all the same; the policy's minimum still holds.
    ``enough`` is asked when everything but the blobs' bytes has passed. Where it says so, they are not hashed now: whoever has
    all of them already needs none, and one that is read all the same is hashed on the way.
    """

    copy_to: Path | None = None
    workers: int = 0
    older: str = ""
    now: Callable[[], float] = time.time
    watch: Callable[[int, int], None] = lambda done, total: None
    enough: Callable[[VerifiedBundle], bool] = lambda found: False


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file (or a folder, as its tar) of a component that a host gets. ``kind``: program, file or tree."""

    component: str
    version: str
    path: str
    kind: str
    blob: Descriptor

    @property
    def digest(self) -> str:
        """``sha256:<hex>``."""
        return self.blob.digest

    @property
    def size(self) -> int:
        """Bytes; of a tree those of its tar."""
        return self.blob.size

    @property
    def mode(self) -> int:
        """Of the file; a tar has modes of its own."""
        return 0o755 if self.kind == "program" else 0o644


@dataclass(frozen=True, slots=True)
class Image:
    """An image: ``reference`` is what manifests call it, ``digest`` that of its manifest."""

    name: str
    component: str
    reference: str
    digest: str
    part: Part

    @property
    def size(self) -> int:
        """Bytes of configuration and layers."""
        return sum(each.size for each in (self.part.manifest.config, *self.part.manifest.layers))


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle that satisfies the policy, still open. What is read from it is hashed again on the way, so that nothing that
    changed since can come through. ``total``: bytes of all blobs."""

    layout: OpenLayout
    contents: Contents
    signed: Signed
    places: tuple[Accepted, ...]
    files: tuple[HostFile, ...]
    images: tuple[Image, ...]
    notes: tuple[str, ...]
    total: int
    copied_to: str = ""
    manifests: Mapping[str, Descriptor] = field(default_factory=dict)
    installer: Mapping[str, Descriptor] = field(default_factory=dict)
    licences: Mapping[str, Descriptor] = field(default_factory=dict)

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.contents.predicate.stack

    @property
    def version(self) -> str:
        """The stack's version."""
        return self.contents.predicate.version

    @property
    def platform(self) -> str:
        """``linux/amd64``."""
        return self.contents.predicate.platform

    @property
    def sequence(self) -> int:
        """The release's number."""
        return self.signed.release.sequence

    def stack_definition(self) -> bytes:
        """stacks/NAME.toml, as it was signed."""
        return self.read(self.contents.single["stack"].files[f"{self.stack}.toml"])

    def read(self, blob: Descriptor | HostFile, limit: int = 64 << 20) -> bytes:
        """A file as a whole: a manifest, a small host file."""
        return self.layout.read(blob.blob if isinstance(blob, HostFile) else blob, limit)

    @contextmanager
    def open(self, blob: Descriptor | HostFile) -> Iterator[CheckedStream]:
        """A file as a stream; at its end it raises BlobDamagedError unless these were the bytes that are signed."""
        with self.layout.open(blob.blob if isinstance(blob, HostFile) else blob) as stream:
            yield stream


@contextmanager
def verify_bundle(
    path: Path, policy: Policy, policy_file: Path, options: BundleOptions | None = None
) -> Iterator[VerifiedBundle]:
    """The bundle at ``path`` (a file or a directory), verified; raises the VerifyError of the first rule that does not hold, or
    what is wrong with the layout or the file (ArchiveError, LayoutError)."""
    options = options or BundleOptions()
    state = policy_file.resolve().parent / policy.state.file
    _refuse_inside(path, policy_file, state)
    seen = load_seen(state)
    now = int(options.now())
    check_clock(now, seen)
    with ExitStack() as stack:
        try:
            layout, recheck = _open(stack, path)
            contents = take_apart(layout, policy)
            found = _decide(layout, contents, policy, Seen(0, seen.time) if options.older else seen)
            if not options.enough(found):
                found = _counted(found, _hash(layout, options, recheck), options)
            remember(state, Seen(found.sequence, now))
        except OSError as reason:
            raise VerifyError(
                f"{reason.filename or path}: {reason.strerror}", remedy="nothing was verified; try again"
            ) from reason
        yield found


def is_bundle_path(path: Path) -> bool:
    """Whether a path is that of a bundle: a layout with a stack in it, or a file that is called or ends like one. It only says
    who is to judge: a layout of an image alone is part of a set."""
    try:
        if path.is_dir():
            with _without_waiting(path / "index.json") as file:
                return model.STACK_TYPE.encode() in file.read(INDEX_SIZE)
        with _without_waiting(path) as file:
            file.seek(-min(4, path.stat().st_size), os.SEEK_END)
            return file.read(4) == FOOTER or path.name.endswith(SUFFIX)
    except OSError:
        return path.name.endswith(SUFFIX)


def _without_waiting(path: Path) -> BinaryIO:
    """A file, opened to look into; a pipe has nothing in it, and must not make us wait for that."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a plain file", str(path))


# -- opening ------------------------------------------------------------------------------------------------------


def _open(stack: ExitStack, path: Path) -> tuple[OpenLayout, Callable[[], None]]:
    if path.is_symlink():
        raise UnsafeSetError(f"{path} is a symbolic link", remedy="name what it leads to")
    if path.is_dir():
        before = _identities(path)

        def recheck() -> None:
            if _identities(path) != before:
                raise FileReplacedError(
                    f"{path.name} was written to while it was being verified",
                    remedy="let nobody write to it, then verify again",
                )

        return stack.enter_context(open_directory(path)), recheck
    archive = stack.enter_context(Archive(path))
    return OpenLayout(archive), archive.recheck


def _identities(path: Path) -> Mapping[str, tuple[int, ...]]:
    """What says that a file is still the same one, for every file of a layout."""
    found = {}
    for folder in (path, path / "blobs" / "sha256"):
        with os.scandir(folder) as entries:
            for each in entries:
                status = each.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found[each.path] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def _refuse_inside(path: Path, policy_file: Path, state: Path) -> None:
    for what, each in (("policy", policy_file.resolve()), ("state file", state.resolve())):
        if each.is_relative_to(path.resolve()):
            raise PolicyError(
                f"the {what} {each} lies in the bundle that it is to judge",
                remedy="keep the policy elsewhere; whoever changes the bundle must not be able to change it",
            )


# -- deciding -----------------------------------------------------------------------------------------------------


def _decide(layout: OpenLayout, contents: Contents, policy: Policy, seen: Seen) -> VerifiedBundle:
    signed, notes = _release(layout, contents, policy, seen)
    places: list[Accepted] = []
    files: list[HostFile] = []
    for part in contents.components:
        accepted, ignored = _component(layout, part, contents, signed, policy)
        places.append(accepted)
        files += _host_files(part, accepted)
        notes += ignored
    known = {each.place: each for each in places}
    images: list[Image] = []
    for part in contents.images:
        accepted, ignored = _image(layout, part, contents, signed, policy, known)
        places.append(accepted)
        images.append(_named(part))
        notes += ignored
    notes += [f"{each.file}: {each.reason}" for each in contents.ignored]
    single = {name: part.files for name, part in contents.single.items()}
    return VerifiedBundle(
        layout,
        contents,
        signed,
        tuple(places),
        tuple(files),
        tuple(images),
        tuple(notes),
        0,
        manifests=single["manifests"],
        installer=single["installer"],
        licences=single["licences"],
    )


def _release(layout: OpenLayout, contents: Contents, policy: Policy, seen: Seen) -> tuple[Signed, list[str]]:
    files = contents.single["release"].files
    statements = Statements(layout, "", contents.statements.get("release", {}), "release")
    evidence, ignored = gather(statements, "", sorted(contents.statements.get("release", {})), policy)
    data = {name: layout.read(files[name], _LONGEST_TOML) for name in (LOCK, DIGESTS) if name in files}
    found = ReleaseFolder({name: each.digest for name, each in files.items()}, evidence, ignored)
    signed = check_release(found, data.get(LOCK, b""), data.get(DIGESTS, b""), policy, seen)
    predicate = contents.predicate
    if (predicate.sequence, predicate.lock, predicate.digests) != (
        signed.release.sequence,
        signed.lock_digest,
        found.files[DIGESTS],
    ):
        raise ReleaseError(
            f"{contents.by[0].file} is about another release than the one in this bundle",
            remedy="take the bundle from where it was signed",
        )
    return signed, [f"{each.file}: {each.reason}" for each in ignored]


def _component(
    layout: OpenLayout, part: Part, contents: Contents, signed: Signed, policy: Policy
) -> tuple[Accepted, list[str]]:
    path = place_of(part)
    files = contents.statements.get(part.name, {})
    place = Place(path, *gather(Statements(layout, path, files, part.name), path, sorted(files), policy))
    return check_place(place, signed, policy), [f"{each.file}: {each.reason}" for each in place.ignored]


def _host_files(part: Part, accepted: Accepted) -> Iterator[HostFile]:
    """The files of a component that are in the bundle as such: each has to be what its provenance says. Others of its outputs
    are in images; whoever signed the contents left them out."""
    said = {subject.name: subject for subject in accepted.subjects}
    notes = part.manifest.annotations
    for name, blob in part.files.items():
        subject = said.get(name)
        if subject is None:
            raise ArtifactUnknownError(f"{part.name}: no statement is about {name}", remedy="do not use this bundle")
        if blob.digest != f"sha256:{subject.sha256}":
            raise ArtifactChangedError(
                f"{part.name}: {name} is {blob.digest}, signed is sha256:{subject.sha256}",
                remedy="do not use this bundle: who put it together had other files than were built",
            )
        kind = subject.kind or "file"
        if blob.annotations.get(model.KIND) != kind or (blob.media_type == model.TREE) != (kind == "tree"):
            raise BundleContentError(f"{part.name}: {name} is not the {kind} that was signed")
        yield HostFile(notes[model.COMPONENT], notes[model.VERSION], name, kind, blob)


def _image(
    layout: OpenLayout, part: Part, contents: Contents, signed: Signed, policy: Policy, known: Mapping[str, Accepted]
) -> tuple[Accepted, list[str]]:
    """What is accepted of an image: this manifest, under this reference. ``known``: components that are accepted."""
    path = image_place_of(part, contents.predicate.platform)
    files = contents.statements.get(part.name, {})
    place = Place(path, *gather(Statements(layout, path, files, part.name), path, sorted(files), policy))

    def component(wanted: str) -> Accepted:
        if wanted not in known:
            raise ArtifactUnknownError(f"{part.name}: {wanted}, which is in it, is not in this bundle", remedy="do not use it")
        return known[wanted]

    accepted, _ = check_image(place, signed, policy, component)
    said, found = accepted.subjects[0], _named(part)
    if (said.name, f"sha256:{said.sha256}") != (found.reference, found.digest):
        raise ImageRefusedError(
            f"{part.name} is {found.reference} {found.digest}, signed is {said.name} sha256:{said.sha256}",
            remedy="do not use this bundle: who put it together had another image than was assembled",
        )
    return accepted, [f"{each.file}: {each.reason}" for each in place.ignored]


def _named(part: Part) -> Image:
    notes = part.descriptor.annotations
    name = part.name.removeprefix(model.IMAGES)
    return Image(name, notes.get(model.COMPONENT, ""), notes[CONTAINERD_NAME], part.descriptor.digest, part)


# -- hashing ------------------------------------------------------------------------------------------------------


def _hash(layout: OpenLayout, options: BundleOptions, recheck: Callable[[], None]) -> int:
    """Hash every blob once, on all cores, biggest first; how many bytes they are. Raises for any that is extra or damaged."""
    blobs = list(layout.walk())
    extra = sorted(layout.sizes.keys() - {each.digest for each in blobs})
    if extra:
        raise BlobExtraError(
            f"{layout.name}: nothing refers to the blob {extra[0]}" + (f" and {len(extra) - 1} more" * (len(extra) > 1)),
            remedy="take the bundle from where it was signed",
        )
    total = sum(each.size for each in blobs)
    count = options.workers or workers(READERS)
    with _copying(layout, options.copy_to) as target, ThreadPoolExecutor(count) as pool:
        order = sorted(blobs, key=lambda each: -each.size)
        futures = [pool.submit(_measure, layout, each, target, total, options.watch) for each in order]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        recheck()
    return total


def _measure(
    layout: OpenLayout, blob: Descriptor, target: LayoutWriter | None, total: int, watch: Callable[[int, int], None]
) -> None:
    with layout.open(blob) as stream:
        if target is not None:
            target.fill(blob.digest, stream, lambda done: watch(done, total))
            return
        for piece in stream:
            watch(len(piece), total)


@contextmanager
def _copying(layout: OpenLayout, copy_to: Path | None) -> Iterator[LayoutWriter | None]:
    """A new layout to copy into, which gets its name when the block ends well."""
    if copy_to is None:
        yield None
        return
    if copy_to.is_symlink() or copy_to.exists():
        raise UsageError(f"{copy_to} exists", remedy="--copy-to wants a name that nothing has")
    if not copy_to.absolute().parent.is_dir():
        raise UsageError(f"{copy_to.absolute().parent} is no directory", remedy="make it first")
    with new_layout(copy_to) as writer:
        yield writer
        writer.index(layout.index.to_bytes())


def _counted(found: VerifiedBundle, total: int, options: BundleOptions) -> VerifiedBundle:
    return replace(found, total=total, copied_to=str(options.copy_to) if options.copy_to else "")
