"""Bring a component's inputs into the store, or prove that they are there: toolchain, root file system, sources, modules.

Everything is compared with the lock by hashing it, whether it was fetched now or a year ago.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubewright import keys
from kubewright.building import mirrored
from kubewright.building.steps import Layout, go_environment
from kubewright.errors import (
    IntegrityError,
    LockOutdatedError,
    NetworkError,
    OriginError,
    StoreCorruptError,
    TagMovedError,
    naming,
)
from kubewright.fetch import gomodule
from kubewright.fetch.gomodule import GoClient, Module
from kubewright.fetch.http import redact
from kubewright.files.digest import tree_digest
from kubewright.model.lockfile import LockedBuilder, LockedPackage, LockedSource
from kubewright.model.recipe import GoStep, Source
from kubewright.model.settings import host_platform
from kubewright.project import Component, Project
from kubewright.report import Meter, Progress

#: the builder that holds the default sandbox itself
BUBBLEWRAP = "bubblewrap"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where a component's verified inputs lie. ``trees``: source name -> files (forms tree and archive)."""

    goroot: Path | None
    root: Path | None
    modules: tuple[Module, ...]
    trees: Mapping[str, Path]


def ensure_inputs(project: Project, component: Component, progress: Progress) -> Inputs:
    """Fetch what is absent, verify everything. Raises the errors of ``kubewright.fetch`` and StoreCorruptError."""
    goroot = ensure_toolchain(project, component.locked_builder, progress)
    root = ensure_root(project, component.recipe.builder, component.locked_builder, progress)
    taken = {name for each in component.recipe.packages for name in each.files}
    wanted = [package for package in component.locked_builder.packages if package.name in taken]
    ensure_packages(project, component.recipe.builder, wanted, progress)
    trees = {}
    for source, pin in zip(component.recipe.sources, component.locked.sources, strict=True):
        if source.form != "module":
            with naming(where(component.name, source), NetworkError, OriginError, TagMovedError):
                trees[source.name] = _ensure_tree(project, source, pin, progress)
    modules = _ensure_modules(project, component, goroot, trees, progress)
    return Inputs(goroot, root, modules, trees)


# -- builders -----------------------------------------------------------------------------------------------------


def ensure_toolchain(project: Project, builder: LockedBuilder, progress: Progress) -> Path | None:
    """GOROOT of the builder's toolchain for this machine, verified; None for a builder without Go."""
    if not builder.toolchains:
        return None
    host = host_platform()
    pin = next((pin for pin in builder.toolchains if pin.platform == host), None)
    if pin is None:
        raise LockOutdatedError(f"the lock has no Go toolchain for this machine ({host})", remedy="./doit lock:go")
    progress.stage("toolchain")
    return mirrored.ensure_toolchain(project, host, pin.version, pin.h1)


def root_name(builder: LockedBuilder) -> str:
    """The store's name of an unpacked root: by what was locked, so that two locks never share one."""
    return "root-" + keys.builder_digest(builder).removeprefix("sha256:")[:24]


def ensure_root(project: Project, name: str, builder: LockedBuilder, progress: Progress) -> Path | None:
    """The unpacked, verified root file system of a builder; None where it has no packages."""
    if not builder.packages:
        return None
    store, tree = project.store, root_name(builder)
    fresh = not store.tree(tree).is_dir()
    if fresh:
        progress.stage(f"packages of {name}")
        store.add_tree(
            tree,
            lambda target: unpack_packages(project, name, builder.packages, target, progress),
            f"unpacking the packages of {name}",
            lambda holder: progress.update(f"waiting for {holder}"),
        )
    found = tree_digest(store.tree(tree))
    if builder.root and found != builder.root:
        store.drop_tree(tree)
        what = f"the unpacked root of builder {name} has {found}, the lock says {builder.root}"
        if fresh:
            raise IntegrityError(what, remedy=f"its packages are those of the lock, so the lock is wrong: ./doit lock:{name}")
        raise StoreCorruptError(what, remedy="it has been removed; run the command again to unpack it anew")
    return store.tree(tree)


