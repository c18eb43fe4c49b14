"""What is linked against what is locked: every module of a program has to be in the lock with the same hash, or to be part of a
source that the lock pins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubewright.fetch.gomodule import read_go_sum
from kubewright.model.recipe import Recipe
from kubewright.project import Component
from kubewright.record import BuildRecord, RecordedSource
from kubewright.sbom.errors import NotLockedError
from kubewright.sbom.gobinary import GoProgram, LinkedModule
from kubewright.sbom.linked import Contents
from kubewright.sbom.origin import go_step, origin


@dataclass(frozen=True, slots=True, order=True)
class Pinned:
    """A linked module with its pin. ``source``: the recipe's source that it was built from unpacked, patched or not.

    Without ``h1`` it is the files in ``folder`` of that source, which the source's pin covers: the module that a program was
    built in, one that a replace line has there, or (``vendored``) one of its vendor folder. ``version`` is then the source's
    tag or commit; of what is vendored, the version that go.mod asks for.
    """

    path: str
    version: str
    h1: str
    source: str = ""
    folder: str = ""
    vendored: bool = False


def pinned(component: Component, record: BuildRecord, contents: Mapping[str, Contents]) -> dict[LinkedModule, Pinned]:
    """Every linked module of every output with the pin that it was built from. Raises NotLockedError."""
    recorded = {(module.path, module.version): module.h1 for module in record.modules}
    found: dict[LinkedModule, Pinned] = {}
    for output, each in contents.items():
        for program in each.programs:
            path = f"{output}/{program.path}".rstrip("/")
            for module in program.go.modules if program.go else ():
                pin = _published(record.sources, recorded, module)
                pin = pin or (_of_source(component.recipe, record.sources, path, program.go, module) if program.go else None)
                if pin is None or found.setdefault(module, pin) != pin:
                    raise _not_locked(component, recorded, module, path)
    return found


def _published(
    sources: Iterable[RecordedSource], recorded: Mapping[tuple[str, str], str], module: LinkedModule
) -> Pinned | None:
    """A module with a hash, or a source of form ``module`` that is built unpacked."""
    if module.h1:
        known = recorded.get((module.path, module.version)) == module.h1
        return Pinned(module.path, module.version, module.h1) if known else None
    for source in sources:
        if source.module == module.path and (not module.replaced or module.replaced.endswith(f"src/{source.name}")):
            return Pinned(source.module, source.version, source.h1, source.name)
    return None


def _of_source(
    recipe: Recipe, sources: Iterable[RecordedSource], path: str, program: GoProgram, module: LinkedModule
) -> Pinned | None:
    """A module without a hash, of the program ``path``: files of the source in whose folder that was built."""
    step = go_step(recipe, path, program.package)
    place = origin(recipe, step.dir) if step else None
    source = next((each for each in sources if place and each.name == place.source and each.form != "module"), None)
    if module.h1 or not (step and place and source):
        return None
    if module == program.main:
        return Pinned(module.path, _version(source, place.folder), "", source.name, place.folder)
    if step.mod == "vendor":
        replaced = module.instead.partition("@")[0] or module.path  # its folder is called by what it stands for
        found = place.below(f"vendor/{replaced}")
        version = _version(source, place.folder) if module.replaced else module.version
        return Pinned(module.path, version, "", source.name, found.folder, True) if found else None
    found = place.below(module.replaced) if module.replaced.startswith(".") else None
    return Pinned(module.path, _version(source, found.folder), "", source.name, found.folder) if found else None


def _version(source: RecordedSource, folder: str) -> str:
    """As go would call a module in this folder (https://go.dev/ref/mod#vcs-version): by its own tag, or else the commit."""
    tag = source.tag.removeprefix(f"{folder}/") if folder else source.tag
    own = tag.startswith("v") and "/" not in tag and (not folder or tag != source.tag)
    return tag if own else source.commit or source.sha256


def _not_locked(
    component: Component, recorded: Mapping[tuple[str, str], str], module: LinkedModule, output: str
) -> NotLockedError:
    wanted = recorded.get((module.path, module.version), "")
    has = f"{module.path} {module.version} {module.h1 or module.replaced or 'without a hash'}"
    return NotLockedError(
        f"{component.label}: {output} has {has} in it, and the lock has {wanted or 'no such module'}",
        remedy=f"build it again from the lock: ./doit lock:{component.name} build:{component.name}. If it comes back, find out"
        " which step brings the module in",
    )


def unused(root: Path, component: Component, record: BuildRecord, linked: Iterable[Pinned]) -> Iterator[Pinned]:
    """Modules that go.sum or the record has and that are in no program, in order."""
    used = {(each.path, each.version) for each in linked if each.h1}
    sums = read_go_sum(root / "recipes" / component.name / "go.sum")
    known = sums | {(module.path, module.version): module.h1 for module in record.modules}
    for (path, version), h1 in sorted(known.items()):
        if (path, version) not in used:
            yield Pinned(path, version, h1)


def go_programs(contents: Mapping[str, Contents]) -> Iterator[GoProgram]:
    """The Go programs of all outputs."""
    for each in contents.values():
        yield from (program.go for program in each.programs if program.go)
