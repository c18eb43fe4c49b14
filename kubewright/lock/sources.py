"""Resolve one source of a component to its pin: a Go module version, the commit of a tag or branch, an archive's bytes.

What could not be confirmed is not in the pin: a commit only where a git origin was reached and its files give the module's
``h1:``, ``sumdb`` only where the checksum database was asked.
"""

from __future__ import annotations

import calendar
import dataclasses
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubewright.building.facts import check_facts
from kubewright.errors import IntegrityError, NetworkError, OriginError, TagMovedError
from kubewright.fetch import gomodule
from kubewright.fetch.gomodule import Download, GoClient, Module
from kubewright.files.digest import sha256_hex, tree_digest
from kubewright.files.modulezip import module_h1
from kubewright.model.lockfile import LockedSource, LockedSubmodule
from kubewright.model.recipe import Recipe, Source
from kubewright.project import Project
from kubewright.report import Meter, Progress

if TYPE_CHECKING:
    from kubewright.fetch import git


def resolve_source(
    project: Project, recipe: Recipe, source: Source, known: LockedSource | None, client: GoClient | None, progress: Progress
) -> LockedSource:
    """The pin of ``source``; ``known`` is the one that the lock has. Raises what ``resolve_component`` raises."""
    resolve = {"module": _resolve_module, "tree": _resolve_tree, "archive": _resolve_archive}[source.form]
    return resolve(project, recipe, source, known, client, progress)


def files_of(project: Project, pin: LockedSource) -> Path:
    """Where the files of a source that has just been resolved are (forms module and tree)."""
    if pin.form == "module":
        return gomodule.module_cache(project.store) / Module(pin.module, pin.version, pin.h1).directory
    return project.store.tree(f"git-{pin.commit}")


def _resolve_module(
    project: Project, recipe: Recipe, source: Source, known: LockedSource | None, client: GoClient | None, progress: Progress
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
    return _confirm(project, recipe, source, known, pin, found, progress)


def _confirm(
    project: Project,
    recipe: Recipe,
    source: Source,
    known: LockedSource | None,
    pin: LockedSource,
    found: Download,
    progress: Progress,
) -> LockedSource:
    """Add the commit where the git origin is in reach and its files are those of the module; IntegrityError if they are not."""
    if not source.git:
        return pin
    try:
        fetched = _fetch(project, recipe, source, known, progress)
    except NetworkError as error:
        if source.signed_by:
            raise  # who asks for a signature does not want what nobody could check
        progress.note(f"commit of {source.module} {source.version} not confirmed: {error.message}")
        if known and known.commit and known.h1 == pin.h1:
            return dataclasses.replace(
                pin,
                git=known.git,
                tag=known.tag,
                tag_object=known.tag_object,
                signer=known.signer,
                commit=known.commit,
                tree=known.tree,
            )
        return pin
    _compare(project, source, fetched.commit, fetched.directory, found)
    return fetched.pinned(pin, source)


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


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A commit, what named it, and its files."""

    commit: str
    tag_object: str
    signer: str
    tree: str
    date: int
    submodules: tuple[LockedSubmodule, ...]
    directory: Path

    def pinned(self, pin: LockedSource, source: Source) -> LockedSource:
        """``pin`` with the commit and what named it."""
        return dataclasses.replace(
            pin,
            git=source.git,
            tag=source.tag,
            tag_object=self.tag_object,
            signer=self.signer,
            branch=source.branch,
            commit=self.commit,
            tree=self.tree,
        )


def _fetch(project: Project, recipe: Recipe, source: Source, known: LockedSource | None, progress: Progress) -> _Fetched:
    """Resolve the source's tag or branch, and fetch its files."""
    from kubewright.fetch import git, gitfetch

    ref = gitfetch.ref_of(source.tag, source.branch)
    kept = known if source.branch and _branch_stays(project, recipe, source, known) else None
    mirrors = project.settings.git_mirrors
    if kept is not None:
        progress.note(
            f"{source.name}: stays at {kept.commit[:12]} of branch {source.branch} while the version is {recipe.version}"
        )
    named = git.Named(kept.commit) if kept else git.resolve(source.git, ref, mirrors=mirrors)
    if source.tag and known and known.commit and known.tag == source.tag and known.commit != named.commit:
        raise TagMovedError(
            f"tag {source.tag} of {source.git} names {named.commit} now; lockfile.toml has {known.commit}",
            remedy="a release tag that moves is an alarm: compare both commits. To take the new one, delete the component's"
            " [[source]] from lockfile.toml and lock it again",
        )
    meter = Meter(progress, f"git {source.name}")
    name = f"git-{named.commit}"
    project.store.drop_tree(name)
    filled: list[gitfetch.Filled] = []
    tree = project.store.add_tree(
        name,
        lambda target: filled.append(
            gitfetch.fill(
                project,
                source.git,
                named.commit,
                ref,
                target,
                submodules=source.submodules,
                progress=lambda done: meter.at(source.name, done, None),
            )
        ),
    )
    signer = _signer(project, recipe, source, named)
    facts = filled[0].commit
    submodules = tuple(LockedSubmodule(each.path, each.url, each.commit) for each in filled[0].submodules)
    check_facts(recipe.name, source, tree)
    return _Fetched(named.commit, named.tag_object, signer, facts.tree, facts.date, submodules, tree)


def _branch_stays(project: Project, recipe: Recipe, source: Source, known: LockedSource | None) -> bool:
    """A branch is read again only when the component's version (or the branch) changes: locking twice gives one lock."""
    old = project.lock.components.get(recipe.name)
    return bool(old and known and old.version == recipe.version and known.branch == source.branch)


def _signer(project: Project, recipe: Recipe, source: Source, named: git.Named) -> str:
    """The key that signed the tag, where the recipe names keys. Raises SignatureMissingError."""
    from kubewright.fetch import gitfetch

    if not source.signed_by:
        return ""
    keys = project.root / "recipes" / recipe.name / source.signed_by
    return gitfetch.check_signature(project, source.git, source.tag, named, keys)


def _resolve_tree(
    project: Project, recipe: Recipe, source: Source, known: LockedSource | None, client: GoClient | None, progress: Progress
) -> LockedSource:
    found = _fetch(project, recipe, source, known, progress)
    pin = LockedSource(
        name=source.name,
        form="tree",
        source_date=found.date,
        git=source.git,
        sha256=sha256_hex(tree_digest(found.directory)),
        submodules=found.submodules,
    )
    pin = found.pinned(pin, source)
    if source.module and client:
        pin = _cross_check(project, source, pin, found.directory, client, progress)
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
    project: Project, recipe: Recipe, source: Source, known: LockedSource | None, client: GoClient | None, progress: Progress
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


def _seconds(moment: str) -> int:
    """RFC 3339 in UTC, as in a module's .info, in seconds since 1970."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment):
        raise OriginError(f"the module proxy gives no usable time: {moment!r}")
    return calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))
