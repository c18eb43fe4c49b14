"""Resolve versions to pins: what ``./doit lock`` writes into lockfile.toml and recipes/NAME/go.mod and go.sum.

Nothing of a source is executed. What could not be confirmed is not in the result: a commit only where a git origin was reached
and its files give the module's ``h1:``, ``sumdb`` only where the checksum database was asked.
"""

from __future__ import annotations

import calendar
import dataclasses
import re
import time
from dataclasses import dataclass
from pathlib import Path

from kubewright.building.inputs import ensure_toolchain, unpack_packages
from kubewright.building.workspace import apply_patch, lay_overlays, lay_source
from kubewright.errors import IntegrityError, LockOutdatedError, NetworkError, OriginError, TagMovedError
from kubewright.fetch import gomodule
from kubewright.fetch.gomodule import Download, GoClient, Module
from kubewright.files.digest import sha256_bytes, sha256_hex, tree_digest
from kubewright.files.modulezip import module_h1
from kubewright.lock import mainmodule
from kubewright.model.builder import Builder
from kubewright.model.lockcheck import project_files
from kubewright.model.lockfile import LockedBuilder, LockedComponent, LockedFile, LockedSource, LockedToolchain
from kubewright.model.recipe import Recipe, Source, has_main_module
from kubewright.project import Project
from kubewright.report import Meter, Progress

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
    pins = []
    for source in recipe.sources:
        progress.stage(f"source {source.name}")
        known = next((pin for pin in old.sources if pin.name == source.name), None) if old else None
        resolve = {"module": _resolve_module, "tree": _resolve_tree, "archive": _resolve_archive}[source.form]
        pins.append(resolve(project, source, known, client, progress))
    files = _main_module(project, recipe, pins, client, progress) if has_main_module(recipe) and client else {}
    pinned = {file.path: file for file in project_files(recipe, project.root)}
    pinned |= {path: LockedFile(path, sha256_hex(sha256_bytes(data))) for path, data in files.items()}
    locked = tuple(pinned[path] for path in sorted(pinned))
    return Resolved(LockedComponent(recipe.version, tuple(pins), locked), files)


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


def _resolve_module(
    project: Project, source: Source, known: LockedSource | None, client: GoClient | None, progress: Progress
) -> LockedSource:
    assert client is not None
    found = gomodule.download(client, source.module, source.version)
    if not found.confirmed:
        progress.note(f"{source.module} {source.version} not confirmed: the checksum database was off or out of reach")
    pin = LockedSource(
        name=source.name,
        form="module",
        source_date=_seconds(found.time),
        module=source.module,
        version=source.version,
        h1=found.h1,
        go_mod_h1=found.go_mod_h1,
        sumdb=found.confirmed,
    )
    if known and known.version == pin.version and known.h1 != pin.h1:
        gomodule.discard(project.store, Module(pin.module, pin.version, pin.h1))
        raise IntegrityError(
            f"{source.module} {source.version} has {found.h1} now and {known.h1} in lockfile.toml",
            remedy="a published version never changes: find out which of the two is the real one before anything else",
        )
    return _confirm(project, source, known, pin, found, progress)


def _confirm(
    project: Project, source: Source, known: LockedSource | None, pin: LockedSource, found: Download, progress: Progress
) -> LockedSource:
    """Add the commit where the git origin is in reach and its files are those of the module; IntegrityError if they are not."""
    if not source.git:
        return pin
    try:
        commit, tree, _, directory = _fetch_tag(project, source, known, progress)
    except NetworkError as error:
        progress.note(f"commit of {source.module} {source.version} not confirmed: {error.message}")
        if known and known.commit and known.h1 == pin.h1:
            return dataclasses.replace(pin, git=known.git, tag=known.tag, commit=known.commit, tree=known.tree)
        return pin
    _compare(project, source, commit, directory, found)
    return dataclasses.replace(pin, git=source.git, tag=source.tag, commit=commit, tree=tree)


def _compare(project: Project, source: Source, commit: str, directory: Path, found: Download) -> None:
    """Raise IntegrityError unless the commit's files, laid out in ``directory``, are those of the module."""
    here = module_h1(directory, source.module, source.version, source.subdirectory)
    if found.h1 in (here, _archived(project, source, commit) if here != found.h1 else here):
        return
    raise IntegrityError(
        f"{source.git} at {source.tag} ({commit}) gives {here}, module {source.module} {source.version} has {found.h1}",
        remedy="repository and module differ: do not build either before you know why"
        " (a wrong `subdirectory` or `tag` in the recipe has this effect too)",
    )


