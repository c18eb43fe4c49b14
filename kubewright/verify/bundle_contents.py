"""A bundle taken apart: who signed the list of its contents, and each part of that list as a value.

Manifests are parsed strictly and expected to be what their names say. What a part holds is not read here, but for statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kubewright.oci.model import CONTAINERD_NAME, EMPTY, INDEX, MANIFEST, REF_NAME, Descriptor, Manifest
from kubewright.oci.reading import OpenLayout
from kubewright.verify import bundle_model as model
from kubewright.verify import strictjson
from kubewright.verify.bundle import parse_bundle
from kubewright.verify.bundle_errors import BundleContentError, BundleUnsignedError
from kubewright.verify.bundle_model import BundlePredicate, index_of, title
from kubewright.verify.dsse import pae
from kubewright.verify.errors import ArtifactMissingError, JsonSizeError, RevokedKeyError, SignatureError, UnknownKeyError
from kubewright.verify.evidence import Ignored
from kubewright.verify.layout import is_image_place, is_place
from kubewright.verify.policy import Policy
from kubewright.verify.statement import parse_statement

_REMEDY: Final = "take the bundle from where it was signed"
#: statements about one bundle, each by another key
_STATEMENTS: Final = 64


@dataclass(frozen=True, slots=True)
class Said:
    """A statement about a bundle's contents by a trusted key."""

    file: str
    operator: str
    predicate: BundlePredicate
    subjects: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that index.json lists under a name, with its manifest."""

    name: str
    descriptor: Descriptor
    manifest: Manifest

    @property
    def files(self) -> Mapping[str, Descriptor]:
        """Title -> file, of an artifact."""
        return {title(each): each for each in self.manifest.layers if each.media_type != EMPTY}


@dataclass(frozen=True, slots=True)
class Contents:
    """A bundle's parts. ``statements``: name of what they are about -> file name -> the statement's blob."""

    predicate: BundlePredicate
    by: tuple[Said, ...]
    ignored: tuple[Ignored, ...]
    images: tuple[Part, ...]
    components: tuple[Part, ...]
    single: Mapping[str, Part]
    statements: Mapping[str, Mapping[str, Descriptor]]


def take_apart(layout: OpenLayout, policy: Policy) -> Contents:
    """The parts that an allowed operator signed; raises what is wrong with them, and BundleUnsignedError."""
    own = [each for each in layout.index.manifests if _is_own(each)]
    if len(own) > _STATEMENTS:
        raise _wrong(f"{len(own)} statements about it, and {_STATEMENTS} are the most")
    read = ((name, layout.read(blob, strictjson.ENVELOPE.size)) for name, blob in _blobs(layout, own))
    by, ignored = signed_by(read, policy)
    predicate = by[0].predicate
    contents = [each.descriptor() for each in predicate.contents]
    _check_names(contents, by[0])
    parts = [Part(title(each), each, _manifest(layout, each)) for each in contents]
    referrers = [part for part in parts if part.manifest.artifact_type == model.STATEMENT_TYPE]
    parts = [part for part in parts if part.manifest.artifact_type != model.STATEMENT_TYPE]
    _check_index(layout, contents, own, referrers)
    statements = _statements(parts, referrers)
    single = {part.name: part for part in parts if part.name in model.SINGLE}
    for name, artifact_type in model.SINGLE.items():
        if name not in single or single[name].manifest.artifact_type != artifact_type:
            raise _wrong(f"there is no {name} ({artifact_type}) in it")
    images = tuple(part for part in parts if part.name.startswith(model.IMAGES))
    components = tuple(part for part in parts if part.name.startswith(model.COMPONENTS))
    for part in parts:
        if part.name not in single and not part.name.startswith((model.IMAGES, model.COMPONENTS)):
            raise _wrong(f"{part.name[:100]!r} is no part of a bundle")
    _check_images(images, predicate.platform)
    _check_components(components, predicate.platform)
    for part in single.values():
        _check_files(part, part.manifest.artifact_type)
    return Contents(predicate, tuple(by), tuple(ignored), images, components, single, statements)


# -- who signed ---------------------------------------------------------------------------------------------------


def _is_own(descriptor: Descriptor) -> bool:
    """Whether a descriptor of index.json is called as statements about the bundle itself are."""
    name = title(descriptor)
    return descriptor.artifact_type == model.STATEMENT_TYPE and name.startswith(model.STATEMENT_KIND + ".") and "/" not in name


def own_statements(layout: OpenLayout) -> Mapping[str, Descriptor]:
    """File name -> blob, of the statements about a bundle's contents."""
    return dict(_blobs(layout, [each for each in layout.index.manifests if _is_own(each)]))


def _blobs(layout: OpenLayout, own: Sequence[Descriptor]) -> list[tuple[str, Descriptor]]:
    return [(title(each), _only_layer(_manifest(layout, each), each)) for each in own]


