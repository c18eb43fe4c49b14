"""``kubewright why``: where a component comes from. Facts only; ``why_text`` shows them.

Told from the build record where the store has one; else from recipe and lock, which is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kubewright import record
from kubewright.building import recording
from kubewright.building.execution import Setting
from kubewright.building.steps import commands
from kubewright.errors import LockOutdatedError, UsageError
from kubewright.fetch.gomodule import read_go_sum
from kubewright.model.digestsfile import Accepted
from kubewright.project import Component, Project
from kubewright.record import BuildRecord, Conditions, RecordedBuilder, RecordedModule, RecordedSource, RecordedStep

Verdict = Literal["accepted", "differs", "other key", "not accepted"]


@dataclass(frozen=True, slots=True)
class ExplainedOutput:
    """An output, and what digests.toml says of it. ``size`` in bytes, None where only the digest is known."""

    path: str
    kind: str
    sha256: str
    size: int | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Another build of the same key on this machine."""

    started: float
    conditions: Conditions
    agrees: bool


@dataclass(frozen=True, slots=True)
class Build:
    """When and how the outputs came to be here."""

    started: float
    seconds: float
    smoked: bool
    conditions: Conditions
    log: str
    kubewright: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of a component for one platform. ``build`` is None when it has not been built here."""

    component: str
    version: str
    platform: str
    key: str
    current: bool  # the key is that of the recipe and lock as they are now
    summary: str
    licence: str
    status: str
    build: Build | None
    sources: tuple[RecordedSource, ...]
    files: Mapping[str, str]
    modules: tuple[RecordedModule, ...]
    modules_from: Literal["build record", "list of an earlier fetch", "go.sum"]
    builder: RecordedBuilder
    dependencies: Mapping[str, str]
    steps: tuple[RecordedStep, ...]
    outputs: tuple[ExplainedOutput, ...]
    accepted: Accepted | None
    rebuilds: tuple[Rebuild, ...]
    file: str = ""  # the file that was asked for, and which output it is
    output: str = ""
    also: tuple[str, ...] = field(default=())  # other places that have the same bytes


def explain(project: Project, name: str, platform: str | None = None) -> Explanation:
    """What is known of a component. Raises UsageError, and LockOutdatedError where neither lock nor record tells of it."""
    try:
        component = project.component(name, platform)
    except LockOutdatedError:
        found = _latest(project, name, platform or project.settings.platform)
        if found is None:
            raise
        return explain_record(project, found)
    built = record.load(project.store, component.key)
    return explain_record(project, built) if built is not None else explain_lock(project, component)


def _latest(project: Project, name: str, platform: str) -> BuildRecord | None:
    records = [each for each in record.load_all(project.store) if (each.component, each.platform) == (name, platform)]
    return records[-1] if records else None


def explain_record(project: Project, built: BuildRecord) -> Explanation:
    """What a build record tells, with what recipe, digests.toml and rebuilds add."""
    recipe = project.recipes.get(built.component)
    accepted = project.digests.find(built.component, built.platform)
    return Explanation(
        component=built.component,
        version=built.version,
        platform=built.platform,
        key=built.key,
        current=current_key(project, built.component, built.platform) == built.key,
        summary=recipe.summary if recipe else "",
        licence=built.licence,
        status=recipe.status if recipe else "",
        build=Build(built.started, built.seconds, built.smoked, built.conditions, built.log, built.kubewright),
        sources=built.sources,
        files=built.files,
        modules=built.modules,
        modules_from="build record",
        builder=built.builder,
        dependencies=built.dependencies,
        steps=built.steps,
        outputs=tuple(
            ExplainedOutput(each.path, each.kind, each.sha256, each.size, _verdict(accepted, built.key, each.path, each.sha256))
            for each in built.outputs
        ),
        accepted=accepted,
        rebuilds=tuple(_rebuilds(project, built)),
    )


def explain_lock(project: Project, component: Component) -> Explanation:
    """What recipe and lock tell of a component that has not been built here."""
    recipe = component.recipe
    accepted = project.digests.find(component.name, component.platform)
    known = accepted.outputs if accepted and accepted.key == component.key else {}
    modules, modules_from = _modules(project, component)
    planned = commands(recipe, component.variables, component.platform, Setting().layout)
    return Explanation(
        component=component.name,
        version=recipe.version,
        platform=component.platform,
        key=component.key,
        current=True,
        summary=recipe.summary,
        licence=recipe.licence,
        status=recipe.status,
        build=None,
        sources=recording.recorded_sources(component),
        files={file.path: file.sha256 for file in component.locked.files},
        modules=modules,
        modules_from=modules_from,
        builder=recording.recorded_builder(component),
        dependencies=component.dependencies,
        steps=tuple(RecordedStep(each.argv, each.cwd, each.env, 0, each.stdout) for each in planned),
        outputs=tuple(
            ExplainedOutput(each.path, each.kind, known.get(each.path, ""), None, "accepted" if known else "not accepted")
            for each in recipe.outputs
        ),
        accepted=accepted,
        rebuilds=(),
    )


def current_key(project: Project, name: str, platform: str) -> str:
    """The key of a component as of now; empty for what has no recipe or no lock any more."""
    try:
        return project.component(name, platform).key
    except (UsageError, LockOutdatedError):
        return ""


def _verdict(accepted: Accepted | None, key: str, path: str, digest: str) -> Verdict:
    if accepted is None:
        return "not accepted"
    if accepted.key != key:
        return "other key"
    return "accepted" if accepted.outputs.get(path) == digest else "differs"


def _rebuilds(project: Project, built: BuildRecord) -> Iterator[Rebuild]:
    for name in project.store.refs("rebuild"):
        if name.startswith(record.key_name(built.key)):
            again = record.load(project.store, name, "rebuild")
            if again is not None and again != built:
                yield Rebuild(again.started, again.conditions, again.digests() == built.digests())


def _modules(
    project: Project, component: Component
) -> tuple[tuple[RecordedModule, ...], Literal["list of an earlier fetch", "go.sum"]]:
    known = project.store.get_json("modules", record.key_name(component.key))
    if isinstance(known, list):
        return tuple(RecordedModule(*each) for each in known), "list of an earlier fetch"
    sums = read_go_sum(project.root / "recipes" / component.name / "go.sum")
    return tuple(RecordedModule(path, version, h1) for (path, version), h1 in sorted(sums.items())), "go.sum"
