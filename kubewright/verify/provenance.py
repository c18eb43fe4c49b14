"""SLSA provenance v1 as our build type has it (docs/build-type-v1.md): what a rule relies on, and nothing unknown beside it.

https://slsa.dev/spec/v1.1/provenance. A producer that writes more writes another build type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from kubewright.model.decode import decode
from kubewright.model.lockfile import Digest, LockedBuilder, LockedComponent, Sha256
from kubewright.model.recipe import Name, Platform, RelativePath, Version
from kubewright.model.schema import AtLeast, Doc, Key, NotEmpty, Pattern, Problem
from kubewright.verify.errors import StatementError
from kubewright.verify.statement import Statement

BUILD_TYPE: Final = "urn:kubewright:build:v1"

Text = Annotated[str, NotEmpty()]
Time = Annotated[str, Pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", "a time such as 2026-11-23T15:23:10Z")]
GitId = Annotated[str, Pattern(r"[0-9a-f]{40}|[0-9a-f]{64}", "a full git object name")]
InputKind = Literal["source", "commit", "module", "patch", "file", "recipe", "toolchain", "package", "root", "component"]
OutputKind = Literal["program", "file", "tree"]


@dataclass(frozen=True, slots=True)
class DigestSet:
    """in-toto's DigestSet, with what our inputs have."""

    sha256: Annotated[Sha256, Doc("Of the bytes.")] = ""
    dir_hash1: Annotated[Sha256, Key("dirHash1"), Doc("Go's h1: in hexadecimal.")] = ""
    git_commit: Annotated[GitId, Key("gitCommit"), Doc("git commit.")] = ""
    git_tree: Annotated[GitId, Key("gitTree"), Doc("git tree.")] = ""
    tree1: Annotated[Sha256, Key("kubewrightTree1"), Doc("Tree digest of kubewright/files/digest.py.")] = ""


@dataclass(frozen=True, slots=True)
class InputNotes:
    """Annotations of an input."""

    kind: Annotated[InputKind, Key("kubewright_kind"), Doc("What it is.")]
    form: Annotated[Literal["module", "tree", "archive"], Key("kubewright_form"), Doc("Form of a source.")] = "module"
    source_date: Annotated[int, Key("kubewright_source_date"), Doc("Seconds since 1970."), AtLeast(0)] = 0
    module: Annotated[Text, Key("kubewright_module"), Doc("Go module path.")] = ""
    version: Annotated[Text, Key("kubewright_version"), Doc("Go module version.")] = ""
    sumdb: Annotated[bool, Key("kubewright_sumdb"), Doc("The Go checksum database confirmed it.")] = False
    tree: Annotated[Digest, Key("kubewright_tree"), Doc("SHA-256 of the normalised tree.")] = ""
    source: Annotated[Name, Key("kubewright_source"), Doc("The source that a patch changes.")] = ""
    reason: Annotated[Text, Key("kubewright_reason"), Doc("Why a patch is needed.")] = ""
    executable: Annotated[bool, Key("kubewright_executable"), Doc("An overlay that git has as executable.")] = False


@dataclass(frozen=True, slots=True)
class Input:
    """A ResourceDescriptor of resolvedDependencies."""

    name: Annotated[Text, Doc("Unique among inputs of its kind.")]
    digest: Annotated[DigestSet, Doc("What pins it.")]
    annotations: Annotated[InputNotes, Doc("What it is.")]
    uri: Annotated[Text, Doc("Where it comes from: a purl, git+URL, or a URL.")] = ""

    @property
    def kind(self) -> str:
        """source, module, patch, ..."""
        return self.annotations.kind

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class LockParts:
    """The entries of lockfile.toml that the build had."""

    component: Annotated[LockedComponent, Doc("[component.NAME].")]
    builder: Annotated[LockedBuilder, Doc("[builder.NAME].")]


@dataclass(frozen=True, slots=True)
class ExternalParameters:
    """What has to be given to build the same again."""

    component: Annotated[Name, Doc("The component.")]
    version: Annotated[Version, Doc("Its version.")]
    platform: Annotated[Platform, Doc("What it was built for.")]
    key: Annotated[Digest, Doc("Build key.")]
    recipe: Annotated[RelativePath, Doc("The recipe.")]
    builder: Annotated[Name, Doc("The build environment.")]
    lock: Annotated[LockParts, Doc("What lockfile.toml said.")]