def unpack_packages(project: Project, name: str, packages: tuple[LockedPackage, ...], target: Path, progress: Progress) -> None:
    """Fetch the locked packages that the store does not have, and unpack all of them into the new directory ``target``."""
    from kubewright.files.deb import unpack_root

    store = project.store
    ensure_packages(project, name, packages, progress)
    with store.scratch("debs") as scratch:
        debs = []
        for package in packages:
            deb = scratch / Path(package.path).name
            store.copy_out(f"sha256:{package.sha256}", deb)
            debs.append(deb)
        unpack_root(debs, target)


def ensure_packages(project: Project, name: str, packages: Sequence[LockedPackage], progress: Progress) -> None:
    """Fetch those of builder ``name``'s locked packages that the store does not have."""
    missing = [package for package in packages if not project.store.has(f"sha256:{package.sha256}")]
    if missing:
        download_packages(project, name, missing, progress)


def download_packages(project: Project, name: str, packages: Sequence[LockedPackage], progress: Progress) -> None:
    """Bring packages of the builder ``name`` into the store."""
    from kubewright.fetch import deb

    archives = mirrored.package_archives(project)
    meter = Meter(progress, f"{len(packages)} packages")
    with project.store.scratch("fetch") as scratch, mirrored.naming(project):
        deb.download_packages(
            packages,
            archives,
            scratch,
            builder=name,
            retries=project.settings.retries,
            progress=meter.at,
            keep=lambda package, path: project.store.put_file(path, f"sha256:{package.sha256}"),
        )


# -- sources ------------------------------------------------------------------------------------------------------


def where(component: str, source: Source) -> str:
    """How a failure names a source of a recipe."""
    return f"recipes/{component}/recipe.toml: source {source.name}"


def tree_name(pin: LockedSource, strip: int) -> str:
    """The store's name of a source's files; ``strip`` is the recipe's, and counts for archives."""
    return f"source-{pin.form}-{pin.sha256}" + (f"-{strip}" if pin.form == "archive" else "")


def _ensure_tree(project: Project, source: Source, pin: LockedSource, progress: Progress) -> Path:
    progress.stage(f"source {source.name}")
    name = tree_name(pin, source.strip)
    fill = _fill_from_git if pin.form == "tree" else _fill_from_archive
    if pin.form == "archive" and project.store.ref("unpacked", name) is None:
        project.store.drop_tree(name)
    fresh = not project.store.tree(name).is_dir()
    tree = project.store.add_tree(
        name,
        lambda target: fill(project, source, pin, target, progress),
        f"fetching {source.name}",
        lambda holder: progress.update(f"waiting for {holder}"),
    )
    found = tree_digest(tree)
    # the lock pins an archive, not what comes out of it: that was noted when it did
    expected = f"sha256:{pin.sha256}" if pin.form == "tree" else project.store.ref("unpacked", name)
    if found != expected:
        project.store.drop_tree(name)
        kind = IntegrityError if fresh else StoreCorruptError
        raise kind(
            f"source {source.name} {pin.commit or redact(pin.url)} has {found}, not {expected}",
            remedy="it has been removed from the store. If a fresh fetch differs again, the origin is not what was locked",
        )
    return tree


def _fill_from_git(project: Project, source: Source, pin: LockedSource, target: Path, progress: Progress) -> None:
    from kubewright.fetch import git, gitfetch

    meter = Meter(progress, f"git {source.name}")
    with project.store.scratch("mirror") as scratch:

        def instead(url: str) -> str:
            folder = scratch / git.repository_name(url)
            folder.mkdir()
            return mirrored.bring_git(project, url, folder, progress)

        gitfetch.fill(
            project,
            pin.git,
            pin.commit,
            gitfetch.ref_of(pin.tag, pin.branch),
            target,
            tree=pin.tree,
            submodules=bool(pin.submodules),
            instead=instead,
            progress=lambda done: meter.at(source.name, done, None),
        )


def _fill_from_archive(project: Project, source: Source, pin: LockedSource, target: Path, progress: Progress) -> None:
    from kubewright.fetch import archive

    ensure_archive(project, pin, progress)
    with project.store.scratch("archive") as scratch:
        path = scratch / archive.file_name(pin.url)
        project.store.copy_out(f"sha256:{pin.sha256}", path)
        archive.extract(path, target, strip=source.strip)
    project.store.set_ref("unpacked", tree_name(pin, source.strip), tree_digest(target))


