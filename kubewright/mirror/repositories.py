"""Bare git repositories of a mirror: this checkout's, and those of pinned commits. Ready for dumb HTTP, as files on a disk.

They grow by packs: an update adds what is new, and what is there keeps its bytes.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from kubewright.building import mirrored
from kubewright.errors import KubewrightError, NetworkError, OriginError, TagMovedError
from kubewright.fetch import git
from kubewright.fetch.gitcommand import REMOTE, Origin, RefusedError, program, reach
from kubewright.fetch.gitcommand import Progress as GitProgress
from kubewright.fetch.http import redact
from kubewright.fetch.mirrorindex import Kind
from kubewright.mirror.errors import UncommittedError
from kubewright.mirror.place import Target
from kubewright.mirror.plan import Needs, Pinned
from kubewright.project import Project
from kubewright.report import Meter, Progress

PROGRAM: Final = "kubewright.git"
#: what decides builds or how they are made; other files may be changed
_OURS: Final = (
    "recipes", "builders", "patches", "stacks", "kubewright", "requirements",
    "lockfile.toml", "digests.toml", "release.toml", "dodo.py", "doit", "pyproject.toml",
)  # fmt: skip
#: what a repository of ours has; whatever else lies there is not taken into the index
_FILE: Final = re.compile(
    r"HEAD|config|shallow|packed-refs|info/refs|refs/(?:heads|tags)/.+"
    r"|objects/(?:info/packs|pack/pack-[0-9a-f]+\.(?:pack|idx|rev)|[0-9a-f]{2}/[0-9a-f]+)"
)
#: packs as they come, so that their names are those of their content
_FETCH: Final = ("-c", "fetch.unpackLimit=1", "fetch", "--progress", "--no-tags", "--force", "--no-write-fetch-head")


def committed(root: Path) -> str:
    """The checkout's commit. Raises UncommittedError for one with changes that decide what is built, or that is none."""
    from git.exc import GitCommandError

    git_here = program(None)
    git_here.update_environment(GIT_DIR=str(root / ".git"), GIT_WORK_TREE=str(root), GIT_CONFIG_PARAMETERS="")
    try:
        head = str(git_here.execute(["git", "-c", f"safe.directory={root}", "rev-parse", "--verify", "HEAD^{commit}"]))
        there = [name for name in _OURS if (root / name).exists()]
        status = ["git", "-c", f"safe.directory={root}", "-C", str(root), "status", "--porcelain", "--", *there]
        changed = [line[3:] for line in str(git_here.execute(status)).splitlines()]
    except GitCommandError as error:
        raise UncommittedError(
            f"{root} is no git checkout with a commit, and a mirror carries commits",
            remedy="make the mirror in a clone of kubewright's repository",
            details=str(error.stderr).strip()[-500:],
        ) from None
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UncommittedError(f"{changed[0]}{more} changed since commit {head[:12]}", remedy="commit it, or put it aside")
    return head


def write_program(project: Project, target: Target, commit: str, progress: Progress) -> None:
    """kubewright.git at the commit, as its branch main."""
    progress.stage("kubewright.git")
    repository = target.root / PROGRAM
    git.make_bare(repository)
    if not _names(repository, "refs/heads/main", commit):
        fetch = [*_FETCH, "--update-shallow", REMOTE, "+HEAD:refs/heads/main"]
        _reach(Origin(project.root.as_uri()), repository, fetch, None)
        if not _names(repository, "refs/heads/main", commit):
            raise UncommittedError(
                f"{project.root} got another commit than {commit[:12]} meanwhile", remedy="run the command again"
            )
        if (repository / "shallow").exists():
            progress.note("this checkout has no full history (a shallow clone): git over dumb HTTP cannot clone kubewright.git")
    _finish(target, PROGRAM, "program")


