"""Run a component's steps and smoke checks in a sandbox: plans from ``steps`` meet files from ``workspace``."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubewright import keys
from kubewright.building.cgocache import kept_cache
from kubewright.building.inputs import BUBBLEWRAP, Inputs, ensure_root
from kubewright.building.log import Log, reason
from kubewright.building.outputs import inside
from kubewright.building.steps import GO_OUT, Command, Layout, commands, smoke_command
from kubewright.building.workspace import lay_out
from kubewright.disk import refusal, writing
from kubewright.errors import BuildError, KubewrightError, OutputError, SandboxError, SmokeError
from kubewright.fetch.gomodule import module_cache
from kubewright.files.digest import sha256_file, sha256_hex
from kubewright.model.recipe import Smoke
from kubewright.model.settings import host_platform
from kubewright.model.template import expand
from kubewright.project import Component, Project
from kubewright.record import RecordedOutput, RecordedStep
from kubewright.report import Progress
from kubewright.sandbox import Limits, Mount, Result, Sandbox, Spec


@dataclass(frozen=True, slots=True)
class Setting:
    """The conditions that a build runs under: fixed for builds, varied by rebuilds."""

    layout: Layout = Layout()  # noqa: RUF009 - frozen
    hostname: str = "kubewright"
    uid: int = 1000
    umask: int = 0o022
    cpus: int | None = None
    locale: str = "C.UTF-8"
    timezone: str = "UTC"
    cold: bool = False


@dataclass(frozen=True, slots=True)
class Execution:
    """One build in one sandbox; ``directory`` is its build directory on the host."""

    project: Project
    component: Component
    inputs: Inputs
    sandbox: Sandbox
    setting: Setting
    directory: Path
    log: Log


@dataclass(frozen=True, slots=True)
class Ran:
    """What was run, and which limits the machine let us enforce."""

    steps: tuple[RecordedStep, ...]
    enforced: tuple[str, ...]


def plain_setting(sandbox: Sandbox) -> Setting:
    """How builds run. Compile caches are kept in bubblewrap alone, where files keep one owner."""
    own = Layout().own_cache
    return Setting() if sandbox.name == BUBBLEWRAP else Setting(layout=Layout(cache=own, cgo_cache=own))


def open_sandbox(project: Project, name: str, progress: Progress) -> Sandbox:
    """The back end called ``name``, ready to run. Raises SandboxError with the reason and the remedy."""
    from kubewright.sandbox.bubblewrap import Bubblewrap
    from kubewright.sandbox.docker import Docker

    sandbox: Sandbox
    if name == BUBBLEWRAP:
        sandbox = Bubblewrap(ensure_root(project, BUBBLEWRAP, project.locked_builder(BUBBLEWRAP), progress))
    else:
        sandbox = Docker()
    reason = sandbox.usable()
    if reason is not None:
        raise SandboxError(f"the sandbox {name} cannot be used here: {reason}")
    return sandbox


# -- steps --------------------------------------------------------------------------------------------------------


def run_steps(execution: Execution, dependencies: Mapping[tuple[str, str], RecordedOutput]) -> Ran:
    """Lay out the build directory and run every step.

    ``dependencies``: what is taken from other components, by (component, output). Raises BuildError with the
    end of the log, OutputError, SandboxError, TimeLimitError, PatchError.
    """
    component, log = execution.component, execution.log
    log.progress.stage("sources")
    execution.directory.mkdir()
    inputs = execution.inputs
    lay_out(execution.project, component, inputs.trees, inputs.root, dependencies, execution.directory)
    planned = commands(component.recipe, component.variables, component.platform, execution.setting.layout)
    recorded: list[RecordedStep] = []
    enforced: tuple[str, ...] = ("time",)
    for number, plan in enumerate(planned, 1):
        log.progress.stage("build" if len(planned) == 1 else f"build {number}/{len(planned)}")
        command = _with_digests(execution, plan)
        log.say(f"step {number}: {' '.join(command.argv)}")
        spec = make_spec(execution, command)
        result = _run(execution, spec, command.stdout)
        if result.status:
            raise _step_failed(execution, number, command, result.status)
        enforced = result.enforced
        _rename_programs(execution, command)
        recorded.append(RecordedStep(command.argv, command.cwd, dict(spec.env), round(result.seconds, 3), command.stdout))
    return Ran(tuple(recorded), enforced)


def _run(execution: Execution, spec: Spec, stdout: str) -> Result:
    """Run one step. Its standard output becomes the file ``stdout``, where that is asked for, once the step has succeeded."""
    if not stdout:
        return execution.sandbox.run(spec, execution.log.take)
    beside = execution.directory.with_name("stdout")  # out of the step's reach
    with beside.open("wb") as file:

        def take(data: bytes) -> None:
            with writing(beside.parent):
                file.write(data)

        result = execution.sandbox.run(spec, execution.log.take, take)
    if not result.status:
        target = inside(execution.directory, stdout)
        if target.exists():
            raise OutputError(
                f"{execution.component.label}: {stdout} is there already when a step's standard output is to become it",
                remedy="correct `stdout` of the step in the recipe",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.chmod(0o644)
        beside.rename(target)
    return result


def _with_digests(execution: Execution, command: Command) -> Command:
    """The command with the digests of files that earlier steps made."""
    argv = command.argv
    for placeholder, path in command.digests.items():
        file = inside(execution.directory, path)
        if not file.is_file():
            raise OutputError(
                f"{execution.component.label}: {{sha256:{path}}}: no step has made this file",
                remedy=f"correct the path, or the order of the steps, in recipes/{execution.component.name}/recipe.toml",
            )
        digest = sha256_hex(sha256_file(file))
        argv = tuple(word.replace(placeholder, digest) for word in argv)
    return dataclasses.replace(command, argv=argv)


def _step_failed(execution: Execution, number: int, command: Command, status: int) -> KubewrightError:
    full = refusal(execution.log.tail(), execution.directory)
    if full is not None and shutil.disk_usage(execution.directory).free < 1 << 20:
        return full
    what, tail = " ".join(command.argv[:2]), execution.log.tail()
    return BuildError(
        f"{execution.component.label}: step {number} ({what} ...) ended with status {status};"
        f" the whole log: {execution.log.path}",
        remedy=f"{reason(tail)}: correct step[{number - 1}] in recipes/{execution.component.name}/recipe.toml, or its inputs",
        details=tail,
    )


def _shared_cache(execution: Execution) -> Path:
    """The compile cache that pure go steps of one builder share."""
    environment = keys.builder_digest(execution.component.locked_builder).removeprefix("sha256:")[:24]
    cache = execution.project.store.root / "go" / "build-cache" / environment
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def make_spec(execution: Execution, command: Command) -> Spec:
    """The command as the sandbox takes it."""
    inputs, setting, settings = execution.inputs, execution.setting, execution.project.settings
    layout = setting.layout
    mounts = []
    env = {**command.env, "LC_ALL": setting.locale, "TZ": setting.timezone}
    if inputs.goroot is not None:
        mounts += [Mount(inputs.goroot, layout.toolchain), Mount(module_cache(execution.project.store), layout.modules)]
    if env.get("GOCACHE") == layout.cache != layout.own_cache:
        mounts.append(Mount(_shared_cache(execution), layout.cache, writable=True))
    elif env.get("GOCACHE") == layout.cgo_cache != layout.own_cache:
        kept = kept_cache(execution.project, execution.component, inputs, command, execution.directory)
        mounts += [Mount(kept, layout.cgo_cache, writable=True)] if kept else []
        env["GOCACHE"] = layout.cgo_cache if kept else layout.own_cache
    return Spec(
        argv=command.argv,
        build=execution.directory,
        env=env,
        root=inputs.root,
        root_digest=execution.component.locked_builder.root or None,
        mounts=tuple(mounts),
        at=layout.build,
        cwd=command.cwd,
        hostname=setting.hostname,
        uid=setting.uid,
        gid=setting.uid,
        umask=setting.umask,
        cpus=setting.cpus,
        limits=Limits(seconds=settings.time_limit, memory=settings.memory),
    )


def _rename_programs(execution: Execution, command: Command) -> None:
    for default, name in command.renames.items():
        made, target = inside(execution.directory / GO_OUT, default), inside(execution.directory / "out", name)
        if not made.is_file():
            raise OutputError(
                f"{execution.component.label}: go build left no {default}",
                remedy="name a main package in go.commands of the recipe",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)


# -- smoke checks -------------------------------------------------------------------------------------------------


def run_smokes(execution: Execution) -> bool:
    """Run the recipe's smoke checks; returns False where this machine cannot run the platform. Raises SmokeError."""
    if execution.component.platform != host_platform():
        return False
    execution.log.progress.stage("smoke")
    for smoke in execution.component.recipe.smokes:
        _run_smoke(execution, smoke)
    return True


def _run_smoke(execution: Execution, smoke: Smoke) -> None:
    component, log = execution.component, execution.log
    command = smoke_command(smoke, component.variables, execution.setting.layout)
    log.say(f"smoke: {' '.join(command.argv)}")
    said = bytearray()

    def output(data: bytes) -> None:
        log.take(data)
        said.extend(data[: max(0, 1_000_000 - len(said))])

    result = execution.sandbox.run(make_spec(execution, command), output)
    text = said.decode("utf-8", "replace")
    missing = [word for word in (expand(each, component.variables) for each in smoke.expect) if word not in text]
    if result.status != smoke.status or missing:
        reason = f"does not say {missing[0]!r}" if missing else f"ended with status {result.status}, not {smoke.status}"
        raise SmokeError(
            f"{component.label}: `{' '.join(smoke.run)}` {reason}; the whole log: {log.path}",
            remedy="what was built does not behave as the recipe says: correct its flags, or the [[smoke]] check",
            details=text[-2000:],
        )