def ensure_archive(project: Project, pin: LockedSource, progress: Progress) -> None:
    """Bring an archive into the store, as it is."""
    from kubewright.fetch import archive, http

    digest = f"sha256:{pin.sha256}"
    if project.store.has(digest):
        return
    meter = Meter(progress, f"archive {pin.name}")
    with project.store.scratch("fetch") as scratch, mirrored.naming(project):
        path = scratch / archive.file_name(pin.url)
        http.download(
            mirrored.archive_urls(project, pin),
            sha256=pin.sha256,
            size=pin.size,
            target=path,
            progress=lambda done, total: meter.at(pin.name, done, total),
            retries=project.settings.retries,
        )
        project.store.put_file(path, digest)


# -- modules ------------------------------------------------------------------------------------------------------


def _ensure_modules(
    project: Project, component: Component, goroot: Path | None, trees: Mapping[str, Path], progress: Progress
) -> tuple[Module, ...]:
    go_mod_h1 = {
        Module(pin.module, pin.version, pin.h1): pin.go_mod_h1
        for source, pin in zip(component.recipe.sources, component.locked.sources, strict=True)
        if source.form == "module" and source.unpack
    }
    unpacked = list(go_mod_h1)
    go_steps = [step.go for step in component.recipe.steps if step.go is not None and step.go.mod == "readonly"]
    if goroot is None or not (unpacked or go_steps):
        return ()
    progress.stage("modules")
    client = mirrored.client(project, goroot)
    downloads = _count(progress)
    for module in unpacked:
        if not gomodule.extracted(project.store, module):
            mirrored.bring_pinned(project, module, go_mod_h1[module], downloads)
            gomodule.download(client, module.path, module.version, check_sumdb=False)
            gomodule.verify(project.store, [module], just_fetched=True)
    modules = set(unpacked)
    if go_steps:
        gomodule.verify(project.store, unpacked)  # listing reads them
        modules |= set(_listed_modules(project, component, client, go_steps, trees, downloads))
    progress.update(f"hashing {len(modules)} modules")
    gomodule.verify(project.store, sorted(modules))
    return tuple(sorted(modules))


def _count(progress: Progress) -> Callable[[str], None]:
    seen: list[str] = []

    def download(text: str) -> None:
        seen.append(text)
        progress.update(f"{len(seen)} modules fetched, {text}")

    return download


def _listed_modules(
    project: Project,
    component: Component,
    client: GoClient,
    go_steps: list[GoStep],
    trees: Mapping[str, Path],
    on_download: Callable[[str], None],
) -> list[Module]:
    """The modules of all go steps: from the list kept in the store, or from the go client where one is absent."""
    store = project.store
    known = store.get_json("modules", keys_name(component))
    if isinstance(known, list):
        modules = [Module(*each) for each in known]
        if all(gomodule.extracted(store, module) for module in modules):
            return modules
    found: set[Module] = set()
    with store.scratch("modules") as scratch:
        from kubewright.building.workspace import lay_sources

        lay_sources(project, component, trees, scratch)
        for step in go_steps:
            env = go_environment(step, component.platform, Layout())
            env = {name: env[name] for name in ("CGO_ENABLED", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT")}
            packages = list(step.commands.values())
            directory = scratch / (step.dir or "main")
            mirrored.bring_sums(project, directory / "go.sum", on_download)
            with _naming(component, step):
                found |= set(gomodule.list_modules(client, directory, packages, step.tags, env, on_download, tests=step.test))
    store.put_json("modules", keys_name(component), [[module.path, module.version, module.h1] for module in sorted(found)])
    return sorted(found)


@contextmanager
def _naming(component: Component, step: GoStep) -> Iterator[None]:
    """Say of which component a go.mod is that does not cover what is built."""
    try:
        yield
    except LockOutdatedError as error:
        where = step.dir or f"recipes/{component.name}"
        raise LockOutdatedError(
            f"{where}: {error.message}", remedy=f"./doit lock:{component.name}", details=error.details
        ) from None


def keys_name(component: Component) -> str:
    """How the store calls what belongs to one component's key."""
    return component.key.removeprefix("sha256:")


def clear_go_list_cache(project: Project) -> None:
    """Drop what the go client keeps for listing packages: it is cheap to make again."""
    shutil.rmtree(project.store.root / "go" / "list-cache", ignore_errors=True)
