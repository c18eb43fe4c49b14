"""Drop what no release kept names: first the index forgets it, then it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kubewright.disk import writing
from kubewright.fetch.mirror import INDEX
from kubewright.fetch.mirrorindex import MirroredRelease
from kubewright.mirror import trust
from kubewright.mirror.errors import MirrorTargetError
from kubewright.mirror.place import LOCK, Target, opened
from kubewright.mirror.repositories import PROGRAM
from kubewright.mirror.write import finish
from kubewright.project import Project
from kubewright.report import Progress
from kubewright.verify.bundle import SUFFIX


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, and the releases that stayed."""

    files: int
    bytes: int
    releases: tuple[MirroredRelease, ...]
    signed: str


def prune(project: Project, root: Path, keep: int, progress: Progress) -> Pruned:
    """Keep the ``keep`` newest releases and what they need. Raises MirrorTargetError."""
    if not (root / INDEX).is_file():
        raise MirrorTargetError(f"there is no mirror at {root}", remedy="name one, or make one with ./doit mirror")
    with opened(root, progress, lambda place, data: trust.ours(project, place, data)) as target:
        if target.old is None:
            raise MirrorTargetError(
                f"the index of {root} was not written from here, nor signed with this site's key",
                remedy="./doit mirror first: it compares every file; or prune where the mirror was made",
            )
        releases = list(target.old.releases[:keep])
        _keep(target, releases)
        index, signed = finish(project, target, releases[0], releases[1:])
        files, size = _remove(root, {*index.files, INDEX, LOCK, *(path.name for path in root.glob(f"*{SUFFIX}"))})
        return Pruned(files, size, index.releases, signed)


def _keep(target: Target, releases: list[MirroredRelease]) -> None:
    assert target.old is not None
    named = {path for release in releases for path in release.files}
    for path, file in target.old.files.items():
        if path in named or path == "README" or path.startswith(f"{PROGRAM}/") or file.kind == "oci":
            known = target.known(path)
            if known:
                target.keep(path, known)


def _remove(root: Path, kept: set[str]) -> tuple[int, int]:
    """Remove every other file, and folders that are empty then."""
    count = size = 0
    with writing(root, store=False):
        for path in sorted(root.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif str(path.relative_to(root)) not in kept:
                count, size = count + 1, size + path.lstat().st_size
                path.unlink()
    return count, size
