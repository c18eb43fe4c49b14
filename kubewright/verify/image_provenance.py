"""SLSA provenance v1 of an image (docs/build-type-image-v1.md): what it was assembled of, and nothing unknown beside it.

One statement is about one image for one platform. Its subject is the image's manifest, under the name that upstream's manifests
use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from kubewright.model.lockfile import Digest
from kubewright.model.recipe import Name, Platform, RelativePath, Version
from kubewright.model.schema import AtLeast, Doc, Key, NotEmpty, Pattern
from kubewright.verify.errors import StatementError
from kubewright.verify.layout import IMAGES
from kubewright.verify.provenance import Builder, Input, Text, decode_predicate
from kubewright.verify.statement import Statement

BUILD_TYPE: Final = "urn:kubewright:image:v1"
#: images are put together by kubewright itself, in no sandbox: nothing of their content is run
BUILDER: Final = "urn:kubewright:builder:assembly:v1"

LayerKind = Literal["base", "certificates", "package", "component", "source", "links"]


@dataclass(frozen=True, slots=True)
class ImageParameters:
    """What has to be given to assemble the same again."""

    image: Annotated[Name, Doc("The image.")]
    component: Annotated[Name, Doc("The component whose recipe has it.")]
    version: Annotated[Version, Doc("The image's version.")]
    platform: Annotated[Platform, Doc("What it is for.")]
    key: Annotated[Digest, Doc("The image's key: everything that decides its bytes.")]
    reference: Annotated[Text, Doc("The name that manifests use, with its tag.")]
    recipe: Annotated[RelativePath, Doc("The recipe.")]
    root: Annotated[
        str, Doc("The builder whose locked packages are layers; empty: none."), Pattern(r"[a-z0-9-]*", "a name")
    ] = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, lowest first. ``base`` and ``links`` are made by kubewright of the recipe alone and have no inputs."""

    kind: LayerKind
    name: Text
    digest: Digest
    size: Annotated[int, Doc("Bytes."), AtLeast(0)]
    inputs: Annotated[tuple[Text, ...], Doc("Names of resolvedDependencies that are in it.")] = ()


@dataclass(frozen=True, slots=True)
class Assembly:
    """How the image is put together."""

    config: Annotated[Digest, Doc("Of the image's configuration.")]
    layers: Annotated[tuple[Layer, ...], NotEmpty("minItems")]


@dataclass(frozen=True, slots=True)
class ImageDefinition:
    """What was assembled, from what."""

    build_type: Annotated[Literal["urn:kubewright:image:v1"], Key("buildType")]
    external: Annotated[ImageParameters, Key("externalParameters")]
    internal: Annotated[Assembly, Key("internalParameters")]
    inputs: Annotated[tuple[Input, ...], Key("resolvedDependencies"), Doc("Every input."), NotEmpty("minItems")]


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """One run."""

    invocation: Annotated[Text, Key("invocationId"), Doc("Of the very builds whose outputs were assembled.")]


@dataclass(frozen=True, slots=True)
class ImageRun:
    """Who assembled it."""

    builder: Builder
    metadata: ImageMetadata


@dataclass(frozen=True, slots=True)
class ImageProvenance:
    """The predicate of SLSA provenance v1 with the build type of images."""

    definition: Annotated[ImageDefinition, Key("buildDefinition")]
    run: Annotated[ImageRun, Key("runDetails")]

    @property
    def external(self) -> ImageParameters:
        """What was to be assembled."""
        return self.definition.external

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Everything that went in."""
        return self.definition.inputs

    @property
    def place(self) -> str:
        """images/NAME/VERSION/OS-ARCH: where the set has its layout."""
        external = self.external
        return f"{IMAGES}/{external.image}/{external.version}/{external.platform.replace('/', '-')}"


def read_image_provenance(statement: Statement, name: str) -> ImageProvenance:
    """The predicate of an image's provenance; StatementError says what is wrong with that of ``name``."""
    found: ImageProvenance = decode_predicate(ImageProvenance, statement.predicate, name)
    if [subject.name for subject in statement.subjects] != [found.external.reference]:
        raise StatementError(f"{name}: its subject is not the image {found.external.reference} that its predicate names")
    named = [item.name for item in found.inputs]
    if len(set(named)) != len(named):
        raise StatementError(f"{name}: predicate.buildDefinition.resolvedDependencies: one name is there twice")
    used = {each for layer in found.definition.internal.layers for each in layer.inputs}
    unknown = sorted(used - set(named))
    if unknown:
        raise StatementError(f"{name}: a layer is made of {unknown[0][:100]!r}, which is no resolved dependency")
    return found
