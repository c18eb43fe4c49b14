"""Shrink the store to what the project's lock and recipes need (``gc``), and remove artifacts (``clean``).

Only what has the form of ours is ever removed. Names go before what they stand for, and a directory is renamed before its files
go: a kill at any moment leaves a store in which nothing looks whole that is not, and the next run removes the rest.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path

from kubewright.building.cgocache import superseded
from kubewright.building.outputs import seen_folder
from kubewright.disk import writing
from kubewright.errors import UsageError
from kubewright.fetch.gomodule import escape, module_cache
from kubewright.files.digest import is_sha256
from kubewright.files.tree import remove_tree
from kubewright.gc.needed import KINDS, Needed, find_needed
from kubewright.project import Project
from kubewright.report import Progress
from kubewright.store import IN_USE, Store, replace_file

#: logs of failed builds are kept for this many seconds
LOGS_KEPT = 7 * 24 * 3600

_TREE = re.compile(r"(\.removing-)?(root|source|git)-[A-Za-z0-9-]+")
_REPOSITORY = re.compile(r"(\.removing-)?[A-Za-z0-9._-]+-[0-9a-f]{12}\.git")
_COMPILE_CACHE = re.compile(r"(\.removing-)?[0-9a-f]{24}")
_DAMAGED = re.compile(r"[0-9a-f]{64}-\d+")
_INCOMING = re.compile(r"\d+(-[0-9a-f]+)+")
_REMOVING = ".removing-"


@dataclass(frozen=True, slots=True)
class Removed:
    """One kind of thing that went (or, in a dry run, would go); ``size`` in bytes."""

    what: str
    count: int
    size: int

    def __str__(self) -> str:
        return f"{self.what}: {self.count}, {self.size / 1e6:.1f} MB"


@dataclass(frozen=True, slots=True)
class _Garbage:
    what: str
    path: Path


def gc(project: Project, progress: Progress, *, dry_run: bool = False) -> list[Removed]:
    """Remove from the store what lock and recipes do not need; says what and how many bytes.

    Waits for builds that use the store; new ones wait while it runs. Raises LockOutdatedError without a lock, StoreError.
    """
    store = project.store

    def waiting(_: str) -> None:
        progress.stage("waiting")
        progress.note("waiting for builds that use the store")

    with writing(store.root), store.lock(IN_USE, "shrinking the store", waiting=waiting):
        progress.stage("looking")
        needed = find_needed(project, progress)
        progress.stage("looking" if dry_run else "removing")
        removed = [
            _remove(what, list(garbage), progress, dry_run=dry_run)
            for what, garbage in groupby(_find(store, needed), lambda each: each.what)
        ]
        if not dry_run:
            _tidy(module_cache(store))
            store.sweep()
    verb = "would go" if dry_run else "removed"
    for each in removed:
        progress.note(f"{verb}: {each}")
    total = sum(each.size for each in removed) / 1e6
    progress.note(f"{verb}: {total:.1f} MB in all, of the store {store.root}" if removed else "the store holds nothing else")
    return removed


def _remove(what: str, garbage: list[_Garbage], progress: Progress, *, dry_run: bool) -> Removed:
    size = 0
    for number, each in enumerate(garbage):
        progress.update(f"{what}: {number} of {len(garbage)}")
        size += _size(each.path)
        if not dry_run:
            _remove_path(each.path)
    return Removed(what, len(garbage), size)


def _remove_path(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if not path.name.startswith(_REMOVING):
        aside = path.with_name(_REMOVING + path.name)
        remove_tree(aside)
        path = path.rename(aside)
    remove_tree(path)


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(each.lstat().st_size for each in path.rglob("*") if each.is_symlink() or not each.is_dir())


# -- what is not needed -------------------------------------------------------------------------------------------


def _find(store: Store, needed: Needed) -> Iterator[_Garbage]:
    """In the order of removal: what refers to something goes before it."""
    for what, paths in (
        ("build records and lists", _refs(store, needed)),
        ("outputs, logs and packages", _blobs(store, needed)),
        ("unpacked trees", _children(store.root / "trees", _TREE.fullmatch, needed.trees)),
        ("git repositories", _children(store.root / "git", _REPOSITORY.fullmatch, needed.repositories)),
        ("Go modules", _modules(module_cache(store), needed)),
        ("Go downloads", _downloads(module_cache(store) / "cache" / "download", needed)),
        ("compile caches", _children(store.root / "go" / "build-cache", _COMPILE_CACHE.fullmatch, needed.compile_caches)),
        ("compile caches of cgo", superseded(store.root / "go" / "cgo-cache", needed.compile_caches)),
        ("caches of the go client", _client_caches(store)),
        ("old logs", _old_logs(store.root / "logs")),
        ("damaged files", _children(store.root / "damaged", _DAMAGED.fullmatch)),
        # nobody writes while we hold the lock; scratch directories are left to ``Store.sweep``, which knows who is alive
        ("left-overs of killed runs", _children(store.root / "incoming", _INCOMING.fullmatch)),
    ):
        for path in paths:
            yield _Garbage(what, path)


def _children(
    directory: Path, ours: Callable[[str], object] = bool, needed: set[str] | frozenset[str] = frozenset()
) -> Iterator[Path]:
    """What lies in a directory, has the form of ours and is not needed."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if ours(path.name) and path.name not in needed:
            yield path


