"""What a lock names for a stack: a pure function of lock, recipes and go.sum files, for all platforms of each recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from kubewright.building.inputs import BUBBLEWRAP
from kubewright.building.workspace import lay_sources
from kubewright.fetch.gitfetch import ref_of
from kubewright.fetch.gomodule import TOOLCHAIN_MODULE, toolchain_version
from kubewright.fetch.mirror import TOOLCHAIN_GO_MOD, archive_file, module_file, package_file, read_sums, repository_folder
from kubewright.fetch.mirrorindex import Kind
from kubewright.images.plan import CERTIFICATES
from kubewright.model.lockfile import LockedBuilder, LockedComponent, LockedPackage, LockedSource
from kubewright.model.stack import Stack
from kubewright.project import Component, Project
from kubewright.sbom.commonlicences import BUILDER as LICENCES

Sources: TypeAlias = "Callable[[Component], Mapping[str, Path]] | None"


@dataclass(frozen=True, slots=True, order=True)
class Pinned:
    """A commit of a repository. ``ref``: refs/tags/NAME, refs/heads/NAME, or nothing for a submodule's; ``sha256`` of the files
    where the lock has it."""

    git: str
    ref: str
    commit: str
    source: str
    sha256: str = ""


def pinned(source: LockedSource) -> list[Pinned]:
    """The commits that a source of the form tree takes its files from."""
    files = "" if source.submodules else source.sha256  # with submodules the lock's digest is of all of them together
    own = Pinned(source.git, ref_of(source.tag, source.branch), source.commit, source.name, files)
    return [own, *(Pinned(each.git, "", each.commit, f"{source.name}, {each.path}") for each in source.submodules)]


@dataclass(slots=True)
class Needs:
    """Inputs with their pins. ``zips`` and ``mods``: (path, version) -> h1; ``packages`` by builder."""

    components: set[str] = field(default_factory=set)
    packages: dict[str, tuple[LockedPackage, ...]] = field(default_factory=dict)
    zips: dict[tuple[str, str], str] = field(default_factory=dict)
    mods: dict[tuple[str, str], str] = field(default_factory=dict)
    archives: dict[str, LockedSource] = field(default_factory=dict)
    commits: set[Pinned] = field(default_factory=set)

    def add_builder(self, name: str, builder: LockedBuilder) -> None:
        self.packages[name] = builder.packages
        for pin in builder.toolchains:
            at = (TOOLCHAIN_MODULE, toolchain_version(pin.version, pin.platform))
            self.zips[at], self.mods[at] = pin.h1, TOOLCHAIN_GO_MOD

    def add_component(self, name: str, locked: LockedComponent, go_sums: Iterable[str]) -> None:
        self.components.add(name)
        for pin in locked.sources:
            if pin.form == "archive":
                self.archives[archive_file(pin.sha256, pin.url)] = pin
            elif pin.form == "tree":
                self.commits |= set(pinned(pin))
            if pin.form == "module":
                self.zips[pin.module, pin.version], self.mods[pin.module, pin.version] = pin.h1, pin.go_mod_h1
        for text in go_sums:
            zips, mods = read_sums(text)
            self.zips |= zips
            self.mods |= mods

    def files(self) -> Iterator[tuple[str, Kind]]:
        """Path in the mirror -> what it is; git repositories are folders and come from ``repositories``."""
        for path, version in sorted({*self.zips, *self.mods}):
            for kind in ("info", "mod", "zip") if (path, version) in self.zips else ("mod",):
                yield module_file(path, version, kind), "module"
        for package in self.all_packages():
            yield package_file(package.path), "package"
        for archive in sorted(self.archives):
            yield archive, "archive"

    def all_packages(self) -> list[LockedPackage]:
        """Each package once, by pool path."""
        found = {package.path: package for packages in self.packages.values() for package in packages}
        return [found[path] for path in sorted(found)]

    def repositories(self) -> Mapping[str, list[Pinned]]:
        """Folder in the mirror -> the commits that it has to have."""
        found: dict[str, list[Pinned]] = {}
        for pin in sorted(self.commits):
            found.setdefault(repository_folder(pin.git), []).append(pin)
        return found


def find_needs(project: Project, stack: Stack, sources: Sources = None) -> Needs:
    """Everything that the stack's components are built from, and what they take from others. Raises LockOutdatedError.

    ``sources`` gives the trees of a component that builds in a source's own module, whose go.sum lies there; without it the
    modules of that go.sum are left out.
    """
    needs = Needs()
    for component in _components(project, stack):
        if component.name in needs.components:
            continue
        needs.add_component(component.name, component.locked, _go_sums(project, component, sources))
        needs.add_builder(component.recipe.builder, component.locked_builder)
    for name in builders_beside(project, needs.components):
        needs.add_builder(name, project.locked_builder(name))
    return needs


def builders_beside(project: Project, components: Iterable[str]) -> list[str]:
    """Builders that no step names: those of the sandbox, of images, and of licence texts."""
    roots = {image.root for name in components for image in project.recipes[name].images if image.root}
    return sorted(roots | ({BUBBLEWRAP, CERTIFICATES, LICENCES} & project.builders.keys()))


def _components(project: Project, stack: Stack) -> Iterator[Component]:
    for name in stack.components:
        for platform in project.recipe(name).platforms:
            yield from project.in_order([name], platform)


def _go_sums(project: Project, component: Component, sources: Sources) -> Iterator[str]:
    """The go.sum of the generated main module, and those of sources that are built in a module of their own."""
    ours = project.root / "recipes" / component.name / "go.sum"
    if ours.is_file():
        yield ours.read_text("utf-8")
    folders = {step.go.dir for step in component.recipe.steps if step.go and step.go.mod == "readonly" and step.go.dir}
    if folders and sources:
        with project.store.scratch("mirror") as scratch:
            lay_sources(project, component, sources(component), scratch)
            found = [scratch / folder / "go.sum" for folder in sorted(folders)]
            yield from [path.read_text("utf-8") for path in found if path.is_file()]