def _archived(project: Project, source: Source, commit: str) -> str:
    """The module's hash as git archive makes it: the go command sees line-end attributes applied, raw objects do not."""
    from kubewright.fetch import git, gitexport

    name = git.repository_name(source.git)
    with project.store.lock(f"git-{name}", f"reading {name}"), project.store.scratch("archive") as scratch:
        repository = project.store.root / "git" / name
        return gitexport.archived_h1(repository, commit, source.module, source.version, source.subdirectory, scratch / "files")


def _fetch_tag(project: Project, source: Source, known: LockedSource | None, progress: Progress) -> tuple[str, str, int, Path]:
    from kubewright.fetch import git

    commit = git.resolve(source.git, source.tag, mirrors=project.settings.git_mirrors)
    if known and known.commit and known.tag == source.tag and known.commit != commit:
        raise TagMovedError(
            f"tag {source.tag} of {source.git} names {commit} now; lockfile.toml has {known.commit}",
            remedy="a release tag that moves is an alarm: compare both commits. To take the new one, delete the component's"
            " [[source]] from lockfile.toml and lock it again",
        )
    meter = Meter(progress, f"git {source.name}")
    name = f"git-{commit}"
    project.store.drop_tree(name)
    facts = None

    def fill(target: Path) -> None:
        nonlocal facts
        facts = git.fetch_tree(
            source.git,
            commit,
            tag=source.tag,
            repository=project.store.root / "git" / git.repository_name(source.git),
            target=target,
            mirrors=project.settings.git_mirrors,
            progress=lambda done: meter.at(source.name, done, None),
        )

    tree = project.store.add_tree(name, fill)
    assert facts is not None
    return commit, facts.tree, facts.date, tree


def _resolve_tree(
    project: Project, source: Source, known: LockedSource | None, client: GoClient | None, progress: Progress
) -> LockedSource:
    commit, tree, date, directory = _fetch_tag(project, source, known, progress)
    pin = LockedSource(
        name=source.name,
        form="tree",
        source_date=date,
        git=source.git,
        tag=source.tag,
        commit=commit,
        tree=tree,
        sha256=sha256_hex(tree_digest(directory)),
    )
    if source.module and client:
        pin = _cross_check(project, source, pin, directory, client, progress)
    return pin


def _cross_check(
    project: Project, source: Source, pin: LockedSource, tree: Path, client: GoClient, progress: Progress
) -> LockedSource:
    """Compare the commit's files with the module that the checksum database knows."""
    found = gomodule.download(client, source.module, source.version)
    _compare(project, source, pin.commit, tree, found)
    progress.note(f"{source.name}: the files of {pin.commit[:12]} are those of {source.module} {source.version}")
    return dataclasses.replace(
        pin, module=source.module, version=source.version, h1=found.h1, go_mod_h1=found.go_mod_h1, sumdb=found.confirmed
    )


def _resolve_archive(
    project: Project, source: Source, known: LockedSource | None, client: GoClient | None, progress: Progress
) -> LockedSource:
    from kubewright.fetch import archive, http

    meter = Meter(progress, f"archive {source.name}")
    with project.store.scratch("fetch") as scratch:
        path = scratch / archive.file_name(source.url)
        http.download(
            [source.url],
            sha256=None,
            size=None,
            target=path,
            progress=lambda done, total: meter.at(source.name, done, total),
            retries=project.settings.retries,
        )
        written = archive.extract(path, scratch / "tree", strip=source.strip)  # what cannot be unpacked gets into no lock
        digest = project.store.put_file(path)
        size = path.stat().st_size
    if known and known.url == source.url and f"sha256:{known.sha256}" != digest:
        raise IntegrityError(
            f"{source.url} has {digest} now and sha256:{known.sha256} in lockfile.toml",
            remedy="a published archive never changes: find out why. To take the new one, delete the component's [[source]]"
            " from lockfile.toml and lock it again",
        )
    return LockedSource(
        name=source.name, form="archive", source_date=written.newest, url=source.url, sha256=sha256_hex(digest), size=size
    )


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
            apply_patch(project.root / "patches" / recipe.name / patch.file, target)
        go_mod = target / "go.mod"
    return mainmodule.Upstream(
        version=pin.version,
        go_mod=mainmodule.read(client, go_mod),
        replace=source.replace,
        source=source.name if source.patches else None,
    )


def _seconds(moment: str) -> int:
    """RFC 3339 in UTC, as in a module's .info, in seconds since 1970."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment):
        raise OriginError(f"the module proxy gives no usable time: {moment!r}")
    return calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))
