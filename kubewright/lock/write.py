"""Write what ``resolve`` found: show the difference first, then replace go.mod, go.sum and lockfile.toml one after another.

The lock file is written last: a kill before it leaves files that the lock does not name, which the next command says plainly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from kubewright.lock.resolve import resolve_builder, resolve_component
from kubewright.model.lockdiff import describe_difference
from kubewright.model.lockfile import FILE, Lock, dump_lock, load_lock
from kubewright.project import Project
from kubewright.report import Progress
from kubewright.store import replace_file


def lock_builder(project: Project, name: str, progress: Progress, *, dry_run: bool) -> None:
    """Resolve one builder and write its pins (``dry_run``: show them only)."""
    resolved = resolve_builder(project, project.builders[name], progress)
    _update(
        project,
        lambda lock: dataclasses.replace(lock, builders={**lock.builders, name: resolved}),
        {},
        progress,
        dry_run=dry_run,
    )


def lock_component(project: Project, name: str, progress: Progress, *, dry_run: bool) -> None:
    """Resolve one component and write its pins and its main module (``dry_run``: show the difference only)."""
    resolved = resolve_component(project, project.recipe(name), progress)
    _update(
        project,
        lambda lock: dataclasses.replace(lock, components={**lock.components, name: resolved.locked}),
        resolved.files,
        progress,
        dry_run=dry_run,
    )


def _update(
    project: Project, change: Callable[[Lock], Lock], files: dict[str, bytes], progress: Progress, *, dry_run: bool
) -> None:
    path = project.root / FILE
    with project.store.lock("lockfile", f"writing {path}"):
        old = load_lock(path)
        new = change(old)
        changed = [name for name, data in files.items() if not _is(project.root / name, data)]
        for line in [*describe_difference(old, new), *(f"{name} changes" for name in changed)] or ["nothing changes"]:
            progress.note(line)
        if dry_run:
            return
        for name in changed:
            replace_file(project.root / name, files[name])
        replace_file(path, dump_lock(new).encode())
    project.reload()


def _is(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
