"""Build again, cold and under other conditions, and compare; accept what two independent builds agree on.

A rebuild shares the inputs with the first build, and neither its outputs nor any cache. It varies what may not matter: paths,
uid, host name, CPU count, umask, locale, time zone, and the sandbox where the other is set up. The clock moves on by itself.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from kubewright import record
from kubewright.building import outputs
from kubewright.building.compare import diffoscope, explain
from kubewright.building.component import dependency_outputs, existing, new_log
from kubewright.building.execution import Execution, Setting, open_sandbox, run_steps
from kubewright.building.inputs import ensure_inputs
from kubewright.building.recording import make_record
from kubewright.building.steps import Layout
from kubewright.errors import BuildError, IrreproducibleError, SandboxError
from kubewright.model.digestsfile import FILE, Accepted, AgreedBuild, dump_digests, load_digests, with_accepted
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.sandbox import Sandbox
from kubewright.store import replace_file

_ELSEWHERE = "/var/tmp/rebuild/2nd"  # noqa: S108 - inside the sandbox

VARIED = Setting(
    layout=Layout(
        _ELSEWHERE,
        modules="/srv/go-mod",
        toolchain="/usr/lib/another-go",
        cache=Layout(_ELSEWHERE).own_cache,
        cgo_cache=Layout(_ELSEWHERE).own_cache,
    ),
    hostname="another-host",
    uid=4321,
    umask=0o077,
    cpus=1,
    locale="POSIX",
    timezone="XYZ-13:45",
    cold=True,
)


def rebuild(project: Project, component: Component, progress: Progress) -> BuildRecord:
    """Build again, varied, and compare with the first build.

    Raises BuildError when there is no first build, IrreproducibleError that names file and section that differ first.
    """
    first = existing(project, component)
    if first is None:
        raise BuildError(
            f"{component.label} has not been built here, so there is nothing to compare with",
            remedy=f"./doit build:{component.task}",
        )
    started = time.time()
    sandbox = _other_sandbox(project, first, progress)
    inputs = ensure_inputs(project, component, progress)
    log = new_log(project, component, progress)
    with project.store.scratch("rebuild") as scratch:
        execution = Execution(project, component, inputs, sandbox, VARIED, scratch / "build", log)
        ran = run_steps(execution, dependency_outputs(project, component))
        progress.stage("compare")
        out = execution.directory / "out"
        made = outputs.collect(component.recipe, out, component.platform, project.store, scratch)
        digest = project.store.put_file(log.path)
        second = make_record(execution, ran, made, started=started, log=digest, smoked=False)
        record.save(project.store, second, "rebuild", f"{record.key_name(second.key)}-{sandbox.name}-{int(started)}")
        _compare(project, component, first, second, scratch)
    log.path.unlink(missing_ok=True)
    outcome = f"{len(made)} output{'s' if len(made) > 1 else ''} identical"
    progress.note(f"{outcome}: built in {first.conditions.sandbox}, rebuilt in {second.conditions.sandbox}")
    return second


def _other_sandbox(project: Project, first: BuildRecord, progress: Progress) -> Sandbox:
    """The back end that the first build did not use, where it is set up; else the same one."""
    other = "docker" if first.conditions.sandbox == "bubblewrap" else "bubblewrap"
    try:
        return open_sandbox(project, other, progress)
    except SandboxError as error:
        progress.note(f"rebuilding in {first.conditions.sandbox}, like the first build: {error.message}")
        return open_sandbox(project, first.conditions.sandbox, progress)


def _compare(project: Project, component: Component, first: BuildRecord, second: BuildRecord, scratch: Path) -> None:
    differing = [path for path, digest in first.digests().items() if second.digests()[path] != digest]
    if not differing:
        return
    lines, report = [], None
    for path in differing:
        one, other = scratch / "first", scratch / "second"
        project.store.copy_out(first.digests()[path], one)
        project.store.copy_out(second.digests()[path], other)
        lines.append(f"{path}: {explain(one, other)}")
        report = report or diffoscope(one, other, _report_path(project, component))
    raise IrreproducibleError(
        f"{component.label}: {len(differing)} of {len(first.outputs)} outputs differ between two builds; {lines[0]}",
        remedy="find what reaches the output: time, path, order, randomness; both builds' files stay in the store"
        + (f"; diffoscope's report: {report}" if report else " (with diffoscope installed, its report is made too)"),
        details="\n".join(lines),
    )


def _report_path(project: Project, component: Component) -> Path:
    return project.store.root / "logs" / f"{component.name}-{component.platform.replace('/', '-')}.diffoscope.txt"


# -- accepting ----------------------------------------------------------------------------------------------------


def accept(project: Project, component: Component, progress: Progress) -> None:
    """Write the component's digests into digests.toml.

    Raises IrreproducibleError unless there is a rebuild beside the first build, and all builds of this key here agree.
    """
    first = existing(project, component)
    again = [each for each in record.load_all(project.store, "rebuild") if each.key == component.key]
    if first is None or not again:
        raise IrreproducibleError(
            f"{component.label}: {'one build' if first else 'no build'} here; digests.toml takes what two builds agree on",
            remedy=f"./doit build:{component.task} rebuild:{component.task}",
        )
    differing = [each for each in again if each.digests() != first.digests()]
    if differing:
        raise IrreproducibleError(
            f"{component.label}: a rebuild in {differing[0].conditions.sandbox} gave other bytes, so nothing is accepted",
            remedy=f"`./doit rebuild:{component.task}` says where they differ; what mends it in the recipe changes the key",
        )
    builds = (first, *again)
    evidence = {AgreedBuild(each.conditions.sandbox, each.conditions.cold) for each in builds}  # type: ignore[arg-type]
    ordered = tuple(sorted(evidence, key=lambda each: (each.sandbox, each.varied)))
    path = project.root / FILE
    with project.store.lock("digests", f"writing {path}"):
        old = load_digests(path)
        before = old.find(component.name, component.platform)
        entry = Accepted(component.key, first.digests(), ordered)
        if before and before.key == entry.key:  # its images are made of these very outputs
            entry = dataclasses.replace(entry, images=before.images, image_keys=before.image_keys)
        _show_change(before, entry, progress)
        replace_file(path, dump_digests(with_accepted(old, component.name, component.platform, entry)).encode())
    project.reload()


def accepted_already(project: Project, component: Component) -> bool:
    """Whether digests.toml has the component's key and this machine has no rebuild that could add to the evidence."""
    entry = project.digests.find(component.name, component.platform)
    again = any(name.startswith(record.key_name(component.key)) for name in project.store.refs("rebuild"))
    return entry is not None and entry.key == component.key and not again


def _show_change(old: Accepted | None, new: Accepted, progress: Progress) -> None:
    if old == new:
        progress.note("already accepted")
        return
    for path, digest in new.outputs.items():
        before = old.outputs.get(path) if old else None
        if before != digest:
            progress.note(f"{path}: {before or 'new'} -> {digest}")
    if old and dict(old.outputs) == dict(new.outputs):
        progress.note("same digests, " + ("new key" if old.key != new.key else "more evidence"))
