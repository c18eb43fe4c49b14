"""Sign the images that are assembled here, and attest what was assembled of builds of one's own: as for components."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from kubewright.errors import BuildError, DissentError
from kubewright.images import record as images
from kubewright.images.assemble import assemble
from kubewright.images.place import make_image
from kubewright.images.plan import Plan, plan_image
from kubewright.images.record import ImageRecord
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.trust import image_statement
from kubewright.trust.keys import SigningKey
from kubewright.trust.publish import SBOMS, built, own_build, read, said_of, statements
from kubewright.trust.setfolder import Signed, bundle_name, image_attestation_directory, put, put_all
from kubewright.trust.sign import sign_statement
from kubewright.verify.statement import Statement

Builds: TypeAlias = Mapping[str, BuildRecord]
#: what describes an image: file name -> document
Describe: TypeAlias = Callable[[Project, Plan, ImageRecord, Builds, Progress], Mapping[str, bytes]]


def image_sboms(project: Project, plan: Plan, made: ImageRecord, builds: Builds, progress: Progress) -> Mapping[str, bytes]:
    """File name -> document: the SBOMs and ATTRIBUTION."""
    from kubewright.sbom.image import gather_image
    from kubewright.sbom.write import documents

    return documents(gather_image(project, plan, made, builds, progress))


def sign_images(
    project: Project, component: Component, key: SigningKey, progress: Progress, describe: Describe = image_sboms
) -> Signed:
    """Provenance and SBOMs, signed, of each image of the component that has been assembled here; others are named.

    Raises IrreproducibleError for an image that is not the accepted one, DissentError when this key has signed another one for
    the same inputs.
    """
    files: dict[Path, bytes] = {}
    for image in component.recipe.images:
        plan = plan_image(project, image.name, component.platform)
        if images.load(project.store, plan.key) is None:
            progress.note(f"{plan.label} has not been assembled here, so it is not signed: ./doit image:{plan.task}")
            continue
        files |= _signed(project, plan, key, progress, describe)
    return put_all(files)


def _signed(project: Project, plan: Plan, key: SigningKey, progress: Progress, describe: Describe) -> dict[Path, bytes]:
    made = make_image(project, plan, progress)  # puts it in place if it is not
    builds = {name: built(project, component) for name, component in plan.components.items()}
    directory = image_attestation_directory(project, plan)
    path = directory / bundle_name("provenance", key.key_id)
    _check_own(path, plan, made)
    files = {path: sign_statement(image_statement.statement(project, plan, made, builds), key)}
    for name, data in describe(project, plan, made, builds, progress).items():
        files[directory / name] = data
        if name in SBOMS:
            kind, predicate_type = SBOMS[name]
            said = image_statement.about(made, predicate_type, json.loads(data))
            files[directory / bundle_name(kind, key.key_id)] = sign_statement(said, key)
    return files


def attest_images(project: Project, component: Component, key: SigningKey, progress: Progress) -> list[Path]:
    """Sign the provenance of the component's images, assembled anew of this machine's own builds, whatever that gave.

    An image that holds outputs of a component that was not built here is named, and left to others. Raises DissentError, when
    all is written, where somebody's image of the same inputs is another one.
    """
    written: list[Path] = []
    differing: list[str] = []
    for image in component.recipe.images:
        plan = plan_image(project, image.name, component.platform)
        try:
            builds = {name: _own(project, each) for name, each in plan.components.items()}
        except BuildError as reason:
            progress.note(f"{plan.label} is not attested: {reason.message}")
            continue
        with project.store.scratch("attest") as scratch:
            made = assemble(project, plan, scratch / "layout", progress)
        written.append(_attested(project, plan, made, builds, key, progress))
        differing += _differing(project, plan, made)
    if differing:
        raise DissentError(
            f"{component.label}: {differing[0]}",
            remedy="the statement says so to everybody who verifies the set; publish it, and look for the reason",
            details="\n".join(differing),
        )
    return written


def _own(project: Project, component: Component) -> BuildRecord:
    """This machine's own build; images are made of the first one, which has to have given the same."""
    first, own = built(project, component), own_build(project, component)
    if first.digests() != own.digests():
        raise BuildError(f"{component.label}: two builds on this machine differ")
    return own


def _attested(project: Project, plan: Plan, made: ImageRecord, builds: Builds, key: SigningKey, progress: Progress) -> Path:
    path = image_attestation_directory(project, plan) / bundle_name("provenance", key.key_id)
    before = _check_own(path, plan, made)
    if before is not None and said_of(before) == plan.key:
        progress.note(f"this key has signed this image already: {path.relative_to(project.root)}")
    elif put(path, sign_statement(image_statement.statement(project, plan, made, builds), key)):
        progress.note(f"{path.relative_to(project.root)} written")
    return path


def _differing(project: Project, plan: Plan, made: ImageRecord) -> list[str]:
    ours = {made.reference: made.manifest}
    return [
        f"{plan.name}: here {made.manifest}, {path.name} {said.digests().get(made.reference, 'nothing')}"
        for path, said in statements(image_attestation_directory(project, plan))
        if said_of(said) == plan.key and said.digests() != ours
    ]


def _check_own(path: Path, plan: Plan, made: ImageRecord) -> Statement | None:
    before = read(path) if path.exists() else None
    if before is not None and said_of(before) == plan.key and before.digests() != {made.reference: made.manifest}:
        raise DissentError(
            f"{plan.label}: this very key has signed another image for the same inputs ({path.name})",
            remedy="assembling does not agree with itself. Nothing was written; to withdraw what was signed, remove the file",
        )
    return before
