"""Inputs from a site's mirror (setting ``mirror``): what a component needs is brought before go or git are asked for it.

Without the setting, everything here says "nobody": inputs come from their origins. With it, nobody else is asked unless
``mirror_only = false``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from kubewright.errors import MirrorLacksError, NetworkError, UsageError
from kubewright.fetch import gomodule, mirrorindex
from kubewright.fetch.gomodule import GoClient, Module
from kubewright.fetch.http import redact
from kubewright.fetch.mirror import (
    INDEX,
    TOOLCHAIN_GO_MOD,
    Mirror,
    archive_file,
    bring_modules,
    bring_repository,
    read_sums,
    repository_folder,
)
from kubewright.model.lockfile import LockedSource
from kubewright.project import Project
from kubewright.report import Meter, Progress


def mirror_of(project: Project) -> Mirror | None:
    """The mirror that the settings name."""
    settings = project.settings
    return Mirror(settings.mirror, settings.mirror_only, settings.retries) if settings.mirror else None


def asks_origins(project: Project) -> bool:
    """Whether inputs may come from anybody but the mirror."""
    return not project.settings.mirror or not project.settings.mirror_only


def require_origins(project: Project, what: str) -> None:
    """Raise UsageError where the settings let nobody be asked but a mirror."""
    if not asks_origins(project):
        raise UsageError(
            f"{what} asks origins, and with mirror = {project.settings.mirror!r} nobody but the mirror may be asked",
            remedy="do it where origins can be reached: without the setting, or with mirror_only = false",
        )


def client(project: Project, goroot: Path) -> GoClient:
    """The go client of a project: beside a mirror that is the only origin, it asks nobody."""
    return GoClient(goroot, project.store, project.settings.retries + 1, alone=not asks_origins(project))


def naming(project: Project) -> AbstractContextManager[None]:
    """Errors inside are about the mirror, where nobody else may be asked."""
    mirror = mirror_of(project)
    return mirror.naming() if mirror else nullcontext()


def package_archives(project: Project) -> list[str]:
    """URIs below which ``pool/`` lies, in the order to try them."""
    mirror = mirror_of(project)
    ours = [f"{mirror.url}/deb"] if mirror else []
    if not asks_origins(project):
        return ours
    from kubewright.fetch import apt

    return [*ours, *(project.settings.debian_archives or apt.archives())]


def archive_urls(project: Project, pin: LockedSource) -> list[str]:
    """URLs of an archive source, in the order to try them."""
    mirror = mirror_of(project)
    ours = [mirror.at(archive_file(pin.sha256, pin.url))] if mirror else []
    return [*ours, *([pin.url] if asks_origins(project) else [])]


def ensure_toolchain(project: Project, host: str, go_version: str, h1: str) -> Path:
    """GOROOT of a pinned toolchain, verified."""
    mirror = mirror_of(project)

    def bring(module: Module) -> None:
        if mirror:
            at = (module.path, module.version)
            bring_modules(project.store, mirror, {at: module.h1}, {at: TOOLCHAIN_GO_MOD})

    attempts = project.settings.retries + 1
    alone = not asks_origins(project)
    return gomodule.ensure_toolchain(project.store, host, go_version, h1, attempts, alone=alone, bring=bring)


def bring_pinned(project: Project, module: Module, go_mod_h1: str, on_file: Callable[[str], None]) -> None:
    """One module that the lock itself pins."""
    mirror = mirror_of(project)
    if mirror:
        at = (module.path, module.version)
        bring_modules(project.store, mirror, {at: module.h1}, {at: go_mod_h1}, on_file)


def bring_sums(project: Project, go_sum: Path, on_file: Callable[[str], None]) -> None:
    """Everything that a go.sum names."""
    mirror = mirror_of(project)
    if mirror and go_sum.is_file():
        bring_modules(project.store, mirror, *read_sums(go_sum.read_text("utf-8")), on_file)


def bring_git(project: Project, url: str, scratch: Path, progress: Progress) -> str:
    """A repository of the mirror, copied below ``scratch``: its URL. Empty where there is no mirror, or not that repository
    and origins may be asked."""
    mirror = mirror_of(project)
    if mirror is None:
        return ""
    name = redact(url).rpartition("/")[2]
    meter = Meter(progress, f"git {name}")
    try:
        index = load_index(mirror, scratch / INDEX)
        files = [(path, file.sha256, file.size) for path, file in index.files.items() if file.kind == "repository"]
        return bring_repository(
            mirror, repository_folder(url), files, scratch / "repository.git", lambda done: meter.at(name, done, None)
        )
    except (MirrorLacksError, NetworkError):
        if mirror.only:
            raise
        return ""


def load_index(mirror: Mirror, target: Path) -> mirrorindex.Index:
    """The mirror's index, brought to ``target``. Raises MirrorLacksError, MirrorIndexError."""
    path = mirror.bring(INDEX, target, "the list of its files", most=mirrorindex.LIMITS.size)
    return mirrorindex.parse(path.read_bytes(), f"{INDEX} of the mirror {mirror.name}")
