"""One exact commit from a git origin, and its files from raw objects.

Nothing of a repository is executed and nothing in it changes a byte: no hooks, no filters, no export-subst, no line-end
conversion. What arrives is compared with what was asked for: git checks each object against its id while receiving, and
``kubewright.fetch.gitexport`` computes the ids once more from what it reads and writes.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from kubewright.errors import IntegrityError, KubewrightError, NetworkError, OriginError, TagMovedError
from kubewright.fetch.gitcommand import REMOTE, Origin, Progress, RefusedError, check_tag, check_url, program, reach
from kubewright.fetch.gitexport import Commit, DamagedError, export
from kubewright.fetch.http import redact
from kubewright.files.tree import remove_tree

_COMMIT: Final = re.compile(r"[0-9a-f]{40}\Z")


def repository_name(url: str) -> str:
    """A directory name for the bare repository of a URL: readable, its own, and without anything secret."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", PurePosixPath(redact(url)).name.removesuffix(".git")).lstrip(".-") or "repository"
    return f"{name}-{hashlib.sha256(redact(url).encode()).hexdigest()[:12]}.git"


def origins(url: str, mirrors: Mapping[str, str], timeout: float = 120.0, retries: int = 2) -> list[Origin]:
    """Where to look, in order: the mirrors whose prefix fits, the longest first, then the URL itself."""
    fitting = sorted((prefix for prefix in mirrors if url.startswith(prefix)), key=len, reverse=True)
    urls = [mirrors[prefix] + url.removeprefix(prefix) for prefix in fitting] + [url]
    for each in urls:
        check_url(each)
    return [Origin(each, timeout, retries) for each in urls]


def resolve(url: str, tag: str, *, mirrors: Mapping[str, str] | None = None, timeout: float = 120.0, retries: int = 2) -> str:
    """The commit that a tag names at the first origin that has it (annotated tags peeled).

    Raises OriginError when no origin has the tag, NetworkError when one that may have it cannot be reached.
    """
    check_tag(tag)
    failures: list[KubewrightError] = []
    for origin in origins(url, mirrors or {}, timeout, retries):
        try:
            commit = _tagged(origin, tag)
        except (NetworkError, OriginError) as error:
            failures.append(error)
            continue
        if commit:
            return commit
        failures.append(
            OriginError(f"{redact(origin.url)} has no tag {tag}", remedy="correct `tag` (or `version`) in the recipe")
        )
    raise _weightiest(failures)


def _tagged(origin: Origin, tag: str) -> str:
    """The commit of a tag, or the empty string. ``^{}`` is the commit behind an annotated tag."""
    name = f"refs/tags/{tag}"
    try:
        out = reach(origin, None, ["ls-remote", REMOTE, name, name + "^{}"])
    except RefusedError as error:
        raise NetworkError(f"{redact(origin.url)} does not list its tags", details=str(error)) from error
    refs = {ref: commit for commit, _, ref in (line.partition("\t") for line in out.splitlines())}
    return refs.get(name + "^{}") or refs.get(name) or ""


def _weightiest(failures: list[KubewrightError]) -> KubewrightError:
    """A network that failed says more than an origin that does not have it: the other one may."""
    first = next((error for error in failures if isinstance(error, NetworkError)), failures[0])
    others = [error.message for error in failures if error is not first]
    return type(first)(first.message, remedy=first.remedy, details="\n".join([first.details, *others]).strip())


# -- fetching -----------------------------------------------------------------------------------------------------


def fetch_tree(
    url: str,
    commit: str,
    *,
    tag: str,
    repository: Path,
    target: Path,
    tree: str = "",
    mirrors: Mapping[str, str] | None = None,
    instead: str = "",
    progress: Progress | None = None,
    timeout: float = 120.0,
    retries: int = 2,
    allow_submodules: bool = False,
    allow_lfs: bool = False,
    links: str = "inside",
) -> Commit:
    """``fetch_commit`` and ``export``; a repository on disk that turns out damaged is made anew, once.

    ``instead``: the one URL to ask, in the place of ``url`` and of its mirrors.
    """
    wanted = [Origin(instead, timeout, retries)] if instead else origins(url, mirrors or {}, timeout, retries)
    for last in (False, True):
        fetch_commit(wanted, commit, tag=tag, repository=repository, progress=progress)
        try:
            with _alone(repository):
                return export(
                    repository, commit, target, tree, allow_submodules=allow_submodules, allow_lfs=allow_lfs, links=links
                )
        except DamagedError as error:
            with _alone(repository):
                remove_tree(repository)
            if last:
                raise IntegrityError(f"{redact(url)} at {commit}: {error}", remedy="check the disk, then try again") from error
    raise AssertionError("unreachable: the loop returns or raises")