def signed_by(statements: Iterable[tuple[str, bytes]], policy: Policy) -> tuple[list[Said], list[Ignored]]:
    """What allowed operators say about a bundle's contents, all of them the same; raises BundleUnsignedError."""
    said: list[Said] = []
    ignored: list[Ignored] = []
    for name, data in statements:
        found = _read(name, data, policy)
        if isinstance(found, Said):
            said.append(found)
        else:
            ignored.append(found)
    allowed = [each for each in said if each.operator in policy.release.operators]
    if not allowed:
        raise _unsigned(said, ignored)
    if any(each.predicate != allowed[0].predicate for each in allowed):
        raise BundleContentError(f"{allowed[0].file} and {allowed[1].file} say different things about this bundle")
    return allowed, ignored


def _read(shown: str, data: bytes, policy: Policy) -> Said | Ignored:
    bundle = parse_bundle(data, shown)
    kind, revoked, trusted = model.STATEMENT_KIND, policy.revoked_reason(bundle.hint), policy.key_of(bundle.hint)
    if shown != f"{kind}.{bundle.hint.removeprefix('sha256:')[:16]}.sigstore.json":
        raise _wrong(f"{shown} is signed by the key {bundle.hint}, which is not what its name says")
    if revoked:
        return Ignored(shown, kind, "", "revoked", f"the key {bundle.hint} is revoked: {revoked}")
    if trusted is None:
        return Ignored(shown, kind, "", "unknown", f"the policy does not know the key {bundle.hint}")
    if not trusted.key.verify(pae(bundle.payload_type, bundle.payload), bundle.signature):
        raise SignatureError(f"{shown}: the payload is not what {trusted.operator} ({bundle.hint}) signed", remedy=_REMEDY)
    statement = parse_statement(bundle.payload, shown)
    if statement.predicate_type != model.PREDICATE:
        raise _wrong(f"{shown} is a statement of the type {statement.predicate_type}")
    return Said(shown, trusted.operator, model.read_predicate(statement, shown), statement.digests())


def _unsigned(said: Sequence[Said], ignored: Sequence[Ignored]) -> Exception:
    for standing, cls in (("revoked", RevokedKeyError), ("unknown", UnknownKeyError)):
        found = [each for each in ignored if each.standing == standing]
        if found and not said:
            return cls(f"{found[0].file}: {found[0].reason}", remedy="nobody else signed what is in this bundle")
    if said:
        return BundleUnsignedError(
            f"{said[0].operator} signed the bundle in {said[0].file}, and the policy does not let them",
            remedy="operators who may are in the policy's [release]",
        )
    return BundleUnsignedError("there is no statement about what is in this bundle", remedy=_REMEDY)


# -- what was signed ----------------------------------------------------------------------------------------------


def _check_names(contents: Sequence[Descriptor], said: Said) -> None:
    named = {title(each): each.digest for each in contents}
    if len(named) != len(contents) or "" in named:
        raise _wrong(f"{said.file}: two of its contents have one name, or one has none")
    if named != said.subjects:
        raise _wrong(f"{said.file}: its subjects are not the contents that its predicate lists")


def _check_index(layout: OpenLayout, contents: Sequence[Descriptor], own: Sequence[Descriptor], parts: Sequence[Part]) -> None:
    """BundleContentError unless index.json is what the signed contents make it."""
    about = [(_subject(part.manifest, part.descriptor).digest, part.descriptor) for part in parts]
    stack = next((each for each in contents if title(each) == "stack"), None)
    for each in own:
        subject = _subject(_manifest(layout, each), each)
        if stack is None or subject.digest != stack.digest:
            raise _wrong(f"{title(each)} is not about the stack of this bundle")
        about.append((subject.digest, each))
    expected, lists = index_of(contents, own, about)
    if layout.index != expected:
        raise _wrong(_difference(layout.index.manifests, expected.manifests))
    for digest, data in lists.items():
        layout.read(Descriptor(INDEX, digest, len(data)), len(data))  # it is there, and what its digest says


def _difference(found: Sequence[Descriptor], expected: Sequence[Descriptor]) -> str:
    there, wanted = {_label(each): each for each in found}, {_label(each): each for each in expected}
    for name in sorted(there.keys() ^ wanted.keys()):
        return f"index.json lists {name}, which nobody signed" if name in there else f"index.json does not list {name}"
    for name, each in there.items():
        if each != wanted[name]:
            return f"index.json has {name} otherwise than it was signed"
    return "index.json has another order, or notes that nobody signed"


def _label(descriptor: Descriptor) -> str:
    return title(descriptor) or descriptor.annotations.get(REF_NAME, "") or descriptor.digest


def _statements(parts: Sequence[Part], referrers: Sequence[Part]) -> Mapping[str, Mapping[str, Descriptor]]:
    """What is about each part: a referrer is called as its subject is, with the statement's file name behind it."""
    names = {part.descriptor.digest: part.name for part in parts}
    found: dict[str, dict[str, Descriptor]] = {}
    for part in referrers:
        layer = _only_layer(part.manifest, part.descriptor)
        about = names.get(_subject(part.manifest, part.descriptor).digest, "")
        file = title(layer)
        if not about or part.name != f"{about}/{file}" or "/" in file:
            raise _wrong(f"the statement {part.name[:100]!r} is about {about or 'nothing in it'}, in the file {file[:100]!r}")
        found.setdefault(about, {})[file] = layer
    return found


