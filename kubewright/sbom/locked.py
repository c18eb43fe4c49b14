"""What is linked against what is locked: every module of a program has to be in the lock with the same hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubewright.fetch.gomodule import read_go_sum
from kubewright.project import Component
from kubewright.record import BuildRecord, RecordedSource
from kubewright.sbom.errors import NotLockedError
from kubewright.sbom.gobinary import GoProgram, LinkedModule
from kubewright.sbom.linked import Contents


@dataclass(frozen=True, slots=True, order=True)
class Pinned:
    """A linked module with its pin. ``source``: name of the recipe's source that it was built from unpacked, patched or not."""

    path: str
    version: str
    h1: str
    source: str = ""


def pinned(component: Component, record: BuildRecord, contents: Mapping[str, Contents]) -> dict[LinkedModule, Pinned]:
    """Every linked module of every output with the pin that it was built from. Raises NotLockedError."""
    recorded = {(module.path, module.version): module.h1 for module in record.modules}
    found = {}
    for output, each in contents.items():
        for program in each.programs:
            for module in program.go.modules if program.go else ():
                found[module] = _pin(component, record.sources, recorded, module, output)
    return found


def _pin(
    component: Component,
    sources: Iterable[RecordedSource],
    recorded: Mapping[tuple[str, str], str],
    module: LinkedModule,
    output: str,
) -> Pinned:
    if module.h1 and recorded.get((module.path, module.version)) == module.h1:
        return Pinned(module.path, module.version, module.h1)
    if not module.h1:  # a folder: it is one of the recipe's sources, or nobody knows what it is
        for source in sources:
            if source.module == module.path and (not module.replaced or module.replaced.endswith(f"src/{source.name}")):
                return Pinned(source.module, source.version, source.h1, source.name)
    wanted = recorded.get((module.path, module.version), "")
    has = f"{module.path} {module.version} {module.h1 or module.replaced or 'without a hash'}"
    raise NotLockedError(
        f"{component.label}: {output} has {has} in it, and the lock has {wanted or 'no such module'}",
        remedy=f"build it again from the lock: ./doit lock:{component.name} build:{component.name}. If it comes back, find out"
        " which step brings the module in",
    )


def unused(root: Path, component: Component, record: BuildRecord, linked: Iterable[Pinned]) -> Iterator[Pinned]:
    """Modules that go.sum or the record has and that are in no program, in order."""
    used = {(each.path, each.version) for each in linked}
    sums = read_go_sum(root / "recipes" / component.name / "go.sum")
    known = sums | {(module.path, module.version): module.h1 for module in record.modules}
    for (path, version), h1 in sorted(known.items()):
        if (path, version) not in used:
            yield Pinned(path, version, h1)


def go_programs(contents: Mapping[str, Contents]) -> Iterator[GoProgram]:
    """The Go programs of all outputs."""
    for each in contents.values():
        yield from (program.go for program in each.programs if program.go)
