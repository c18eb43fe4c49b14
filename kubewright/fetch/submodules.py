"""The submodules of a commit: their files, each at the commit that the tree above it names.

Only what the pinned commit itself says counts: ``.gitmodules`` gives the URL, the tree the commit. Nothing of either is run
(https://git-scm.com/docs/gitmodules; an ``update`` command in it is not read).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from kubewright.errors import KubewrightError, OriginError
from kubewright.fetch import git
from kubewright.fetch.gitcommand import Progress, check_url, settings_in
from kubewright.fetch.gitexport import Commit, links_to_commits
from kubewright.fetch.http import redact

#: submodules of submodules of ...: no real project comes near it
_DEEPEST: Final = 8
_MOST: Final = 1000
_ENTRY: Final = re.compile(r"submodule\.(?P<name>.+)\.(?P<key>path|url)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Submodule:
    """A repository in a tree: where its files are, whose it is, which commit."""

    path: str
    url: str
    commit: str


def fetch(
    url: str,
    top: Commit,
    target: Path,
    repository_of: Callable[[str], Path],
    *,
    mirrors: Mapping[str, str] | None = None,
    instead: Callable[[str], str] = lambda url: "",
    progress: Progress | None = None,
    timeout: float = 120.0,
    retries: int = 2,
) -> tuple[Submodule, ...]:
    """Lay the files of all submodules of the commit ``top`` of ``url`` into its files at ``target``.

    ``repository_of`` says where the bare repository of a URL is kept. Raises what ``git.fetch_tree`` raises, each error with
    the submodule that it is about.
    """
    found: list[Submodule] = []
    waiting = [("", url, top.commit, 0)]
    while waiting:
        above, parent, commit, depth = waiting.pop(0)
        here = target / above
        for path, wanted in links_to_commits(repository_of(parent), commit):
            place = posixpath.join(above, path)
            if depth == _DEEPEST or len(found) == _MOST:
                raise OriginError(f"{redact(url)} has submodules without end, at {place}", remedy="do not use this origin")
            origin = resolved(parent, _urls(here, parent).get(path, ""), path)
            with _naming(place, parent):
                git.fetch_tree(
                    origin,
                    wanted,
                    ref="",
                    repository=repository_of(origin),
                    target=here / path,
                    mirrors=mirrors,
                    instead=instead(origin),
                    progress=progress,
                    timeout=timeout,
                    retries=retries,
                    allow_submodules=True,
                )
            found.append(Submodule(place, origin, wanted))
            waiting.append((place, origin, wanted, depth + 1))
    return tuple(sorted(found, key=lambda each: each.path))


@contextmanager
def _naming(place: str, parent: str) -> Iterator[None]:
    """Say of which submodule an error is."""
    try:
        yield
    except KubewrightError as error:
        message = f"submodule {place} of {redact(parent)}: {error.message}"
        raise type(error)(message, remedy=error.remedy, details=error.details) from error


def _urls(tree: Path, parent: str) -> dict[str, str]:
    """Path -> URL as the ``.gitmodules`` of a tree has them."""
    file = tree / ".gitmodules"
    if file.is_symlink() or not file.is_file():
        raise OriginError(
            f"{redact(parent)} has submodules, and no .gitmodules that says where they are", remedy="report it upstream"
        )
    entries: dict[str, dict[str, str]] = {}
    for key, value in settings_in(file):
        match = _ENTRY.fullmatch(key)
        if match:
            entries.setdefault(match["name"], {})[match["key"]] = value
    return {entry["path"]: entry["url"] for entry in entries.values() if {"path", "url"} <= entry.keys()}


def resolved(parent: str, url: str, path: str) -> str:
    """The URL of a submodule: one that starts with ``./`` or ``../`` is relative to its parent's URL. Raises OriginError."""
    if not url:
        raise OriginError(f"{redact(parent)}: .gitmodules has no url for the submodule {path}", remedy="report it upstream")
    if url.startswith(("./", "../")):
        if "://" not in parent:
            host, colon, folder = parent.partition(":")
            url = host + colon + posixpath.normpath(posixpath.join(folder, url))
        else:
            parts = urlsplit(parent)
            folder = posixpath.normpath(posixpath.join(parts.path, url))
            url = urlunsplit((parts.scheme, parts.netloc, folder, "", ""))
    check_url(url)
    return url
