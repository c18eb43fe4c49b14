"""``kubewright plan``: every stage of a build, with each input's pin, each command and each expected output. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kubewright.building import steps
from kubewright.errors import NeverLockedError
from kubewright.model.lockfile import LockedSource
from kubewright.model.settings import host_platform
from kubewright.model.template import expand
from kubewright.project import Component, Project
from kubewright.record import key_name
from kubewright.views.text import count, indented, labelled, shell, table
from kubewright.views.why_text import environment, redirected


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """Something that has to be there first. ``pin`` is what it is compared with; ``origin`` says where it would come from."""

    stage: str
    name: str
    pin: str
    origin: str


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """What is laid into the build directory: ``what`` to ``path`` (below /build)."""

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class PlannedCommand:
    """A command in the sandbox. ``expect``: texts that a smoke check has to print; ``status`` what it has to end with;
    ``stdout``: the file below /build that its standard output becomes."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    expect: tuple[str, ...] = ()
    status: int = 0
    stdout: str = ""


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """``accepted``: its digest in digests.toml under this key, or empty."""

    path: str
    kind: str
    accepted: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How one component is built. ``recorded``: the store has a build record of this key, so nothing would be built.

    Without a lock there is no ``key`` and no pin, and variables that the lock gives stand in braces.
    """

    component: str
    version: str
    platform: str
    key: str
    sandbox: str
    recorded: bool
    inputs: tuple[PlannedInput, ...]
    layout: tuple[PlannedFile, ...]
    commands: tuple[PlannedCommand, ...]
    outputs: tuple[PlannedOutput, ...]
    smokes: tuple[PlannedCommand, ...]


def make_plans(project: Project, names: Iterable[str], platform: str | None) -> list[Plan]:
    """The components and all that they need, each after what it needs; those that have no lock as far as their recipe tells."""
    found: dict[str, Plan] = {}
    for name in names:
        try:
            components = project.in_order([name], platform)
        except NeverLockedError:
            recipe = project.recipe(name)
            above = [each.component for each in recipe.inputs]
            found |= {plan.component: plan for plan in make_plans(project, above, platform)}
            components = [project.as_if_locked(name, platform)]
        for component in components:
            found.setdefault(component.name, make_plan(project, component))
    return list(found.values())


def make_plan(project: Project, component: Component) -> Plan:
    """Pure but for one look into the store; raises RecipeError for a variable that go.mod does not give."""
    recipe, layout = component.recipe, steps.Layout()
    planned = steps.commands(recipe, component.variables, component.platform, layout)
    accepted = project.digests.find(component.name, component.platform)
    digests = accepted.outputs if accepted and accepted.key == component.key else {}
    return Plan(
        component=component.name,
        version=recipe.version,
        platform=component.platform,
        key=component.key,
        sandbox=project.settings.sandbox,
        recorded=bool(component.key) and project.store.ref("record", key_name(component.key)) is not None,
        inputs=tuple(_inputs(component)),
        layout=tuple(_layout(component)),
        commands=tuple(PlannedCommand(each.argv, each.cwd, each.env, stdout=each.stdout) for each in planned),
        outputs=tuple(PlannedOutput(each.path, each.kind, digests.get(each.path, "")) for each in recipe.outputs),
        smokes=tuple(_smokes(component, layout)),
    )


def _inputs(component: Component) -> Iterator[PlannedInput]:
    locked = component.locked_builder
    host = host_platform()
    for toolchain in locked.toolchains:
        if toolchain.platform == host:
            yield PlannedInput("toolchain", f"Go {toolchain.version} for {host}", toolchain.h1, "golang.org/toolchain")
    for package in locked.packages:
        yield PlannedInput("packages", f"{package.name} {package.version}", f"sha256:{package.sha256}", package.path)
    if locked.root:
        yield PlannedInput("packages", "root file system", locked.root, "the packages, unpacked")
    for source, pin in zip(component.recipe.sources, component.locked.sources, strict=True):
        yield PlannedInput("source", source.name, _pin(pin), _origin(pin))
    sums = f"recipes/{component.name}/go.sum"
    for file in component.locked.files:
        if file.path == sums:
            yield PlannedInput("modules", "every module of the commands", f"sha256:{file.sha256}", sums)


def _pin(pin: LockedSource) -> str:
    return f"sha256:{pin.sha256}" if pin.sha256 else pin.h1 or "not locked"


def _origin(pin: LockedSource) -> str:
    if pin.form == "module":
        return f"{pin.module} {pin.version}"
    commit = f" {pin.commit}" if pin.commit else ""
    return f"{pin.git}{commit} ({pin.tag or f'branch {pin.branch}'})" if pin.form == "tree" else pin.url


def _layout(component: Component) -> Iterator[PlannedFile]:
    recipe = component.recipe
    digests = {file.path: file.sha256 for file in component.locked.files}
    for source in recipe.sources:
        if source.form != "module" or source.unpack:
            yield PlannedFile(f"src/{source.name}", f"source {source.name}")
        for patch in source.patches:
            digest = digests[f"patches/{component.name}/{patch.file}"]
            yield PlannedFile(f"src/{source.name}", f"patch {patch.file} (sha256:{digest}): {patch.reason}")
    if f"recipes/{component.name}/go.mod" in digests:
        yield PlannedFile("main", f"go.mod and go.sum of recipes/{component.name}")
    for overlay in recipe.overlays:
        yield PlannedFile(overlay.to, f"recipes/{component.name}/{overlay.from_}")
    for each in recipe.inputs:
        key = component.dependencies[each.component] or "none: not locked"
        yield PlannedFile(each.to, f"{each.output} of {each.component} (key {key})")
    yield from _packages_and_links(component)


def _packages_and_links(component: Component) -> Iterator[PlannedFile]:
    recipe = component.recipe
    versions = {package.name: package.version for package in component.locked_builder.packages}
    for package in recipe.packages:
        for name, paths in package.files.items():
            for path in paths:
                yield PlannedFile(f"{package.to}/{path}", f"of the package {name} {versions.get(name, '(not locked)')}")
    for path, leads_to in recipe.links.items():
        yield PlannedFile(path, f"link to {leads_to}")


def _smokes(component: Component, layout: steps.Layout) -> Iterator[PlannedCommand]:
    for smoke in component.recipe.smokes:
        command = steps.smoke_command(smoke, component.variables, layout)
        expect = tuple(expand(each, component.variables) for each in smoke.expect)
        yield PlannedCommand(command.argv, command.cwd, command.env, expect, smoke.status)


# -- as text ------------------------------------------------------------------------------------------------------


def as_text(plan: Plan) -> str:
    """The stages in the order in which a build goes through them."""
    pairs = [("key", plan.key), ("state", _state(plan)), ("sandbox", plan.sandbox)]
    elsewhere = "" if plan.platform == host_platform() else f" (not run on {host_platform()})"
    parts = [
        f"{plan.component} {plan.version} {plan.platform}\n{labelled(pairs, '  ')}",
        "inputs, each compared with its pin\n" + _table(("stage", "input", "pin", "origin"), _input_rows(plan)),
        *(["laid into the build directory\n" + _table(("path", "what"), _layout_rows(plan))] if plan.layout else []),
        *(_command(f"step {number}", command) for number, command in enumerate(plan.commands, 1)),
        "outputs\n" + _table(("path", "kind", "expected digest"), _output_rows(plan)),
        *(_command(f"smoke check {number}{elsewhere}", command) for number, command in enumerate(plan.smokes, 1)),
    ]
    return "\n\n".join(parts) + "\n"


def _state(plan: Plan) -> str:
    if not plan.key:
        return f"not locked: ./doit lock:{plan.component} finds the pins, and what stands in braces here"
    return "in the store: a build would do nothing but check it" if plan.recorded else "not in the store: would be built"


def _table(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    return table(header, lines, "  ")


def _input_rows(plan: Plan) -> list[tuple[str, ...]]:
    return [(each.stage, each.name, each.pin, each.origin) for each in plan.inputs]


def _layout_rows(plan: Plan) -> list[tuple[str, ...]]:
    return [(each.path, each.what) for each in plan.layout]


def _output_rows(plan: Plan) -> list[tuple[str, ...]]:
    return [(each.path, each.kind, each.accepted or "any: not accepted for this key yet") for each in plan.outputs]


def _command(title: str, command: PlannedCommand) -> str:
    lines = [f"{title} in {command.cwd}", indented(shell(command.argv)) + redirected(command.stdout), environment(command.env)]
    if command.expect:
        lines.append(labelled([("expects", "\n".join(command.expect))], "    "))
    if command.status:
        lines.append(f"    status {command.status}")
    return "\n".join(lines)


def summary(plans: list[Plan]) -> str:
    """One line for many: what there would be to do."""
    to_build = [plan for plan in plans if not plan.recorded]
    steps_to_run = sum(len(plan.commands) for plan in to_build)
    stored = len(plans) - len(to_build)
    work = f"{len(to_build)} to build in {count(steps_to_run, 'step')}"
    return f"{count(len(plans), 'component')}: {work}, {stored} in the store\n"
