"""What outputs are made of, each with its pin, its package URL and its licence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kubewright import record as records
from kubewright.building.inputs import Inputs, ensure_inputs, tree_name
from kubewright.fetch.gomodule import TOOLCHAIN_MODULE, Module, module_cache, toolchain_version
from kubewright.fetch.http import redact
from kubewright.model.recipe import Recipe
from kubewright.project import Component, Project
from kubewright.record import BuildRecord, RecordedSource
from kubewright.report import Progress
from kubewright.sbom import gobinary, licences, purl
from kubewright.sbom.facts import Change, Ingredient
from kubewright.sbom.gobinary import GoProgram, LinkedModule
from kubewright.sbom.licences import Licence
from kubewright.sbom.linked import Contents
from kubewright.sbom.locked import Pinned, go_programs
from kubewright.sbom.origin import made_of_more
from kubewright.sbom.packages import PackageLicences, keep_texts

#: the standard library as vulnerability databases call it
STANDARD_LIBRARY = "stdlib"


def module_ref(pin: Pinned) -> str:
    """What is no published module has its source in the name: the same version may be there as a published one, too."""
    return f"module:{pin.path}@{pin.version}" + ("" if pin.h1 else f"?{'vendored' if pin.vendored else 'source'}={pin.source}")


def standard_library_ref(version: str) -> str:
    return f"standard-library:go{version}"


def source_ref(source: RecordedSource) -> str:
    """A module source has the name that it has where it is linked."""
    return f"module:{source.module}@{source.version}" if source.form == "module" else f"source:{source.name}"


def component_ref(name: str) -> str:
    return f"built:{name}"


def of_unknown_sources(recipe: Recipe, output: str, held: Contents) -> bool:
    """Whether an output has parts that do not say what they were made from: then it is all of the recipe's sources."""
    silent = not held.programs or any(program.go is None for program in held.programs)
    return bool(held.others) or silent or made_of_more(recipe, output)


