"""Write a mirror, or bring one up to date: what is there stays, what is new is added, the index comes last.

Killed at any moment, it leaves whole files and the old index; the next run goes on. Two runs wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubewright.building.inputs import download_packages, ensure_archive, ensure_inputs
from kubewright.errors import RecipeError
from kubewright.fetch.mirror import INDEX, package_file
from kubewright.fetch.mirrorindex import FORMAT, Index, Kind, MirroredRelease, dump
from kubewright.files.digest import sha256_bytes, sha256_hex
from kubewright.mirror import pages, statement, trust
from kubewright.mirror.modules import write_lists, write_modules
from kubewright.mirror.place import Target, opened
from kubewright.mirror.plan import Needs, find_needs
from kubewright.mirror.repositories import PROGRAM, committed, write_program, write_repositories
from kubewright.mirror.wheels import write_pages, write_wheels
from kubewright.model.digestsfile import FILE as DIGESTS
from kubewright.model.lockfile import FILE as LOCK
from kubewright.model.lockfile import LockedPackage
from kubewright.model.stack import Stack
from kubewright.project import Component, Project
from kubewright.report import Progress
from kubewright.store import replace_file
from kubewright.verify.bundle import SUFFIX

RELEASE: Final = "release"
KEPT: Final = "kept"


@dataclass(frozen=True, slots=True)
class Written:
    """What a run did. ``signed``: the statement's file, empty without a key."""

    root: Path
    index: Index
    new: int
    bytes: int
    linked: int
    signed: str


def write_mirror(project: Project, stack: Stack, progress: Progress) -> Written:
    """The mirror of a stack at the folder that the settings name.

    Raises UncommittedError, MirrorTargetError, LockOutdatedError, WheelsError, and what fetching raises.
    """
    commit = committed(project.root)
    progress.stage("looking")
    with opened(project.settings.mirror_to, progress, lambda root, data: trust.ours(project, root, data)) as target:
        before = set(target.old.files if target.old else ())
        needs = find_needs(project, stack, lambda component: ensure_inputs_trees(project, component, progress))
        _write_inputs(project, needs, target, progress)
        write_program(project, target, commit, progress)
        wheels = write_wheels(project, target, progress)
        release = _write_release(project, stack, commit, sorted({*target.files, *wheels}), target)
        _keep_the_rest(needs, target)
        target.put_bytes(pages.readme(stack), "README", "page")
        index, signed = finish(project, target, release, _releases_before(target, release))
        _drop_stale(target)
        new = len(index.files.keys() - before)
        return Written(target.root, index, new, target.written, target.linked, signed)


def ensure_inputs_trees(project: Project, component: Component, progress: Progress) -> dict[str, Path]:
    """The source trees of a component, fetched and verified."""
    return dict(ensure_inputs(project, component, progress).trees)


def _write_inputs(project: Project, needs: Needs, target: Target, progress: Progress) -> None:
    _write_packages(project, needs, target, progress)
    _write_archives(project, needs, target, progress)
    write_modules(project, needs, target, progress)
    write_repositories(project, needs, target, progress)


def _write_packages(project: Project, needs: Needs, target: Target, progress: Progress) -> None:
    progress.stage("packages")
    for name, packages in sorted(needs.packages.items()):
        absent = [package for package in packages if not _kept(target, package)]
        missing = [package for package in absent if not project.store.has(f"sha256:{package.sha256}")]
        if missing:
            download_packages(project, name, missing, progress)
        for package in absent:
            _put_blob(project, package.sha256, package_file(package.path), target, "package")


def _kept(target: Target, package: LockedPackage) -> bool:
    return package_file(package.path) in target.files or _kept_blob(
        target, package_file(package.path), package.sha256, "package"
    )


def _kept_blob(target: Target, path: str, sha256: str, kind: Kind) -> bool:
    """Whether the mirror has these bytes at the path; then they are kept."""
    found = target.found(path, kind)
    if found is None or found.sha256 != sha256:
        return False
    target.keep(path, found)
    return True


def _write_archives(project: Project, needs: Needs, target: Target, progress: Progress) -> None:
    for path, pin in sorted(needs.archives.items()):
        progress.stage(f"archive {pin.name}")
        if not _kept_blob(target, path, pin.sha256, "archive"):
            ensure_archive(project, pin, progress)
            _put_blob(project, pin.sha256, path, target, "archive")


def _put_blob(project: Project, sha256: str, path: str, target: Target, kind: Kind) -> None:
    """Place a blob of the store; one that no longer has its digest is reported as the store does."""
    digest = f"sha256:{sha256}"
    entry = target.put_file(project.store.path(digest), path, kind)
    if entry.sha256 != sha256:
        (target.root / path).unlink()
        project.store.read(digest)  # moves it aside, and says so


