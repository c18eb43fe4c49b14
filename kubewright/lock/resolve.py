"""Resolve versions to pins: what ``./doit lock`` writes into lockfile.toml and recipes/NAME/go.mod and go.sum.

Nothing of a source is executed. What could not be confirmed is not in the result: a commit only where a git origin was reached
and its files give the module's ``h1:``, ``sumdb`` only where the checksum database was asked.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubewright.building.facts import modules_of
from kubewright.building.inputs import ensure_toolchain, unpack_packages, where
from kubewright.building.workspace import apply_patch, lay_overlays, lay_source, named
from kubewright.errors import LockOutdatedError, NetworkError, OriginError, SignatureMissingError, TagMovedError, naming
from kubewright.fetch import gomodule
from kubewright.fetch.gomodule import GoClient, Module
from kubewright.files.digest import sha256_bytes, sha256_hex, tree_digest
from kubewright.lock import mainmodule
from kubewright.lock.sources import files_of, resolve_source
from kubewright.model.builder import Builder
from kubewright.model.lockcheck import project_files
from kubewright.model.lockfile import (
    LockedBuilder,
    LockedComponent,
    LockedFile,
    LockedSource,
    LockedToolchain,
)
from kubewright.model.recipe import Recipe, Source, has_main_module, modules_of_source, tagged
from kubewright.project import Project
from kubewright.report import Progress

if TYPE_CHECKING:
    pass

#: hosts that a toolchain is locked for
HOSTS = ("linux/amd64", "linux/arm64")


@dataclass(frozen=True, slots=True)
class Resolved:
    """New pins of a component. ``files``: path in the project -> bytes to write (go.mod, go.sum)."""

    locked: LockedComponent
    files: dict[str, bytes]


# -- builders -----------------------------------------------------------------------------------------------------


def resolve_builder(project: Project, builder: Builder, progress: Progress) -> LockedBuilder:
    """Pins of a builder: toolchains through the checksum database, packages through apt's signed indices."""
    toolchains = _toolchains(project, builder, progress) if builder.go else ()
    locked = LockedBuilder(toolchains=toolchains)
    if builder.debian:
        from kubewright.fetch import apt

        progress.stage("packages")
        architecture = project.settings.platform.split("/")[1]
        packages = apt.resolve(builder.debian.suite, builder.debian.packages, architecture)
        locked = dataclasses.replace(
            locked, suite=builder.debian.suite, requested=tuple(sorted(builder.debian.packages)), packages=tuple(packages)
        )
        with project.store.scratch("root") as scratch:
            unpack_packages(project, builder.name, locked.packages, scratch / "root", progress)
            locked = dataclasses.replace(locked, root=tree_digest(scratch / "root"))
    return locked


def _toolchains(project: Project, builder: Builder, progress: Progress) -> tuple[LockedToolchain, ...]:
    assert builder.go is not None
    client = GoClient(gomodule.bootstrap_goroot(), project.store, project.settings.retries + 1)
    pins = []
    for host in HOSTS:
        progress.stage(f"toolchain {host}")
        version = gomodule.toolchain_version(builder.go.version, host)
        found = gomodule.download(client, gomodule.TOOLCHAIN_MODULE, version)
        if not found.confirmed:
            progress.note(
                f"Go {builder.go.version} for {host}: the checksum database was off or out of reach; h1 as downloaded"
            )
        pins.append(LockedToolchain(host, builder.go.version, found.h1))
    return tuple(pins)


# -- components ---------------------------------------------------------------------------------------------------


def resolve_component(project: Project, recipe: Recipe, progress: Progress) -> Resolved:
    """Pins of a component, and its generated main module.

    Raises OriginError (tag, version or module not to be had), TagMovedError, IntegrityError (commit and module differ),
    NetworkError (no origin of a source in reach), LockOutdatedError (its builder has no lock).
    """
    old = project.lock.components.get(recipe.name)
    client = _client(project, recipe, progress)
    pins: list[LockedSource] = []
    modules: dict[str, str] = {}
    for source in recipe.sources:
        progress.stage(f"source {source.name}")
        known = next((pin for pin in old.sources if pin.name == source.name), None) if old else None
        with naming(where(recipe.name, source), NetworkError, OriginError, SignatureMissingError, TagMovedError):
            pins.append(resolve_source(project, recipe, tagged(source, modules), known, client, progress))
        if len(pins) == 1:
            modules = modules_of(recipe, source, files_of(project, pins[0]), modules_of_source(recipe))
    files = _main_module(project, recipe, pins, client, progress) if has_main_module(recipe) and client else {}
    pinned = {file.path: file for file in project_files(recipe, project.root)}
    pinned |= {path: LockedFile(path, sha256_hex(sha256_bytes(data))) for path, data in files.items()}
    locked = tuple(pinned[path] for path in sorted(pinned))
    return Resolved(LockedComponent(recipe.version, tuple(pins), locked, modules), files)


def _client(project: Project, recipe: Recipe, progress: Progress) -> GoClient | None:
    """The pinned toolchain as the go client; None for a component without Go."""
    if not any(source.form == "module" or source.module for source in recipe.sources):
        return None
    goroot = ensure_toolchain(project, project.locked_builder(recipe.builder), progress)
    if goroot is None:
        raise LockOutdatedError(
            f"recipes/{recipe.name}: Go modules need a builder with Go; {recipe.builder} has none",
            remedy="name another `builder` in the recipe",
        )
    return GoClient(goroot, project.store, project.settings.retries + 1)


# -- the generated main module ------------------------------------------------------------------------------------


def _main_module(
    project: Project, recipe: Recipe, pins: list[LockedSource], client: GoClient, progress: Progress
) -> dict[str, bytes]:
    progress.stage("main module")
    packages = [package for step in recipe.steps if step.go and not step.go.dir for package in step.go.commands.values()]
    with project.store.scratch("lock") as scratch:
        upstreams = []
        for source, pin in zip(recipe.sources, pins, strict=True):
            if source.form == "module":
                upstreams.append(_upstream(project, recipe, source, pin, scratch, client))
        lay_overlays(project, recipe, scratch)  # one may import what upstream does not
        main = scratch / "main"
        main.mkdir(exist_ok=True)
        (main / "go.mod").write_text(mainmodule.render(recipe.name, upstreams, packages), "utf-8")
        mainmodule.complete(main, client)
        selected = mainmodule.read(client, main / "go.mod")
        for path, theirs, ours in mainmodule.differences(selected, upstreams):
            progress.note(f"{path}: upstream builds with {theirs}, this component selects {ours}")
        return {f"recipes/{recipe.name}/{name}": (main / name).read_bytes() for name in ("go.mod", "go.sum")}


def _upstream(
    project: Project, recipe: Recipe, source: Source, pin: LockedSource, scratch: Path, client: GoClient
) -> mainmodule.Upstream:
    go_mod = gomodule.module_cache(project.store) / Module(pin.module, pin.version, pin.h1).directory / "go.mod"
    if not go_mod.is_file():  # modules older than go.mod files: the proxy makes one up
        go_mod = gomodule.download(client, pin.module, pin.version, check_sumdb=False).go_mod
    if source.patches:
        target = scratch / "src" / source.name
        lay_source(project.store, source, pin, None, target)
        for patch in source.patches:
            apply_patch(project.root / "patches" / recipe.name / patch.file, target, named(pin))
        go_mod = target / "go.mod"
    return mainmodule.Upstream(
        version=pin.version,
        go_mod=mainmodule.read(client, go_mod),
        replace=source.replace,
        source=source.name if source.patches else None,
    )
