"""A stack's ingredients: what was built, assembled and signed here, with upstream's manifests about our images.

Nothing is made here but the manifests and the stand-alone programs, which are functions of what is there. What is absent is an
error that names the task which makes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewright import pyz
from kubewright.building.component import existing
from kubewright.bundle.contents import ComponentPart, File, ImagePart, Ingredients, of_bytes
from kubewright.errors import BuildError
from kubewright.images import record as images
from kubewright.images.plan import Plan, directory, plan_image
from kubewright.images.record import ImageRecord
from kubewright.manifests.counterparts import Image, counterparts
from kubewright.manifests.rewriting import Rewritten, rewrite
from kubewright.model.image_model import output_of
from kubewright.model.stack import Stack
from kubewright.oci.source import FilePart, Source
from kubewright.project import Component, Project
from kubewright.record import BuildRecord, RecordedOutput
from kubewright.trust.release import load_sequence
from kubewright.trust.setfolder import attestation_directory, image_attestation_directory, release_directory
from kubewright.verify.bundle import SUFFIX
from kubewright.verify.layout import DOCUMENTS, IMAGES

ATTRIBUTION = DOCUMENTS[-1]


@dataclass(frozen=True, slots=True)
class Built:
    """A stack as it was built here: components with their builds, images with their layouts."""

    stack: Stack
    platform: str
    components: Mapping[str, tuple[Component, BuildRecord]]
    images: tuple[tuple[Plan, ImageRecord], ...]

    @property
    def version(self) -> str:
        """That of the component that is called like the stack, or of the first one."""
        name = self.stack.name if self.stack.name in self.components else self.stack.components[0]
        return self.components[name][0].recipe.version

    @property
    def label(self) -> str:
        """NAME-VERSION-OS-ARCH: what its files are called."""
        return f"{self.stack.name}-{self.version}-{self.platform.replace('/', '-')}"


def built(project: Project, stack: Stack, platform: str) -> Built:
    """What there is of a stack. Raises BuildError when a component has not been built here, or an image not assembled."""
    components = {}
    for name in stack.components:
        component = project.component(name, platform)
        found = existing(project, component)
        if found is None:
            raise BuildError(f"{component.label} has not been built here", remedy=f"./doit build:{component.task}")
        components[name] = (component, found)
    plans = [
        plan_image(project, image.name, platform) for component, _ in components.values() for image in component.recipe.images
    ]
    return Built(stack, platform, components, tuple((plan, _assembled(project, plan)) for plan in plans))


def _assembled(project: Project, plan: Plan) -> ImageRecord:
    found = images.load(project.store, plan.key)
    if found is None or not (directory(project, plan) / "index.json").is_file():
        raise BuildError(f"{plan.label} has not been assembled here", remedy=f"./doit image:{plan.task}")
    return found


def gather(project: Project, made: Built) -> tuple[Ingredients, Sequence[Rewritten]]:
    """The ingredients of a bundle, and what was changed in upstream's manifests. Raises BuildError, and for an image that a
    manifest names and nobody has NoCounterpartError."""
    in_images = {pair for plan, _ in made.images for pair in _outputs(plan)}
    rewritten = list(_rewritten(project, made))
    return (
        Ingredients(
            made.stack.name,
            made.version,
            made.platform,
            load_sequence(project.root),
            tuple(_component(project, *each, in_images) for each in made.components.values()),
            tuple(_image(project, *each) for each in made.images),
            tuple(_release(project)),
            _statements(release_directory(project)),
            (of_bytes(f"{made.stack.name}.toml", (project.root / "stacks" / f"{made.stack.name}.toml").read_bytes()),),
            tuple(of_bytes(name, each.text) for name, each in rewritten),
            tuple(of_bytes(program.file, pyz.build(program), "program") for program in pyz.PROGRAMS),
            tuple(_licences(project, made)),
        ),
        [each for _, each in rewritten],
    )


def _release(project: Project) -> Iterator[File]:
    """What the signed release is about."""
    for path in sorted(release_directory(project).iterdir()):
        if not path.name.endswith(SUFFIX):
            yield of_bytes(path.name, path.read_bytes())


def _outputs(plan: Plan) -> Iterator[tuple[str, str]]:
    """Component and output of every file in an image."""
    for text in plan.image.files.values():
        yield output_of(text, plan.component.name)


def _component(project: Project, component: Component, found: BuildRecord, in_images: set[tuple[str, str]]) -> ComponentPart:
    files = tuple(_file(project, each) for each in found.outputs if (component.name, each.path) not in in_images)
    statements = _statements(attestation_directory(project, component))
    if not statements:
        raise BuildError(f"nobody has signed {component.label}", remedy=f"./doit sign:{component.task}")
    return ComponentPart(component.name, component.recipe.version, files, statements)


def _file(project: Project, output: RecordedOutput) -> File:
    source = FilePart(project.store.path(output.sha256), 0, output.size)
    return File(output.path, output.kind, output.sha256, output.size, source)


def _statements(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*" + SUFFIX))}


def _image(project: Project, plan: Plan, found: ImageRecord) -> ImagePart:
    blobs = directory(project, plan) / "blobs" / "sha256"
    sources: dict[str, Source] = {
        digest: FilePart(blobs / digest.removeprefix("sha256:"), 0, size)
        for digest, size in found.blobs().items()
        if digest != found.manifest
    }
    about = _statements(image_attestation_directory(project, plan))
    if not about:
        raise BuildError(f"nobody has signed {plan.label}", remedy=f"./doit sign:{plan.component.task}")
    manifest = (blobs / found.manifest.removeprefix("sha256:")).read_bytes()
    return ImagePart(plan.name, plan.component.name, plan.version, found.reference, manifest, sources, about)


def _rewritten(project: Project, made: Built) -> Iterator[tuple[str, Rewritten]]:
    ours = [Image(found.reference, found.manifest) for _, found in made.images]
    for component, found in made.components.values():
        outputs = {each.path: each for each in found.outputs}
        for each in component.recipe.manifests:
            data = project.store.read(outputs[each.output].sha256)
            images_of = counterparts(ours, each.replace, f"recipes/{component.name}/recipe.toml")
            yield each.output, rewrite(each.output, data, images_of)


def _licences(project: Project, made: Built) -> Iterator[File]:
    folders = {component.name: attestation_directory(project, component) for component, _ in made.components.values()}
    folders |= {f"{IMAGES}/{plan.name}": image_attestation_directory(project, plan) for plan, _ in made.images}
    for name, folder in folders.items():
        if (folder / ATTRIBUTION).is_file():
            yield of_bytes(f"{name}/{ATTRIBUTION}", (folder / ATTRIBUTION).read_bytes())
    licence = project.root / "LICENSE"
    if licence.is_file():
        yield of_bytes("kubewright/LICENSE", licence.read_bytes())