@dataclass(frozen=True, slots=True)
class Step:
    """A command as it was run in the sandbox."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    stdout: Annotated[RelativePath, Doc("The file below /build that its standard output became.")] = ""


@dataclass(frozen=True, slots=True)
class Output:
    """Kind and size of a subject."""

    path: RelativePath
    kind: OutputKind
    size: Annotated[int, Doc("Bytes; of a tree: of its normalised tar."), AtLeast(0)]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a rebuild varies."""

    sandbox: Text
    build_path: Text
    hostname: Text
    uid: int
    umask: int
    cpus: int
    locale: Text
    timezone: Text
    cold: bool
    enforced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InternalParameters:
    """How the builder did it."""

    conditions: Conditions
    steps: tuple[Step, ...]
    outputs: Annotated[tuple[Output, ...], NotEmpty("minItems")]


@dataclass(frozen=True, slots=True)
class BuildDefinition:
    """What was built, from what."""

    build_type: Annotated[Literal["urn:kubewright:build:v1"], Key("buildType")]
    external: Annotated[ExternalParameters, Key("externalParameters")]
    internal: Annotated[InternalParameters, Key("internalParameters")]
    inputs: Annotated[tuple[Input, ...], Key("resolvedDependencies"), Doc("Every input."), NotEmpty("minItems")]


@dataclass(frozen=True, slots=True)
class Builder:
    """Who the build platform is."""

    id: Annotated[Text, Doc("urn:kubewright:builder:SANDBOX:v1")]
    version: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metadata:
    """One run. Its times are the signer's words, no rule believes them."""

    invocation: Annotated[Text, Key("invocationId")]
    started: Annotated[Time, Key("startedOn")]
    finished: Annotated[Time, Key("finishedOn")]
    smoked: Annotated[bool, Key("kubewright_smoked"), Doc("The smoke checks were run.")] = False


@dataclass(frozen=True, slots=True)
class Byproduct:
    """The build's log."""

    name: Text
    digest: DigestSet
    media_type: Annotated[Text, Key("mediaType")] = ""


@dataclass(frozen=True, slots=True)
class RunDetails:
    """How it went."""

    builder: Builder
    metadata: Metadata
    byproducts: tuple[Byproduct, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """The predicate of SLSA provenance v1 with our build type."""

    definition: Annotated[BuildDefinition, Key("buildDefinition")]
    run: Annotated[RunDetails, Key("runDetails")]

    @property
    def external(self) -> ExternalParameters:
        """What was to be built."""
        return self.definition.external

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Everything that went in."""
        return self.definition.inputs

    @property
    def place(self) -> str:
        """NAME/VERSION/OS-ARCH: where the set has its outputs."""
        external = self.external
        return f"{external.component}/{external.version}/{external.platform.replace('/', '-')}"


def read_provenance(statement: Statement, name: str) -> Provenance:
    """The predicate of a provenance statement; StatementError says what is wrong with that of ``name``."""
    provenance: Provenance = decode_predicate(Provenance, statement.predicate, name)
    outputs = {output.path for output in provenance.definition.internal.outputs}
    if outputs != {subject.name for subject in statement.subjects}:
        raise StatementError(f"{name}: its subjects are not the outputs that its predicate names")
    known: set[tuple[str, str]] = set()
    for item in provenance.inputs:
        if (item.kind, item.name) in known:
            raise StatementError(f"{name}: predicate.buildDefinition.resolvedDependencies: {item.label} is there twice")
        known.add((item.kind, item.name))
    return provenance


def decode_predicate(cls: type[Any], predicate: Mapping[str, Any], name: str) -> Any:
    """A predicate as a ``cls``; StatementError with everything that is wrong."""
    problems: list[Problem] = []
    found = decode(cls, predicate, problems, ("predicate",))
    if found is None:
        details = "\n".join(f"{name}: {problem}" for problem in problems[1:10])
        raise StatementError(f"{name}: {problems[0]}", remedy=problems[0].remedy, details=details)
    return found