def _refs(store: Store, needed: Needed) -> Iterator[Path]:
    for kind in KINDS:
        names = {name for each, name in needed.refs if each == kind}
        yield from _children(store.root / "refs" / kind, needed=names)


def _blobs(store: Store, needed: Needed) -> Iterator[Path]:
    yield from (path for digest, path in store.blobs() if is_sha256(digest) and digest not in needed.blobs)


def _modules(cache: Path, needed: Needed) -> Iterator[Path]:
    """Extracted modules: PATH@VERSION (https://go.dev/ref/mod#module-cache)."""
    kept = {f"{escape(path)}@{escape(version)}" for path, version in needed.modules}

    def below(directory: Path) -> Iterator[Path]:
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if "@" in path.name:
                if str(path.relative_to(cache)) not in kept:
                    yield path
            elif path.is_dir() and path != cache / "cache":
                yield from below(path)

    yield from below(cache)


def _downloads(downloads: Path, needed: Needed) -> Iterator[Path]:
    """Files of the download cache, PATH/@v/VERSION.KIND. What the checksum database's client keeps is not touched."""
    whole = {(escape(path), escape(version)) for path, version in needed.modules}
    go_mods = {(escape(path), escape(version)) for path, version in needed.go_mods}
    for versions in sorted(downloads.rglob("@v")):
        path = str(versions.parent.relative_to(downloads))
        for file in sorted(versions.iterdir()):
            version, _, kind = file.name.rpartition(".")
            small = kind in ("mod", "info", "lock") and (needed.every_go_mod or (path, version) in go_mods)
            if file.name != "list" and (path, version) not in whole and not small:
                yield file


def _old_logs(directory: Path) -> Iterator[Path]:
    before = time.time() - LOGS_KEPT
    for pattern in ("*.log", "*.diffoscope.txt"):
        yield from (path for path in sorted(directory.glob(pattern)) if path.stat().st_mtime < before)


def _client_caches(store: Store) -> Iterator[Path]:
    """What the go client makes for listing packages, and its clones of repositories (GOPROXY=direct)."""
    for path in (store.root / "go" / "list-cache", module_cache(store) / "cache" / "vcs"):
        yield from (each for each in (path, path.with_name(_REMOVING + path.name)) if each.is_dir())


def _tidy(cache: Path) -> None:
    """Version lists without what is gone (a proxy that serves the download cache would offer it), and no empty folders."""
    for file in sorted((cache / "cache" / "download").rglob("@v/list")):
        lines = file.read_text("utf-8").splitlines()
        there = [line for line in lines if (file.parent / f"{line}.mod").is_file()]
        if not there:
            file.unlink()
        elif there != lines:
            replace_file(file, "".join(f"{line}\n" for line in there).encode())
    folders = []
    for folder, names, _ in os.walk(cache):
        names[:] = [name for name in names if "@" not in name or name == "@v"]  # not into the modules themselves
        folders += [Path(folder, name) for name in names]
    for path in reversed(folders):
        if not any(path.iterdir()):
            path.rmdir()


# -- artifacts ----------------------------------------------------------------------------------------------------


def clean(project: Project, names: list[str]) -> list[Path]:
    """Remove the artifacts of the components named (default: of all); the store keeps what was built.

    Returns what was removed. Raises UsageError for a name that is neither a component nor has artifacts.
    """
    artifacts = project.root / "artifacts"
    folders = [_artifacts_of(project, artifacts, name) for name in names] if names else _all_but_signatures(artifacts)
    removed = []
    with writing(artifacts, store=False):
        for folder in folders:
            for index in _indices(project, folder):
                index.unlink(missing_ok=True)
            if folder.exists():
                remove_tree(folder)
                removed.append(folder)
    return removed


def _artifacts_of(project: Project, artifacts: Path, name: str) -> Path:
    folder = artifacts / name
    if name not in project.recipes and not (folder.parent == artifacts and name[:1] != "." and folder.is_dir()):
        near = get_close_matches(name, project.recipes, 1)
        raise UsageError(
            f"there is no component {name!r} and no artifacts/{name}",
            remedy=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(project.recipes)}",
        )
    return folder


def _all_but_signatures(artifacts: Path) -> list[Path]:
    """The whole folder; but what no build makes again (what operators have signed, a mirror) goes only when it is named."""
    signed = [artifacts / "attestations", artifacts / "release", artifacts / "mirror"]
    if not any(folder.is_dir() for folder in signed):
        return [artifacts]
    return [folder for folder in sorted(artifacts.iterdir()) if folder not in signed]


def _indices(project: Project, folder: Path) -> Iterator[Path]:
    """Where ``outputs`` remembers which files it has seen: NAME-VERSION-PLATFORM.json."""
    whole = folder == project.root / "artifacts"
    for platform in folder.glob("*/*/*" if whole else "*/*"):
        component = platform.parent.parent.name
        yield seen_folder(project) / f"{component}-{platform.parent.name}-{platform.name}.json"