def write_repositories(project: Project, needs: Needs, target: Target, progress: Progress) -> None:
    """Each repository that sources of the form tree come from: the pinned commits with their history. Raises TagMovedError."""
    for folder, pins in needs.repositories().items():
        progress.stage(f"git {pins[0].source}")
        repository = target.root / folder
        git.make_bare(repository)
        for pin in pins:
            if not _names(repository, _ref(pin), pin.commit):
                _fetch(project, pin, repository, progress)
        program(repository).execute(["git", "update-ref", "refs/heads/main", pins[-1].commit])
        _finish(target, folder, "repository")


def _ref(pin: Pinned) -> str:
    """Under which name the mirror has a commit: a tag under its own; a branch moves on, and a submodule's has no name."""
    return pin.ref if pin.ref.startswith("refs/tags/") else f"refs/heads/pinned-{pin.commit}"


def _fetch(project: Project, pin: Pinned, repository: Path, progress: Progress) -> None:
    meter = Meter(progress, f"git {pin.source}")
    failures: list[KubewrightError] = []
    with project.store.scratch("mirror") as scratch:
        ours = mirrored.bring_git(project, pin.git, scratch, progress)
        for origin in [Origin(ours)] if ours else git.origins(pin.git, project.settings.git_mirrors):
            try:
                _fetch_from(origin, pin, repository, lambda done: meter.at(pin.source, done, None))
                return
            except (NetworkError, OriginError) as error:
                failures.append(error)
    raise failures[0]


def _fetch_from(origin: Origin, pin: Pinned, repository: Path, progress: GitProgress) -> None:
    """The commit under the mirror's name for it; asked for by name or alone, then with all that the origin has."""
    name = _ref(pin)
    tag = name == pin.ref
    try:
        _reach(origin, repository, [*_FETCH, REMOTE, f"+{name if tag else pin.commit}:{name}"], progress)
    except OriginError:
        if tag:
            raise
        _reach(
            origin, repository, [*_FETCH, REMOTE, "+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*"], progress
        )
        _name(repository, name, pin.commit)
    if _names(repository, name, pin.commit):
        return
    if tag:
        raise TagMovedError(
            f"{name} of {redact(origin.url)} is not commit {pin.commit}, which the lock has",
            remedy="a release tag that moves is an alarm: find out why, before locking again",
        )
    raise OriginError(f"{redact(origin.url)} does not have commit {pin.commit} ({pin.source})", remedy="check its origin")


def _name(repository: Path, name: str, commit: str) -> None:
    """Give the commit its name, if it has arrived, and take away the names that it came with."""
    from git.exc import GitCommandError

    git_there = program(repository)
    with suppress(GitCommandError):
        git_there.execute(["git", "update-ref", name, commit])
    for ref in str(git_there.execute(["git", "for-each-ref", "--format=%(refname)", "refs/all"])).split():
        git_there.execute(["git", "update-ref", "-d", ref])


def _reach(origin: Origin, repository: Path, arguments: list[str], progress: GitProgress | None) -> None:
    try:
        reach(origin, repository, arguments, progress)
    except RefusedError as error:
        raise OriginError(f"{redact(origin.url)} does not give out what the lock names", details=str(error)) from error


def _names(repository: Path, ref: str, commit: str) -> bool:
    from git.exc import GitCommandError

    try:
        found = program(repository).execute(["git", "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"])
    except GitCommandError:
        return False
    return str(found) == commit


def _finish(target: Target, folder: str, kind: Kind) -> None:
    """Let dumb HTTP find what is there, and take all of it into the index."""
    repository = target.root / folder
    program(repository).execute(["git", "update-server-info"])
    for path in sorted(repository.rglob("*")):
        if path.is_file() and not path.is_symlink() and _FILE.fullmatch(str(path.relative_to(repository))):
            target.add_there(str(path.relative_to(target.root)), kind)


def read_at(repository: Path, commit: str, path: str) -> bytes:
    """A file of a commit. Raises OriginError where it is not there."""
    from git.exc import GitCommandError

    try:
        data = program(repository).execute(["git", "cat-file", "blob", f"{commit}:{path}"], stdout_as_string=False)
    except GitCommandError as error:
        raise OriginError(f"{path} is not in commit {commit} of {repository}", details=str(error.stderr)[-500:]) from None
    assert isinstance(data, bytes)
    return data
