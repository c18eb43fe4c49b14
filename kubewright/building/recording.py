"""Make the build record of a finished build: pure functions of what is known when it ends."""

from __future__ import annotations

import os
import time

from kubewright import __version__, keys
from kubewright.building.execution import Execution, Ran
from kubewright.model.recipe import tagged
from kubewright.model.settings import host_platform
from kubewright.project import Component
from kubewright.record import (
    BuildRecord,
    Conditions,
    RecordedBuilder,
    RecordedModule,
    RecordedOutput,
    RecordedPackage,
    RecordedPatch,
    RecordedSource,
)


def make_record(
    execution: Execution, ran: Ran, made: tuple[RecordedOutput, ...], *, started: float, log: str, smoked: bool
) -> BuildRecord:
    """Everything that ``why`` shows and provenance states. ``started``: seconds since 1970; ``log``: digest in the store."""
    component = execution.component
    return BuildRecord(
        component=component.name,
        version=component.recipe.version,
        platform=component.platform,
        key=component.key,
        licence=component.recipe.licence,
        sources=recorded_sources(component),
        files={file.path: file.sha256 for file in component.locked.files},
        modules=tuple(RecordedModule(module.path, module.version, module.h1) for module in execution.inputs.modules),
        builder=recorded_builder(component),
        dependencies=dict(component.dependencies),
        steps=ran.steps,
        outputs=made,
        conditions=_conditions(execution, ran.enforced),
        smoke=keys.smoke_digest(component.recipe),
        smoked=smoked,
        started=round(started, 3),
        seconds=round(time.time() - started, 3),
        log=log,
        kubewright=__version__,
    )


def recorded_sources(component: Component) -> tuple[RecordedSource, ...]:
    digests = {file.path: file.sha256 for file in component.locked.files}
    recorded = []
    for source, pin in zip(component.recipe.sources, component.locked.sources, strict=True):
        patches = tuple(
            RecordedPatch(patch.file, patch.reason, digests[f"patches/{component.name}/{patch.file}"])
            for patch in source.patches
        )
        recorded.append(
            RecordedSource(
                name=source.name,
                form=source.form,
                source_date=pin.source_date,
                module=pin.module,
                version=pin.version,
                h1=pin.h1,
                sumdb=pin.sumdb,
                git=pin.git or source.git,
                tag=pin.tag or ("" if pin.branch else tagged(source, component.locked.modules).tag),
                branch=pin.branch,
                tag_object=pin.tag_object,
                signer=pin.signer,
                commit=pin.commit,
                commit_hint="" if pin.commit else source.commit_hint,
                tree=pin.tree,
                url=pin.url,
                sha256=pin.sha256,
                patches=patches,
            )
        )
    return tuple(recorded)


def recorded_builder(component: Component) -> RecordedBuilder:
    locked = component.locked_builder
    laid: dict[str, tuple[str, ...]] = {}
    for each in component.recipe.packages:
        for name, paths in each.files.items():
            laid[name] = (*laid.get(name, ()), *paths)
    toolchain = next((pin for pin in locked.toolchains if pin.platform == host_platform()), None)
    return RecordedBuilder(
        name=component.recipe.builder,
        digest=keys.builder_digest(locked),
        host=host_platform(),
        go=toolchain.version if toolchain else "",
        go_h1=toolchain.h1 if toolchain else "",
        root=locked.root,
        packages=tuple(
            RecordedPackage(each.name, each.version, each.architecture, each.sha256, laid.get(each.name, ()))
            for each in locked.packages
        ),
    )


def _conditions(execution: Execution, enforced: tuple[str, ...]) -> Conditions:
    setting = execution.setting
    return Conditions(
        sandbox=execution.sandbox.name,
        build_path=setting.layout.build,
        hostname=setting.hostname,
        uid=setting.uid,
        umask=setting.umask,
        cpus=setting.cpus or len(os.sched_getaffinity(0)),
        locale=setting.locale,
        timezone=setting.timezone,
        cold=setting.cold,
        enforced=enforced,
    )
