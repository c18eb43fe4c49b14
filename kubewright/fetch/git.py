"""One exact commit from a git origin, and its files from raw objects.

Nothing of a repository is executed and nothing in it changes a byte: no hooks, no filters, no export-subst, no line-end
conversion. What arrives is compared with what was asked for: git checks each object against its id while receiving, and
``kubewright.fetch.gitexport`` computes the ids once more from what it reads and writes.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from kubewright.errors import IntegrityError, KubewrightError, NetworkError, OriginError, TagMovedError
from kubewright.fetch.gitcommand import REMOTE, Origin, Progress, RefusedError, check_tag, check_url, program, reach
from kubewright.fetch.gitexport import Commit, DamagedError, export
from kubewright.fetch.http import redact
from kubewright.files.tree import remove_tree

_COMMIT: Final = re.compile(r"[0-9a-f]{40}\Z")
#: seconds in which an origin that is there has said something; a fetch may be silent for longer while it packs objects
CONTACT: Final = 15.0


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


@dataclass(frozen=True, slots=True)
class Named:
    """What a tag or branch names: a commit, and the annotated tag object between (empty: there is none)."""

    commit: str
    tag_object: str = ""


def resolve(url: str, ref: str, *, mirrors: Mapping[str, str] | None = None, timeout: float = 120.0, retries: int = 2) -> Named:
    """What ``ref`` (refs/tags/NAME or refs/heads/NAME) names at the first origin that has it.

    Raises OriginError when no origin has it, NetworkError when one that may have it cannot be reached.
    """
    check_tag(ref)
    kind, name = ref_name(ref)
    failures: list[KubewrightError] = []
    tried = origins(url, mirrors or {}, timeout, retries)
    for origin in tried:
        try:
            found = _named(origin, ref)
        except (NetworkError, OriginError) as error:
            failures.append(error)
            continue
        if found:
            return found
        remedy = f"correct `{kind}` (or `version`) in the recipe"
        failures.append(OriginError(f"{redact(origin.url)} has no {kind} {name}", remedy=remedy))
    raise _weightiest(failures, url, tried)


def ref_name(ref: str) -> tuple[str, str]:
    """``refs/tags/v1`` as people say it: ('tag', 'v1')."""
    _, kind, name = ref.split("/", 2)
    return {"tags": "tag", "heads": "branch"}[kind], name


def _named(origin: Origin, ref: str) -> Named | None:
    """What a ref names, None if it is not there. ``^{}`` is the commit behind an annotated tag."""
    quick = dataclasses.replace(origin, timeout=min(origin.timeout, CONTACT), retries=min(origin.retries, 1))
    try:
        out = reach(quick, None, ["ls-remote", REMOTE, ref, ref + "^{}"])
    except RefusedError as error:
        raise NetworkError(f"{redact(origin.url)} does not list its refs", details=str(error)) from error
    refs = {name: commit for commit, _, name in (line.partition("\t") for line in out.splitlines())}
    if ref + "^{}" in refs:
        return Named(refs[ref + "^{}"], refs[ref])
    return Named(refs[ref]) if ref in refs else None


def _weightiest(failures: list[KubewrightError], url: str, tried: list[Origin]) -> KubewrightError:
    """A network that failed says more than an origin that does not have it: the other one may. Says all that was tried."""
    first = next((error for error in failures if isinstance(error, NetworkError)), failures[0])
    others = [error.message for error in failures if error is not first]
    remedy = first.remedy
    if isinstance(first, NetworkError):
        others.append(f"tried: {', '.join(redact(origin.url) for origin in tried)}")
        prefix = redact(url).rpartition("/")[0] + "/"
        remedy = f'check the network, or name a mirror in settings.toml: git_mirrors = {{ "{prefix}" = "https://MIRROR/" }}'
    return type(first)(first.message, remedy=remedy, details="\n".join([first.details, *others]).strip())


# -- fetching -----------------------------------------------------------------------------------------------------


def fetch_tree(
    url: str,
    commit: str,
    *,
    ref: str,
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
        fetch_commit(wanted, commit, ref=ref, repository=repository, progress=progress)
        try:
            with alone(repository):
                return export(
                    repository, commit, target, tree, allow_submodules=allow_submodules, allow_lfs=allow_lfs, links=links
                )
        except DamagedError as error:
            with alone(repository):
                remove_tree(repository)
            if last:
                raise IntegrityError(f"{redact(url)} at {commit}: {error}", remedy="check the disk, then try again") from error
    raise AssertionError("unreachable: the loop returns or raises")


def fetch_commit(wanted: list[Origin], commit: str, *, ref: str, repository: Path, progress: Progress | None = None) -> None:
    """Bring one commit with its files into a bare repository, from the first origin that has it.

    Without any network when it is there already. Otherwise a tag must still name the commit, where the origin has the tag;
    a branch may have moved on; ``ref`` is empty where nothing names the commit (submodules). Asked for first alone, then
    by its ref, then with all history. Raises TagMovedError, OriginError, NetworkError, IntegrityError.
    """
    if ref:
        check_tag(ref)
    if not _COMMIT.match(commit):
        raise OriginError(f"{commit!r} is not a full git commit id", remedy="lock the component again")
    with alone(repository):
        make_bare(repository)
        if _has(repository, commit):
            return
        failures: list[KubewrightError] = []
        for origin in wanted:
            try:
                _check_ref_names(origin, ref, commit)
                _fetch_from(origin, commit, ref, repository, progress)
                return
            except (NetworkError, OriginError) as error:
                failures.append(error)
    raise _weightiest(failures, wanted[-1].url, wanted)


def fetch_tag(
    url: str, tag: str, tag_object: str, *, repository: Path, mirrors: Mapping[str, str] | None = None, timeout: float = 120.0
) -> None:
    """Bring an annotated tag itself into a bare repository in which ``fetch_commit`` has brought its commit."""
    wanted = origins(url, mirrors or {}, timeout)
    failures: list[KubewrightError] = []
    with alone(repository):
        for origin in wanted:
            way = ["fetch", "--no-tags", "--force", "--no-write-fetch-head", "--depth=1", REMOTE]
            try:
                reach(origin, repository, [*way, f"refs/tags/{tag}:refs/kubewright/tag-{tag_object}"])
            except (NetworkError, OriginError) as error:
                failures.append(error)
            except RefusedError as error:
                failures.append(OriginError(f"{redact(origin.url)} does not give out the tag {tag}", details=str(error)))
            else:
                if _runs(repository, "cat-file", "-e", tag_object):
                    return
                failures.append(OriginError(f"{redact(origin.url)} has another tag {tag} than {tag_object}"))
    raise _weightiest(failures, url, wanted)


@contextmanager
def alone(repository: Path) -> Iterator[None]:
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
    files = {"config": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n", "HEAD": "ref: refs/heads/main\n"}
    for name, text in files.items():
        if not (repository / name).is_file() or (repository / name).read_text("utf-8", "replace") != text:
            (repository / name).write_text(text, "utf-8")
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


def _check_ref_names(origin: Origin, ref: str, commit: str) -> None:
    """Ask first what the origin calls by that name: it costs little, and tells an origin that is not there in seconds."""
    now = _named(origin, ref or "HEAD")
    if now and ref.startswith("refs/tags/") and now.commit != commit:
        raise TagMovedError(
            f"tag {ref_name(ref)[1]} of {redact(origin.url)} names {now.commit} now; the lock has {commit}",
            remedy="a release tag that moves is an alarm: find out why, comparing both commits, before locking again",
        )


def _fetch_from(origin: Origin, commit: str, ref: str, repository: Path, progress: Progress | None) -> None:
    fetch = ["fetch", "--progress", "--no-tags", "--force", "--no-write-fetch-head"]
    ways = [[*fetch, "--depth=1", REMOTE, f"{commit}:{_ref(commit)}"]]
    if ref:
        ways.append([*fetch, "--depth=1", REMOTE, f"{ref}:refs/kubewright/named"])
    ways.append([*fetch, REMOTE, "refs/heads/*:refs/kubewright/heads/*", "refs/tags/*:refs/kubewright/tags/*"])
    for way in ways:
        try:
            reach(origin, repository, way, progress)
        except RefusedError:
            continue
        if _keep(repository, commit):
            return
    named = f" ({' '.join(ref_name(ref))})" if ref else ""
    raise OriginError(
        f"{redact(origin.url)} does not have commit {commit}{named}",
        remedy="check `git` and `tag` in the recipe, or name a mirror that has it in settings.toml (git_mirrors)",
    )