class Ingredients:
    """The ingredients of one build. Its inputs are brought in (and compared with their pins) at most once, and only when
    licences of some of them are not known yet. ``texts``: SHA-256 -> text of every licence file that applies."""

    def __init__(
        self,
        project: Project,
        component: Component,
        record: BuildRecord,
        found: Mapping[str, Contents],
        pins: Mapping[LinkedModule, Pinned],
        progress: Progress,
    ) -> None:
        self._project, self._component, self._record, self._progress = project, component, record, progress
        self._found, self._pins = found, pins
        self._programs: tuple[GoProgram, ...] = tuple(go_programs(found))
        self._inputs: Inputs | None = None
        self.texts: dict[str, str] = {}

    def all(self) -> Iterator[Ingredient]:
        """Each once or more often; those with one ref are the same."""
        if any(of_unknown_sources(self._component.recipe, output, held) for output, held in self._found.items()):
            yield from (self._source(source) for source in self._record.sources)
        yield from (self._module(pin) for pin in sorted(set(self._pins.values())))
        yield from (self._standard_library(version) for version in sorted({program.go for program in self._programs}))
        yield from self._packages()
        yield from (self._component_output(name) for name in sorted(self._component.dependencies))

    # -- Go -------------------------------------------------------------------------------------------------------

    def _module(self, pin: Pinned) -> Ingredient:
        """With the licences of those of its folders that are in some program."""
        every = [(program, module) for program in self._programs for module in program.modules]
        linked = [(program, module) for program, module in every if self._pins[module] == pin]
        folders = _union(gobinary.folders_of(program, module) for program, module in linked)
        made = self._module_ingredient(pin, folders) if pin.h1 else self._module_of_source(pin, folders)
        forks = sorted({module.instead for _, module in linked if module.instead.partition("@")[0] not in ("", pin.path)})
        return replace(made, details=(*made.details, *(("replaces", each) for each in forks)))

    def _module_ingredient(self, pin: Pinned, folders: frozenset[str] | None) -> Ingredient:
        root = module_cache(self._project.store) / Module(pin.path, pin.version, pin.h1).directory
        source = next((e for e in self._record.sources if (e.module, e.version) == (pin.path, pin.version)), None)
        return Ingredient(
            ref=module_ref(pin),
            kind="module",
            name=pin.path,
            version=pin.version,
            purl=purl.golang(pin.path, pin.version),
            licence=self._licence(root, pin.h1, folders),
            h1=pin.h1,
            git=source.git if source and source.commit else "",
            commit=source.commit if source else "",
            patches=self._patches(source) if source else (),
        )

    def _module_of_source(self, pin: Pinned, folders: frozenset[str] | None) -> Ingredient:
        """A module that lies in a source: the source's pin covers its files. Of a vendored one nobody has compared them with
        what was published, so its source is named and no hash is said to be its own."""
        source, tree = self._tree_of(pin.source)
        root = self._project.store.tree(tree) / pin.folder
        licence = self._licence(root, f"{tree}/{pin.folder}" if pin.folder else tree, folders)
        vcs = f"git+{source.git}@{source.commit}" if source.commit else ""
        place = f"{source.name} {vcs or redact(source.url)} {pin.folder}".rstrip()
        made = Ingredient(
            ref=module_ref(pin),
            kind="module",
            name=pin.path,
            version=pin.version,
            purl=purl.golang(pin.path, pin.version, {} if pin.vendored else {"vcs_url": vcs}),
            licence=licence,
            details=(("vendored-in" if pin.vendored else "in-source", place),),
        )
        if pin.vendored:
            return made
        pinned = replace(made, sha256=source.sha256, patches=self._patches(source))
        return replace(pinned, git=source.git, commit=source.commit) if source.commit else pinned

    def _tree_of(self, name: str) -> tuple[RecordedSource, str]:
        """A source that is no module, and the store's name of its files."""
        source = next(each for each in self._record.sources if each.name == name)
        pin = next(each for each in self._component.locked.sources if each.name == name)
        strip = next(each.strip for each in self._component.recipe.sources if each.name == name)
        return source, tree_name(pin, strip)

    def _standard_library(self, version: str) -> Ingredient:
        """With the licences of its own folders that are in some program; where it was built (the host) does not show."""
        builder = self._record.builder
        pin = Module(TOOLCHAIN_MODULE, toolchain_version(builder.go, builder.host), builder.go_h1)
        root = module_cache(self._project.store) / pin.directory
        return Ingredient(
            ref=standard_library_ref(version),
            kind="standard library",
            name=STANDARD_LIBRARY,
            version=version,
            purl=f"pkg:golang/{STANDARD_LIBRARY}@{version}",
            licence=self._licence(root, pin.h1, _union(gobinary.standard_folders(program) for program in self._programs)),
        )

    # -- sources that say nothing in the output -------------------------------------------------------------------

    def _source(self, source: RecordedSource) -> Ingredient:
        """A source from which something was built that does not say so: the licences of its root and of folders in which steps
        ran, since nothing says which of its files went in."""
        ran = frozenset(
            step.dir.removeprefix(f"src/{source.name}/")
            for step in self._component.recipe.steps
            if step.dir.startswith(f"src/{source.name}/")
        )
        if source.form == "module":
            return self._module_ingredient(Pinned(source.module, source.version, source.h1), ran)
        _, tree = self._tree_of(source.name)
        checksum = f"sha256:{source.sha256}" if source.url else ""
        vcs = f"git+{source.git}@{source.commit}" if source.commit else ""
        qualifiers = {"vcs_url": vcs, "download_url": source.url, "checksum": checksum}
        return Ingredient(
            ref=source_ref(source),
            kind="source",
            name=source.name,
            version=self._record.version,
            purl=purl.generic(source.name, self._record.version, qualifiers),
            licence=self._licence(self._project.store.tree(tree), tree, ran),
            sha256=source.sha256,
            git=source.git,
            commit=source.commit,
            patches=self._patches(source),
        )

    def _patches(self, source: RecordedSource) -> tuple[Change, ...]:
        return tuple(Change(f"patches/{self._record.component}/{e.file}", e.sha256, e.reason) for e in source.patches)

    # -- packages and other components ----------------------------------------------------------------------------

    def _packages(self) -> Iterator[Ingredient]:
        linked = {each.package for held in self._found.values() for program in held.programs for each in program.archives}
        linked |= {name for each in self._component.recipe.packages for name in each.files}
        locked = self._component.locked_builder
        packages = PackageLicences(self._project, self._progress)
        yield from packages.of(
            self._component.recipe.builder, locked, [each for each in locked.packages if each.name in linked]
        )
        self.texts.update(packages.texts)

    def _component_output(self, name: str) -> Ingredient:
        """Another component whose outputs are laid into the build: it has a bill of materials of its own."""
        other = self._project.component(name, self._record.platform)
        made = records.load(self._project.store, other.key)
        taken = [each.output for each in self._component.recipe.inputs if each.component == name]
        digests = made.digests() if made else {}
        return Ingredient(
            ref=component_ref(name),
            kind="component",
            name=name,
            version=other.recipe.version,
            purl=purl.generic(name, other.recipe.version),
            licence=Licence(other.recipe.licence, ()),
            details=(("key", other.key), *((f"output:{path}", digests[path]) for path in taken if path in digests)),
        )

    # -- licences -------------------------------------------------------------------------------------------------

    def _licence(self, root: Path, name: str, folders: Iterable[str] | None) -> Licence:
        """What applies of the tree at ``root``, which the store knows as ``name``."""
        files = licences.known_files(self._project.store, name)
        if files is None or not root.is_dir():
            self._ensure()
            files = licences.of_tree(self._project.store, root, name)
        licence = licences.applicable(files, folders)
        keep_texts(self.texts, root, licence)
        return licence

    def _ensure(self) -> None:
        if self._inputs is None:
            self._inputs = ensure_inputs(self._project, self._component, self._progress)
            self._progress.stage("licences")


def _union(parts: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """All folders; None when those of one part are not known."""
    found: frozenset[str] = frozenset()
    for part in parts:
        if part is None:
            return None
        found |= part
    return found