def fetch_commit(wanted: list[Origin], commit: str, *, tag: str, repository: Path, progress: Progress | None = None) -> None:
    """Bring one commit with its files into a bare repository, from the first origin that has it.

    Without any network when it is there already. Otherwise the tag must still name the commit, where the origin has the tag.
    Asked for first alone, then by its tag, then with all history. Raises TagMovedError, OriginError, NetworkError,
    IntegrityError.
    """
    check_tag(tag)
    if not _COMMIT.match(commit):
        raise OriginError(f"{commit!r} is not a full git commit id", remedy="lock the component again")
    with _alone(repository):
        make_bare(repository)
        if _has(repository, commit):
            return
        failures: list[KubewrightError] = []
        for origin in wanted:
            try:
                _check_tag_names(origin, tag, commit)
                _fetch_from(origin, commit, tag, repository, progress)
                return
            except (NetworkError, OriginError) as error:
                failures.append(error)
    raise _weightiest(failures)


@contextmanager
def _alone(repository: Path) -> Iterator[None]:
    """Keep other runs away from the repository."""
    repository.parent.mkdir(parents=True, exist_ok=True)
    with repository.with_name(repository.name + ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def make_bare(repository: Path) -> None:
    """Make the bare repository where it is not, and sweep what a killed run left."""
    for folder in ("objects", "refs"):
        (repository / folder).mkdir(parents=True, exist_ok=True)
    # by hand: `git init` minds templates and variables of the user's that cannot be unset here
    (repository / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
    (repository / "HEAD").write_text("ref: refs/heads/main\n")
    for left in (*repository.glob("*.lock"), *repository.glob("refs/**/*.lock"), *repository.glob("objects/**/tmp_*")):
        left.unlink(missing_ok=True)


def _has(repository: Path, commit: str) -> bool:
    """Whether the commit is there with all its files: its ref is written last, so a fetch that was cut off has none."""
    return _runs(repository, "rev-parse", "--verify", "--quiet", _ref(commit))


def _keep(repository: Path, commit: str) -> bool:
    """Give the commit its ref, if it has arrived."""
    there = _runs(repository, "cat-file", "-e", commit + "^{tree}")
    return there and _runs(repository, "update-ref", _ref(commit), commit)


def _runs(repository: Path, *arguments: str) -> bool:
    from git.exc import GitCommandError

    try:
        program(repository).execute(["git", *arguments])
    except GitCommandError:
        return False
    return True


def _ref(commit: str) -> str:
    return f"refs/kubewright/{commit}"


def _check_tag_names(origin: Origin, tag: str, commit: str) -> None:
    now = _tagged(origin, tag)
    if now and now != commit:
        raise TagMovedError(
            f"tag {tag} of {redact(origin.url)} names {now} now; the lock has {commit}",
            remedy="a release tag that moves is an alarm: find out why, comparing both commits, before locking again",
        )


def _fetch_from(origin: Origin, commit: str, tag: str, repository: Path, progress: Progress | None) -> None:
    fetch = ["fetch", "--progress", "--no-tags", "--force", "--no-write-fetch-head"]
    ways = (
        [*fetch, "--depth=1", REMOTE, f"{commit}:{_ref(commit)}"],
        [*fetch, "--depth=1", REMOTE, f"refs/tags/{tag}:refs/kubewright/tag"],
        [*fetch, REMOTE, "refs/heads/*:refs/kubewright/heads/*", "refs/tags/*:refs/kubewright/tags/*"],
    )
    for way in ways:
        try:
            reach(origin, repository, way, progress)
        except RefusedError:
            continue
        if _keep(repository, commit):
            return
    raise OriginError(
        f"{redact(origin.url)} does not have commit {commit} (tag {tag})",
        remedy="check `git` and `tag` in the recipe, or name a mirror that has it in settings.toml (git_mirrors)",
    )