def _check_images(images: Sequence[Part], platform: str) -> None:
    references: set[str] = set()
    for part in images:
        notes, on = part.descriptor.annotations, part.descriptor.platform
        reference = notes.get(REF_NAME, "")
        if part.manifest.artifact_type or not reference or notes.get(CONTAINERD_NAME) != reference or reference in references:
            raise _wrong(f"{part.name} is no image, has no reference or not one of its own")
        if on is None or f"{on.os}/{on.architecture}" != platform:
            raise _wrong(f"{part.name} is not an image for {platform}")
        references.add(reference)


def _check_components(components: Sequence[Part], platform: str) -> None:
    for part in components:
        _check_files(part, model.COMPONENT_TYPE)
        if place_of(part).rpartition("/")[2] != platform.replace("/", "-"):
            raise _wrong(f"{part.name} is not for {platform}")
        if part.name != model.COMPONENTS + part.manifest.annotations[model.COMPONENT]:
            raise _wrong(f"{part.name} is the component {part.manifest.annotations[model.COMPONENT]}")


def place_of(part: Part) -> str:
    """NAME/VERSION/OS-ARCH of a component: where a set has it."""
    notes = part.manifest.annotations
    words = [notes.get(each, "") for each in (model.COMPONENT, model.VERSION, model.PLATFORM)]
    place = "/".join([*words[:2], words[2].replace("/", "-")])
    if not is_place(place):
        raise _wrong(f"{part.name}: {place[:100]!r} is not NAME/VERSION/OS-ARCH")
    return place


def image_place_of(part: Part, platform: str) -> str:
    """images/NAME/VERSION/OS-ARCH of an image: where a set has it."""
    place = f"{part.name}/{part.descriptor.annotations.get(model.VERSION, '')}/{platform.replace('/', '-')}"
    if not is_image_place(place):
        raise _wrong(f"{place[:100]!r} is not images/NAME/VERSION/OS-ARCH")
    return place


def _check_files(part: Part, artifact_type: str) -> None:
    if part.manifest.artifact_type != artifact_type or part.manifest.subject is not None:
        raise _wrong(f"{part.name} is {part.manifest.artifact_type or 'an image'}, not {artifact_type}")
    names = [title(each) for each in part.manifest.layers if each.media_type != EMPTY]
    if len(set(names)) != len(names) or not all(is_relative(name) for name in names):
        raise _wrong(f"{part.name} names a file twice, or one with no path below a folder")
    for each in part.manifest.layers:
        if each.media_type not in (model.FILE, model.TREE, EMPTY):
            raise _wrong(f"{part.name}: {title(each)} is {each.media_type}")


def is_relative(path: str) -> bool:
    """Whether a path stays below the folder that it is put into, and names something in there."""
    return (
        bool(path)
        and len(path) < 1024
        and not any(part in ("", ".", "..") for part in path.split("/"))
        and "\\" not in path
        and path.isprintable()
    )


# -- shared -------------------------------------------------------------------------------------------------------


def _manifest(layout: OpenLayout, descriptor: Descriptor) -> Manifest:
    found = layout.manifest(Descriptor(MANIFEST, descriptor.digest, descriptor.size))
    if descriptor.media_type != MANIFEST or found.artifact_type != descriptor.artifact_type:
        raise _wrong(f"{title(descriptor)[:100]!r} is listed as {descriptor.artifact_type or 'an image'} and is not that")
    return found


def _only_layer(manifest: Manifest, descriptor: Descriptor) -> Descriptor:
    layers = manifest.layers
    if manifest.artifact_type != model.STATEMENT_TYPE or len(layers) != 1 or layers[0].media_type != model.STATEMENT_TYPE:
        raise _wrong(f"{title(descriptor)[:100]!r} is no statement")
    return layers[0]


def _subject(manifest: Manifest, descriptor: Descriptor) -> Descriptor:
    if manifest.subject is None:
        raise _wrong(f"the statement {title(descriptor)[:100]!r} is about nothing")
    return manifest.subject


def _wrong(message: str) -> BundleContentError:
    return BundleContentError(message, remedy=_REMEDY)


class Statements:
    """The statements about one part, as ``evidence.gather`` reads them: paths are PLACE/FILE."""

    def __init__(self, layout: OpenLayout, place: str, files: Mapping[str, Descriptor], shown: str) -> None:
        self._layout, self._shown, self._place = layout, shown, place
        self._files = {f"{place}/{name}" if place else name: each for name, each in files.items()}

    def name(self, path: str) -> str:
        return f"{self._shown}/{path.removeprefix(self._place).lstrip('/')}"

    def walk(self) -> Sequence[tuple[str, bool]]:
        return [(path, False) for path in sorted(self._files)]

    def read(self, path: str, limit: int, *, again: bool = False) -> bytes:
        found = self._files.get(path)
        if found is None:
            raise ArtifactMissingError(f"{self.name(path)} is not there")
        if found.size > limit:
            raise JsonSizeError(f"{self.name(path)}: {found.size} bytes, more than {limit}")
        return self._layout.read(found, limit)