# -- releases -----------------------------------------------------------------------------------------------------


def _write_release(project: Project, stack: Stack, commit: str, files: list[str], target: Target) -> MirroredRelease:
    """lockfile.toml, digests.toml and what is signed of them; the release that was there before is kept beside it."""
    contents = {name: (project.root / name).read_bytes() for name in (LOCK, DIGESTS) if (project.root / name).is_file()}
    lock = sha256_hex(sha256_bytes(contents[LOCK]))
    if target.old and target.old.releases[0].lock != lock:
        _set_aside(target, target.old.releases[0])
    for name, data in sorted(contents.items()):
        target.put_bytes(data, f"{RELEASE}/{name}", "release")
    for name, data in sorted(_signed_with(project, contents).items()):
        target.put_bytes(data, f"{RELEASE}/{name}", "release")
    ours = sorted(path for path in target.files if path.startswith(f"{RELEASE}/"))
    return MirroredRelease(RELEASE, stack.name, commit, _sequence(project), lock, tuple(sorted({*files, *ours})))


def _signed_with(project: Project, contents: dict[str, bytes]) -> dict[str, bytes]:
    """The signatures in artifacts/release and what else they are about, if they are about these very files."""
    folder = project.root / "artifacts" / "release"
    if not all((folder / name).is_file() and (folder / name).read_bytes() == data for name, data in contents.items()):
        return {}
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file() and path.name not in contents}


def _sequence(project: Project) -> int:
    from kubewright.trust.release import load_sequence

    try:
        return load_sequence(project.root)
    except RecipeError:
        if (project.root / "release.toml").exists():
            raise
        return 0


def kept_folder(release: MirroredRelease) -> str:
    """Where an older release lies."""
    return f"{KEPT}/{release.lock[:16]}"


def _set_aside(target: Target, old: MirroredRelease) -> None:
    for path in old.files:
        if path.startswith(f"{RELEASE}/"):
            name = path.removeprefix(f"{RELEASE}/")
            target.put_bytes((target.root / path).read_bytes(), f"{kept_folder(old)}/{name}", "release")


def _releases_before(target: Target, now: MirroredRelease) -> list[MirroredRelease]:
    """The releases of the old index that stay, with the folders that they have now."""
    found = []
    for old in target.old.releases if target.old else ():
        if old.lock == now.lock:
            continue
        moved = [f"{kept_folder(old)}/{path.removeprefix(f'{old.folder}/')}" for path in old.files if _inside(path, old)]
        rest = [path for path in old.files if not _inside(path, old)]
        found.append(
            MirroredRelease(kept_folder(old), old.stack, old.commit, old.sequence, old.lock, tuple(sorted([*moved, *rest])))
        )
    return found


def _inside(path: str, release: MirroredRelease) -> bool:
    return path.startswith(f"{release.folder}/")


def _keep_the_rest(needs: Needs, target: Target) -> None:
    """What older releases need, and what others have put in (oci/), stays until it is pruned."""
    walked = tuple(f"{folder}/" for folder in (PROGRAM, RELEASE, *needs.repositories()))
    for path, file in (target.old.files if target.old else {}).items():
        stale = file.kind == "page" or path.startswith(walked) or path.endswith("/@v/list")
        if path not in target.files and not stale and target.known(path):
            target.keep(path, file)


# -- the index ----------------------------------------------------------------------------------------------------


def finish(project: Project, target: Target, release: MirroredRelease, before: list[MirroredRelease]) -> tuple[Index, str]:
    """Write the index, and sign it where a key is set; a signature of an older index goes."""
    write_lists(target)
    write_pages(target)
    there = set(target.files)
    releases = [release, *(each for each in before if there.issuperset(each.files))]
    index = Index(FORMAT, tuple(releases), {path: target.files[path] for path in sorted(target.files)})
    data = dump(index)
    path = target.root / INDEX
    if not path.is_file() or path.read_bytes() != data:
        for old in target.root.glob(f"{statement.KIND}.*{SUFFIX}"):
            old.unlink()
        replace_file(path, data)
    trust.remember(project, target.root, data)
    return index, trust.sign(project, target.root, index, data)


def _drop_stale(target: Target) -> None:
    """What we wrote before and nothing names any more (a signature of other files, a page): its name is ours to take away."""
    before = set(target.old.files if target.old else ())
    # all of release/ is ours, also where the old index is not believed: what another key signed of it goes as well
    before |= {f"{RELEASE}/{path.name}" for path in (target.root / RELEASE).iterdir() if path.is_symlink() or path.is_file()}
    for path in before - target.files.keys():
        (target.root / path).unlink(missing_ok=True)
