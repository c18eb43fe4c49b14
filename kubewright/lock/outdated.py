"""Newer upstream releases: asks each source's origin once, and says which could not be asked.

Versions are ordered by ``packaging.version``, local segments included (v1.37.1+k3s2 after v1.37.1+k3s1). Pre-releases count
only where the current version is one. A Go module's next major version is another module (``/v4``), and so out of scope here,
as are archives: their URLs list nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubewright.errors import KubewrightError
from kubewright.model.recipe import Recipe, Source
from kubewright.project import Project
from kubewright.report import Progress

if TYPE_CHECKING:
    from packaging.version import Version

#: attempts per origin: a list that can be asked for again at any time is not worth long pauses
_ATTEMPTS = 2
_PSEUDO = re.compile(r"[-.]\d{14}-[0-9a-f]{12}(\+incompatible)?$")  # https://go.dev/ref/mod#pseudo-versions
_INCOMPATIBLE = "+incompatible"
_NUMBERS = re.compile(r"\d+(\.\d+)+\S*")


@dataclass(frozen=True, slots=True)
class Release:
    """What a source's origin says. ``newest`` is empty where nobody could say, and then ``reason`` tells why."""

    component: str
    source: str
    origin: str
    current: str
    newest: str
    reason: str = ""
    status: str = ""  # what the recipe says of its upstream

    @property
    def newer(self) -> bool:
        return bool(self.newest) and self.newest != self.current

    def __str__(self) -> str:
        if self.newer:
            told = f"; the recipe says: {self.status}" if self.status else ""
            return f"{self.component}: {self.current} -> {self.newest} ({self.origin}){told}"
        what = self.reason or "is the newest"
        return f"{self.component}: {self.current} ({self.origin}) {what}"


def outdated(project: Project, progress: Progress) -> list[Release]:
    """Sources with a newer release, and those whose origin could not be asked; the others are only counted."""
    found = releases(project, progress)
    behind = [each for each in found if each.newer]
    unknown = [each for each in found if not each.newest]
    progress.note(f"{len(found)} sources: {len(behind)} with a newer release, {len(unknown)} whose origin could not be asked")
    return [*behind, *unknown]


def releases(project: Project, progress: Progress) -> list[Release]:
    """What the origin of every source says, in the order of the recipes."""
    sources = [(recipe, source) for recipe in project.recipes.values() for source in recipe.sources]
    progress.stage("asking")
    answers = _module_versions(project, {source.module for _, source in sources if source.form == "module"})
    answers |= _git_tags(project, {source.git for _, source in sources if source.form == "tree"}, progress)
    return [_release(recipe, source, answers) for recipe, source in sources]


#: an origin's versions or tags, or why it has none to tell
Answers = dict[str, "list[str] | str"]


def _release(recipe: Recipe, source: Source, answers: Answers) -> Release:
    if source.form == "archive":
        return Release(
            recipe.name, source.name, source.url, recipe.version, "", "not known: the URL of an archive lists no releases"
        )
    origin = source.module if source.form == "module" else source.git
    if source.branch or "{" in source.tag:
        why = f"is at the branch {source.branch}" if source.branch else "follows the go.mod of the main source"
        return Release(recipe.name, source.name, origin, source.branch or source.tag, "", f"not asked: it {why}")
    current, prefix, suffix = _parts(recipe, source)
    answer = answers[origin]
    if isinstance(answer, str):
        return Release(recipe.name, source.name, origin, current, "", f"not reachable: {answer}")
    fitting = [each for each in answer if each.startswith(prefix) and each.endswith(suffix)]
    core, *others = (each[len(prefix) : len(each) - len(suffix)] for each in (current, *fitting))
    newest = newest_of(core, others)
    if newest is None:
        return Release(recipe.name, source.name, origin, current, "", "not known: it has no place in the order of releases")
    return Release(recipe.name, source.name, origin, current, f"{prefix}{newest}{suffix}", status=recipe.status)


