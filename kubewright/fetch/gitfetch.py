"""git sources of a project: the files of a commit, its submodules included, from the bare repositories of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubewright.errors import SignatureMissingError
from kubewright.fetch import git, gitsign, submodules
from kubewright.fetch.gitexport import Commit
from kubewright.fetch.submodules import Submodule
from kubewright.model.settings import Settings
from kubewright.store import Store


class Site(Protocol):
    """What of a project counts here: where repositories are kept, and which mirrors there are."""

    @property
    def store(self) -> Store: ...

    @property
    def settings(self) -> Settings: ...


@dataclass(frozen=True, slots=True)
class Filled:
    """The commit whose files were written, and its submodules."""

    commit: Commit
    submodules: tuple[Submodule, ...]


def ref_of(tag: str, branch: str) -> str:
    """The git ref of a source."""
    return f"refs/heads/{branch}" if branch else f"refs/tags/{tag}"


def fill(
    project: Site,
    url: str,
    commit: str,
    ref: str,
    target: Path,
    *,
    tree: str = "",
    submodules: bool = False,
    instead: Callable[[str], str] = lambda url: "",
    progress: Callable[[int], None] | None = None,
) -> Filled:
    """Write the files of ``commit`` to the new directory ``target``.

    ``instead`` gives the one URL to ask in the place of another. Raises what ``git.fetch_tree`` raises.
    """
    mirrors = project.settings.git_mirrors
    top = git.fetch_tree(
        url,
        commit,
        ref=ref,
        tree=tree,
        repository=repository(project, url),
        target=target,
        mirrors=mirrors,
        instead=instead(url),
        progress=progress,
        allow_submodules=submodules,
    )
    return Filled(top, _submodules(project, url, top, target, instead, progress) if submodules else ())


def _submodules(
    project: Site,
    url: str,
    top: Commit,
    target: Path,
    instead: Callable[[str], str],
    progress: Callable[[int], None] | None,
) -> tuple[Submodule, ...]:
    mirrors = project.settings.git_mirrors

    def kept(each: str) -> Path:
        return repository(project, each)

    return submodules.fetch(url, top, target, kept, mirrors=mirrors, instead=instead, progress=progress)


def repository(project: Site, url: str) -> Path:
    """The bare repository that the store keeps for a URL."""
    return project.store.root / "git" / git.repository_name(url)


def check_signature(project: Site, url: str, tag: str, named: git.Named, keys: Path) -> str:
    """Fingerprint of the key in ``keys`` that signed the tag, whose commit has been fetched. Raises SignatureMissingError."""
    if not named.tag_object:
        remedy = "remove `signed_by` from the recipe if upstream does not sign its tags"
        raise SignatureMissingError(f"tag {tag} of {url} is not annotated, so nobody signed it", remedy=remedy)
    where = repository(project, url)
    git.fetch_tag(url, tag, named.tag_object, repository=where, mirrors=project.settings.git_mirrors)
    with git.alone(where):
        return gitsign.verify_tag(where, tag, named.tag_object, named.commit, keys)
