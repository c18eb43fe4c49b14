"""The decision about an image: the rules of ``rules`` about what was assembled, and about every component that is in it.

An image is what the signed digests.toml lists, said by an operator who may, made of the signed lock's packages and of outputs
that are accepted by themselves. The threshold holds for the assembly, too: else one operator could add a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from kubewright.verify.bundle_errors import ImageRefusedError
from kubewright.verify.errors import ArtifactUnknownError, BuilderRefusedError, NotLockedError, SubjectError
from kubewright.verify.evidence import Evidence
from kubewright.verify.facts import Accepted, Passed, Place, Signed
from kubewright.verify.image_provenance import BUILDER, ImageProvenance
from kubewright.verify.inputs import check_image_locked, check_origins
from kubewright.verify.policy import Policy
from kubewright.verify.rebuilds import check_rebuilds
from kubewright.verify.rules import check_sboms, statements_of

#: the signed release's outputs of a component, by its place
Components = Callable[[str], Accepted]


def check_image(place: Place, signed: Signed, policy: Policy, components: Components) -> tuple[Accepted, ImageProvenance]:
    """Everything but the bytes; ``subjects`` is the image's manifest. Raises the first rule's error."""
    good, refused = statements_of(place, signed, policy, judge_image)
    first = good[0]
    image = first.image
    assert image is not None
    parts = {name: components(path) for name, path in component_places(image, signed).items()}
    _check_outputs(first, image, parts)
    passed = [
        Passed("release", signed.by[0].says, f"sequence {signed.release.sequence}, {image.external.reference}"),
        Passed("provenance", first.says, f"{len(image.inputs)} inputs in {len(image.definition.internal.layers)} layers"),
        _listed(image, signed, first),
        *(Passed("component", part.passed[1].says, part.place) for part in parts.values()),
    ]
    agreed, dissent = check_rebuilds(place, first, good, refused, signed, policy, judge_image)
    boms, notes = check_sboms(place, first, policy)
    dissents = (*dissent, *(each for part in parts.values() for each in part.dissent))
    return Accepted(place.path, first.subjects, (*passed, agreed, *boms), dissents, (*map(str, refused), *notes)), image


def judge_image(statement: Evidence, place: Place, signed: Signed, policy: Policy) -> None:
    """Raise the first rule that one provenance statement about an image does not satisfy by itself."""
    image = statement.image
    assert image is not None  # evidence about a place below images/ has nothing else
    external = image.external
    if external.platform not in signed.release.components.get(external.component, {}):
        raise ArtifactUnknownError(
            f"{place.path}: its component {external.component} is not in the signed release", remedy="remove it from the set"
        )
    if image.run.builder.id != BUILDER:
        raise BuilderRefusedError(f"{statement.file}: assembled by {image.run.builder.id}", remedy=f"images are, by {BUILDER}")
    _check_listed(statement, image, place, signed, policy)
    check_image_locked(image, signed, statement.file)
    check_origins(image.inputs, policy, statement.file)


def _check_listed(statement: Evidence, image: ImageProvenance, place: Place, signed: Signed, policy: Policy) -> None:
    external = image.external
    listed = signed.digests.find(external.component, external.platform)
    digest = listed.images.get(external.image) if listed else None
    if listed is None or digest is None:
        if policy.release.unlisted == "refuse":
            raise SubjectError(
                f"{place.path}: the signed digests.toml does not list it",
                remedy=f'./doit accept:{external.component}, or unlisted = "allow" in the policy\'s [release]',
            )
        return
    said = statement.digests()[external.reference]
    if said != digest:
        raise ImageRefusedError(f"{statement.file}: {external.reference} is {said}, digests.toml says {digest}")
    if listed.image_keys[external.image] != external.key:
        raise SubjectError(
            f"{place.path}: digests.toml lists another assembly than {statement.file} is about",
            remedy=f"./doit accept:{external.component}, then sign again",
        )


def _listed(image: ImageProvenance, signed: Signed, first: Evidence) -> Passed:
    listed = signed.digests.find(image.external.component, image.external.platform)
    there = listed is not None and image.external.image in listed.images
    note = f"the same manifest as in {first.file}" if there else "does not list it; the policy allows that"
    return Passed("digests.toml", signed.by[0].says, note)


# -- what is in it ------------------------------------------------------------------------------------------------


def component_places(image: ImageProvenance, signed: Signed) -> Mapping[str, str]:
    """Component -> NAME/VERSION/OS-ARCH, of those whose outputs are in the image, and of the one whose recipe has it."""
    platform = image.external.platform.replace("/", "-")
    names = {component for component, _, _ in _outputs(image)}
    found = {}
    for name in sorted(names):
        locked = signed.lock.components.get(name)
        if locked is None:
            raise NotLockedError(f"{image.place}: the signed lockfile.toml has no [component.{name}], whose outputs are in it")
        found[name] = f"{name}/{locked.version}/{platform}"
    return found


def _check_outputs(statement: Evidence, image: ImageProvenance, parts: Mapping[str, Accepted]) -> None:
    """NotLockedError unless what is in the image are the very outputs that are accepted."""
    for component, output, digest in _outputs(image):
        accepted = {subject.name: subject.sha256 for subject in parts[component].subjects}
        if accepted.get(output) != digest:
            raise NotLockedError(
                f"{statement.file}: {component}/{output} in it is sha256:{digest}, accepted is "
                + (f"sha256:{accepted[output]}" if output in accepted else "no such output"),
                remedy="assemble and sign the image again",
            )


def _outputs(image: ImageProvenance) -> Iterator[tuple[str, str, str]]:
    """Component, output and SHA-256 of everything built that is in an image."""
    for item in image.inputs:
        if item.kind == "component":
            component, _, output = item.name.partition("/")
            yield component, output, item.digest.sha256
