"""What of the store the project needs: everything that its lock and recipes name, for all their platforms.

Anything here that is not certain is kept: a component that is newer than its lock keeps all its builds, one whose modules have
not been listed keeps every module of its go.sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubewright import keys, record
from kubewright.building.inputs import root_name, tree_name
from kubewright.errors import LockOutdatedError, StoreCorruptError
from kubewright.fetch.git import repository_name
from kubewright.fetch.gomodule import TOOLCHAIN_MODULE, toolchain_version
from kubewright.images.assemble import KEPT
from kubewright.images.layers import package_key
from kubewright.images.plan import images, plan_image
from kubewright.images.record import KIND as IMAGES
from kubewright.images.record import LayerKind
from kubewright.model.lockfile import FILE, LockedBuilder, LockedComponent
from kubewright.project import Component, Project
from kubewright.report import Progress

#: refs whose names are keys of components, images and packages' layers; those of other kinds are not the collector's to judge,
#: and stay
KINDS = ("record", "rebuild", "modules", IMAGES, KEPT)


@dataclass(slots=True)
class Needed:
    """What stays. ``modules`` and ``go_mods`` hold (path, version); of the latter only the go.mod files.

    ``every_go_mod``: some component builds in a source's own module, whose go.sum is not among our files.
    """

    refs: set[tuple[str, str]] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    trees: set[str] = field(default_factory=set)
    repositories: set[str] = field(default_factory=set)
    modules: set[tuple[str, str]] = field(default_factory=set)
    go_mods: set[tuple[str, str]] = field(default_factory=set)
    every_go_mod: bool = False
    compile_caches: set[str] = field(default_factory=set)


def find_needed(project: Project, progress: Progress) -> Needed:
    """Raises LockOutdatedError without a lock, LockError and RecipeError where lock or recipes cannot be read."""
    if not (project.root / FILE).is_file():
        raise LockOutdatedError(
            f"there is no {FILE} in {project.root}: nothing says what the store is needed for",
            remedy="lock first (./doit lock); or remove the store as a whole",
        )
    needed = Needed()
    for name, locked_builder in project.lock.builders.items():
        if name in project.builders:
            _add_builder(needed, locked_builder)
    uncertain = set()
    for name, locked in project.lock.components.items():
        if name in project.recipes:
            _add_sources(needed, locked, {source.strip for source in project.recipes[name].sources})
            _add_sums(needed, project.root / "recipes" / name / "go.sum")
            if not _add_keys(needed, project, name, progress):
                uncertain.add(name)
    _add_builds(needed, project, uncertain)
    _add_images(needed, project)
    return needed


# -- inputs -------------------------------------------------------------------------------------------------------


def _add_builder(needed: Needed, builder: LockedBuilder) -> None:
    needed.blobs |= {f"sha256:{package.sha256}" for package in builder.packages}
    if builder.packages:
        needed.trees.add(root_name(builder))
    for pin in builder.toolchains:
        needed.modules.add((TOOLCHAIN_MODULE, toolchain_version(pin.version, pin.platform)))
    needed.compile_caches.add(keys.builder_digest(builder).removeprefix("sha256:")[:24])


def _add_sources(needed: Needed, locked: LockedComponent, strips: set[int]) -> None:
    for pin in locked.sources:
        if pin.form == "module":
            needed.modules.add((pin.module, pin.version))
        else:
            needed.trees |= {tree_name(pin, strip) for strip in strips}
        if pin.form == "archive":
            needed.blobs.add(f"sha256:{pin.sha256}")
        if pin.git:
            needed.repositories |= {repository_name(url) for url in (pin.git, *(each.git for each in pin.submodules))}


def _add_sums(needed: Needed, go_sum: Path) -> None:
    """Resolving packages reads the go.mod files of all modules in go.sum, and the files of those that are used."""
    needed.go_mods |= {(path, version.removesuffix("/go.mod")) for path, version in _sums(go_sum)}


def _sums(go_sum: Path) -> Iterator[tuple[str, str]]:
    if go_sum.is_file():
        for line in go_sum.read_text("utf-8").splitlines():
            path, version, _ = (*line.split(), "", "", "")[:3]
            yield path, version


# -- what was built -----------------------------------------------------------------------------------------------


def _add_keys(needed: Needed, project: Project, name: str, progress: Progress) -> bool:
    """Add the refs of the component's keys; False where these cannot be worked out."""
    try:
        components = [project.component(name, platform) for platform in project.recipes[name].platforms]
    except LockOutdatedError as error:
        progress.note(f"{name} is newer than its lock, so all its builds stay: {error.message}")
        _add_listed(needed, project, name)
        return False
    for component in components:
        key = record.key_name(component.key)
        needed.refs |= {("record", key), ("modules", key)}
        needed.refs |= {("rebuild", each) for each in project.store.refs("rebuild") if each.startswith(key)}
        if not _add_modules(needed, project, component):
            _add_listed(needed, project, name)
    return True


