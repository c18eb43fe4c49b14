"""Build one component: inputs -> sandbox -> outputs and build record.

The store decides what is up to date; one build of a key runs at a time, and a second one waits and finds the result. A kill at
any moment loses the build in flight and nothing else.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

from kubewright import keys, record
from kubewright.building import outputs
from kubewright.building.execution import Execution, open_sandbox, plain_setting, run_smokes, run_steps
from kubewright.building.inputs import ensure_inputs
from kubewright.building.log import Log
from kubewright.building.recording import make_record
from kubewright.errors import BuildError, IrreproducibleError, OutputError, StoreCorruptError
from kubewright.project import Component, Project
from kubewright.record import BuildRecord, RecordedOutput
from kubewright.report import Progress

# -- up to date ---------------------------------------------------------------------------------------------------


def existing(project: Project, component: Component) -> BuildRecord | None:
    """The record of the component's key if the store can still give every output, else None."""
    try:
        found = record.load(project.store, component.key)
    except StoreCorruptError:
        return None  # it has been moved aside: build anew
    complete = found is not None and all(project.store.has(output.sha256) for output in found.outputs)
    return found if complete else None


def up_to_date(project: Project, component: Component) -> bool:
    """Whether there is nothing to do: a record with passed smoke checks, and every artifact in place."""
    found = existing(project, component)
    return (
        found is not None
        and found.smoke == keys.smoke_digest(component.recipe)
        and agrees(project, component, found.digests())
        and outputs.placed(project, component, found.outputs)
    )


def agrees(project: Project, component: Component, found: Mapping[str, str]) -> bool:
    """False only if digests.toml has accepted other digests for this very key."""
    accepted = project.digests.find(component.name, component.platform)
    return accepted is None or accepted.key != component.key or dict(accepted.outputs) == dict(found)


# -- building -----------------------------------------------------------------------------------------------------


def build(project: Project, component: Component, progress: Progress) -> BuildRecord:
    """Build the component unless its record is there; put its artifacts in place.

    Raises every error of inputs and sandbox, BuildError, OutputError, SmokeError, IrreproducibleError (digests.toml).
    """
    lock = f"build-{record.key_name(component.key)[:32]}"

    def waiting(holder: str) -> None:
        progress.stage("waiting")
        progress.note(f"waiting for {holder}")

    with project.store.lock(lock, f"building {component.label}", waiting=waiting):
        found = existing(project, component)
        if found is None:
            found = _build(project, component, progress)
        elif found.smoke != keys.smoke_digest(component.recipe):
            found = _smoke_again(project, component, found, progress)
        check_accepted(project, component, found.digests())
        outputs.place(project, component, found.outputs)
    return found


def check_accepted(project: Project, component: Component, found: Mapping[str, str]) -> None:
    """Raise IrreproducibleError if digests.toml has other digests for the same key."""
    if agrees(project, component, found):
        return
    entry = project.digests.find(component.name, component.platform)
    accepted = dict(entry.outputs) if entry else {}
    path = next(path for path in sorted({*accepted, *found}) if accepted.get(path) != found.get(path))
    raise IrreproducibleError(
        f"{component.label}: {path} is {found.get(path, 'missing')}, digests.toml has {accepted.get(path, 'no such output')}",
        remedy=f"the same inputs gave other bytes: `./doit rebuild:{component.task}` tells whether this machine agrees with"
        " itself; if it does, somebody else's build is to be doubted, and not accepted away",
    )


def _build(project: Project, component: Component, progress: Progress) -> BuildRecord:
    started = time.time()
    project.store.sweep()
    dependencies = dependency_outputs(project, component)
    sandbox = open_sandbox(project, project.settings.sandbox, progress)
    inputs = ensure_inputs(project, component, progress)
    log = new_log(project, component, progress)
    with project.store.scratch("build") as scratch:
        execution = Execution(project, component, inputs, sandbox, plain_setting(sandbox), scratch / "build", log)
        ran = run_steps(execution, dependencies)
        progress.stage("outputs")
        out = execution.directory / "out"
        made = outputs.collect(component.recipe, out, component.platform, project.store, scratch)
        smoked = run_smokes(execution)
        progress.stage("record")
    digest = project.store.put_file(log.path)
    found = make_record(execution, ran, made, started=started, log=digest, smoked=smoked)
    record.save(project.store, found)
    log.path.unlink(missing_ok=True)
    return found


def _smoke_again(project: Project, component: Component, found: BuildRecord, progress: Progress) -> BuildRecord:
    """The recipe's smoke checks changed since the build: run the new ones on what is there."""
    sandbox = open_sandbox(project, project.settings.sandbox, progress)
    inputs = ensure_inputs(project, component, progress)
    log = new_log(project, component, progress)
    with project.store.scratch("smoke") as scratch:
        execution = Execution(project, component, inputs, sandbox, plain_setting(sandbox), scratch / "build", log)
        for output in found.outputs:
            outputs.restore(project.store, output, execution.directory / "out" / output.path)
        smoked = run_smokes(execution)
    found = dataclasses.replace(found, smoke=keys.smoke_digest(component.recipe), smoked=smoked)
    record.save(project.store, found)
    log.path.unlink(missing_ok=True)
    return found


def new_log(project: Project, component: Component, progress: Progress) -> Log:
    """A log file of its own for every build; a failed build leaves it behind."""
    name = f"{component.name}-{component.platform.replace('/', '-')}"
    return Log.create(project.store.root / "logs", name, progress)


def dependency_outputs(project: Project, component: Component) -> dict[tuple[str, str], RecordedOutput]:
    """What the component takes from others, by (component, output): that output, or the tree that holds it.

    Raises BuildError when the other one has not been built, OutputError when it has no such output.
    """
    found = {}
    for each in component.recipe.inputs:
        other = existing(project, project.component(each.component, component.platform))
        if other is None:
            raise BuildError(
                f"{component.label} needs {each.component}, which has not been built",
                remedy=f"./doit build:{project.component(each.component, component.platform).task}",
            )
        output = next((made for made in other.outputs if outputs.holds(made, each.output)), None)
        if output is None:
            raise OutputError(
                f"{component.label} takes {each.output} of {each.component}, which has no such output",
                remedy=f"its outputs: {', '.join(other.digests())}",
            )
        found[each.component, each.output] = output
    return found
