"""Name every image of a manifest by a digest of ours; change nothing else, and prove it on what was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kubewright.manifests import names
from kubewright.manifests.counterparts import Image, Table
from kubewright.manifests.document import MOST_BYTES, Node, Scalar, Sequence, read
from kubewright.manifests.editing import Edit, applied, outward
from kubewright.manifests.errors import ImageReferenceError, ManifestError, NoCounterpartError
from kubewright.manifests.finding import Place, find
from kubewright.manifests.names import ImageName


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that the manifest names. ``replaced``: it is another repository or tag of upstream that ours stands for."""

    manifest: str
    object: str
    path: str
    line: int
    found: str
    written: str
    image: Image
    replaced: bool


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A pull policy that was Always and is IfNotPresent now: a node has the image, or nobody has."""

    manifest: str
    object: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The manifest with images named by digest, what was named where, and which pull policies changed."""

    text: bytes
    references: tuple[Reference, ...]
    policies: tuple[PolicyChange, ...]


def rewrite(name: str, text: bytes, images: Mapping[str, Image]) -> Rewritten:
    """``text`` with every image named by our digest: ``images`` is what ``counterparts`` gives, ``name`` is for messages.

    Raises NoCounterpartError, ImageReferenceError (what names an image is no reference), ManifestError (not safely readable,
    or the result does not say what was meant).
    """
    before = _decoded(name, text)
    table = Table(images)
    found = find(name, before, table.knows)
    references = tuple(_reference(name, place, table) for place in found.images)
    always = [place for place in found.policies if place.text == "Always"]
    changes = [(place, reference.written) for place, reference in zip(found.images, references, strict=True)]
    changes += [(place, "IfNotPresent") for place in always]
    values = _grouped((place.scalars, Edit(place.start, place.end, new)) for place, new in changes)
    after = applied(before, [edit for scalar, edits in values.items() for edit in outward(before, scalar, edits)])
    if values:
        _check(name, found.documents, after, {scalar: applied(scalar.value, edits) for scalar, edits in values.items()})
    policies = tuple(PolicyChange(name, place.object, place.path, place.line) for place in always)
    return Rewritten(after.encode("utf-8"), references, policies)


def _decoded(name: str, text: bytes) -> str:
    if len(text) > MOST_BYTES:
        raise ManifestError(f"{name}: it has more than {MOST_BYTES >> 20} MB", remedy="split it, or leave it out")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{name}: byte {error.start} is not UTF-8", remedy="correct the source") from error


def _reference(manifest: str, place: Place, table: Table) -> Reference:
    where = f"{manifest}: {place.object}: {place.path} (line {place.line})"
    name = names.parse(place.text)
    if name is None:
        raise ImageReferenceError(
            f"{where}: {place.text[:200]!r} is no image reference",
            remedy="a reference is REPO:TAG in lower case; correct the source with a declared patch",
        )
    image = table.find(name)
    if image is None:
        near = table.near(name)
        raise NoCounterpartError(
            f"{where}: no image of ours stands for {place.text}" + (f"; there is {', '.join(near)}" if near else ""),
            remedy=f'say which one does in the recipe\'s [[manifest]], as in replace = {{ "{name.repository}" = "REPO:TAG" }},'
            " or add the image to a recipe ([[image]]) and its component to the stack",
        )
    written, replaced = _written(name, image)
    return Reference(manifest, place.object, place.path, place.line, place.text, written, image, replaced)


def _written(name: ImageName, image: Image) -> tuple[str, bool]:
    """How ours is named where ``name`` stood, and whether that is another repository or tag. The repository stays as it was
    spelled. The tag latest is left out: Kubernetes would pull at every start, whatever the digest."""
    ours = names.parse(image.reference)
    assert ours is not None
    if name.digest == image.digest and name.repository == ours.repository:
        return f"{name.name}{f':{name.tag}' if name.tag else ''}@{name.digest}", False
    same = (ours.repository, ours.tag) == (name.repository, name.tag or "latest")
    tag = f":{ours.tag}" if ours.tag != "latest" else ""
    return f"{name.name if same else ours.name}{tag}@{image.digest}", not same


# -- writing ------------------------------------------------------------------------------------------------------


def _grouped(changes: Iterable[tuple[tuple[Scalar, ...], Edit]]) -> dict[Scalar, list[Edit]]:
    """Edits of the values of the outermost scalars: those of a document in a string become edits of that string."""
    below: dict[Scalar, list[tuple[tuple[Scalar, ...], Edit]]] = {}
    for (outermost, *inner), edit in changes:
        below.setdefault(outermost, []).append((tuple(inner), edit))
    found = {}
    for scalar, each in below.items():
        found[scalar] = [edit for inside, edit in each if not inside]
        for nested, edits in _grouped((inside, edit) for inside, edit in each if inside).items():
            found[scalar] += outward(scalar.value, nested, edits)
    return found


def _check(name: str, old: list[Node], after: str, wanted: Mapping[Scalar, str]) -> None:
    """Read the result: every value is as before, but those that were to change, which are as they were meant to be."""
    new = read(name, after)
    if len(old) != len(new) or not all(_same(one, other, wanted) for one, other in zip(old, new, strict=True)):
        raise ManifestError(
            f"{name}: after its images were replaced it does not read as it was meant to",
            remedy="this is a fault of kubewright: report it, with the manifest",
        )


def _same(one: Node, other: Node, wanted: Mapping[Scalar, str]) -> bool:
    if isinstance(one, Scalar):
        return isinstance(other, Scalar) and other.value == wanted.get(one, one.value)
    if isinstance(one, Sequence):
        return (
            isinstance(other, Sequence)
            and len(one.items) == len(other.items)
            and all(_same(a, b, wanted) for a, b in zip(one.items, other.items, strict=True))
        )
    return (
        not isinstance(other, Scalar | Sequence)
        and [key.value for key, _ in one.items] == [key.value for key, _ in other.items]
        and all(_same(a, b, wanted) for (_, a), (_, b) in zip(one.items, other.items, strict=True))
    )