def _parts(recipe: Recipe, source: Source) -> tuple[str, str, str]:
    """The current version or tag, and what stands in it before and after the numbers."""
    if source.form == "module":
        return source.version, "", ""
    tag = source.tag
    match = re.search(re.escape(recipe.version), tag) or _NUMBERS.search(tag)
    return (tag, tag[: match.start()], tag[match.end() :]) if match else (tag, tag, "")


# -- ordering -----------------------------------------------------------------------------------------------------


def newest_of(current: str, candidates: Iterable[str]) -> str | None:
    """The newest of ``current`` and the releases among ``candidates``; None where ``current`` is no version."""
    now = order(current)
    if now is None:
        return None
    best, newest = now, current
    for each in candidates:
        if each.endswith(_INCOMPATIBLE) and not current.endswith(_INCOMPATIBLE):
            continue  # from before the module had a go.mod: go would not choose it either
        version = order(each)
        if version is not None and version > best and (now.is_prerelease or not version.is_prerelease):
            best, newest = version, each
    return newest


def order(text: str) -> Version | None:
    """A version or tag as ``packaging`` orders it; None for what is none (and for Go's pseudo-versions)."""
    from packaging.version import InvalidVersion, Version

    if _PSEUDO.search(text):
        return None
    public, plus, local = text.removesuffix(_INCOMPATIBLE).partition("+")
    # numbers within a local segment count as numbers: k3s10 is after k3s9
    separated = re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", ".", local)
    try:
        return Version(public + plus + separated)
    except InvalidVersion:
        return None


# -- asking -------------------------------------------------------------------------------------------------------


def _module_versions(project: Project, modules: set[str]) -> Answers:
    """Through the go client, all in one call: it asks in parallel and reports errors one by one."""
    from kubewright.fetch.gomodule import GoClient, bootstrap_goroot

    if not modules:
        return {}
    try:
        client = GoClient(bootstrap_goroot(), project.store, _ATTEMPTS)
        with project.store.scratch("outdated") as directory:
            result = client.run(["list", "-m", "-e", "-versions", "-json", *sorted(modules)], directory)
    except KubewrightError as error:
        return dict.fromkeys(modules, error.message)
    missing = f"the go client said nothing of it: {result.stderr.strip()[-200:]}"
    answers: Answers = dict.fromkeys(modules, missing)
    return answers | {str(each["Path"]): _versions(each) for each in _json_stream(result.stdout)}


def _versions(answer: Mapping[str, object]) -> list[str] | str:
    error = answer.get("Error")
    if isinstance(error, dict):
        return " ".join(str(error.get("Err", "")).split())
    versions = answer.get("Versions")
    return list(versions) if isinstance(versions, list) else []


def _json_stream(text: str) -> list[dict[str, object]]:
    """JSON objects one after another."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (start := text.find("{", at)) >= 0:
        value, at = decoder.raw_decode(text, start)
        found.append(value)
    return found


def _git_tags(project: Project, urls: set[str], progress: Progress) -> Answers:
    def ask(url: str) -> list[str] | str:
        progress.update(f"tags of {url}")
        return _tags_of(url, project.settings.git_mirrors)

    ordered = sorted(urls)
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(ordered, pool.map(ask, ordered), strict=True))


def _tags_of(url: str, mirrors: Mapping[str, str]) -> list[str] | str:
    """The tags at the first origin that answers, or every origin's reason not to."""
    from kubewright.fetch.git import origins
    from kubewright.fetch.gitcommand import REMOTE, RefusedError, reach

    reasons = []
    for origin in origins(url, mirrors, timeout=30, retries=_ATTEMPTS - 1):
        try:
            listed = reach(origin, None, ["ls-remote", "--tags", "--refs", REMOTE])
        except (KubewrightError, RefusedError) as error:
            reasons.append(error.message if isinstance(error, KubewrightError) else str(error))
            continue
        return [line.partition("refs/tags/")[2] for line in listed.splitlines()]
    return "; ".join(reasons)