def _add_modules(needed: Needed, project: Project, component: Component) -> bool:
    go_steps = [step.go for step in component.recipe.steps if step.go is not None and step.go.mod == "readonly"]
    needed.every_go_mod = needed.every_go_mod or any(step.dir for step in go_steps)
    known = _json(project, "modules", record.key_name(component.key)) if go_steps else []
    if not isinstance(known, list):
        return False
    needed.modules |= {(path, version) for path, version, _ in known}
    return True


def _add_listed(needed: Needed, project: Project, name: str) -> None:
    """Nobody listed the modules of these packages yet: all that go.sum has may be wanted."""
    sums = _sums(project.root / "recipes" / name / "go.sum")
    needed.modules |= {(path, version) for path, version in sums if not version.endswith("/go.mod")}


def _add_builds(needed: Needed, project: Project, uncertain: set[str]) -> None:
    """The blobs of refs that stay; refs that cannot be read do not."""
    store = project.store
    for kind in ("record", "rebuild"):
        for name, digest in store.refs(kind).items():
            data = _json(project, kind, name)
            if isinstance(data, dict) and data.get("component") in uncertain:
                needed.refs |= {(kind, name), ("modules", record.key_name(str(data["key"])))}
            if (kind, name) in needed.refs:
                needed.blobs |= {digest, *_blobs(data, name)}
    for name, digest in store.refs("modules").items():
        if ("modules", name) in needed.refs:
            needed.blobs.add(digest)
    needed.blobs |= _blobs_of_other_kinds(project)


def _add_images(needed: Needed, project: Project) -> None:
    """Records of images as recipes and lock have them now, and layers of locked packages."""
    store = project.store
    packages = [package for builder in project.lock.builders.values() for package in builder.packages]
    kinds: tuple[LayerKind, ...] = ("package", "certificates")
    needed.refs |= {(KEPT, record.key_name(package_key(kind, package))) for package in packages for kind in kinds}
    for name, recipe in images(project).items():
        for platform in recipe.platforms:
            try:
                needed.refs.add((IMAGES, record.key_name(plan_image(project, name, platform).key)))
            except LockOutdatedError:  # not certain: all stay
                needed.refs |= {(IMAGES, each) for each in store.refs(IMAGES)}
    for kind in (IMAGES, KEPT):
        needed.blobs |= {digest for name, digest in store.refs(kind).items() if (kind, name) in needed.refs}


def _blobs(data: Any, name: str) -> set[str]:
    if data is None:
        return set()
    try:
        found = record.from_json(data, name)
    except StoreCorruptError:
        return set()
    return {*found.digests().values(), found.log}


def _blobs_of_other_kinds(project: Project) -> set[str]:
    directory = project.store.root / "refs"
    kinds = [path.name for path in directory.iterdir() if path.name not in KINDS] if directory.is_dir() else []
    return {digest for kind in kinds for digest in project.store.refs(kind).values()}


def _json(project: Project, kind: str, name: str) -> object | None:
    try:
        return project.store.get_json(kind, name)
    except StoreCorruptError:
        return None  # it has been moved aside: what it named is made anew
