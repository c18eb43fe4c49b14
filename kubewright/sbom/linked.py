"""What is really linked into each output, found in the output itself.

Go programs name their modules and the folders that functions come from (``gobinary``); of C programs and cgo, the members of
static libraries are found by their code (``archives``). Results are kept in the store by the output's digest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kubewright import record as records
from kubewright.building.inputs import ensure_root, ensure_toolchain, root_name
from kubewright.building.outputs import restore
from kubewright.canonical import canonical_digest
from kubewright.files.digest import sha256_file
from kubewright.model.decode import decode
from kubewright.model.recipe import Recipe
from kubewright.model.schema import Problem
from kubewright.project import Component, Project
from kubewright.record import BuildRecord, RecordedOutput
from kubewright.report import Progress
from kubewright.sbom import archives, gobinary
from kubewright.sbom.debian import static_libraries
from kubewright.sbom.elf import Elf
from kubewright.sbom.errors import UnreadableBinaryError
from kubewright.sbom.gobinary import GoProgram
from kubewright.sbom.origin import built_by_go

_CACHE = "linked"
#: raised whenever this finds other things in the same file
_RULES = 2


@dataclass(frozen=True, slots=True)
class Program:
    """One ELF file: an output, or a file of an output of kind ``tree`` (``path`` is then below the output).

    ``go`` is None for what is no Go program; ``needed`` are shared libraries that it wants at run time.
    """

    path: str
    archives: tuple[archives.Found, ...]
    needed: tuple[str, ...]
    go: GoProgram | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """The programs of one output; ``others`` counts files that are no programs (scripts, data): nothing is said of those."""

    programs: tuple[Program, ...]
    others: int = 0


def contents(project: Project, component: Component, record: BuildRecord, progress: Progress) -> dict[str, Contents]:
    """Output path -> what is linked. Raises UnreadableBinaryError for a go step's output that does not say it."""
    others = _outputs_of_others(project, component)
    found = {output.path: _contents(project, component, output, others, progress) for output in record.outputs}
    for output in sorted(found):
        programs = {program.path: program for program in found[output].programs}
        for path in built_by_go(component.recipe, output):
            # inside a folder, a later step may have moved it: then it is found as a program under its new name, or is a script
            if (path not in programs and not path) or (path in programs and programs[path].go is None):
                raise UnreadableBinaryError(
                    f"{component.label}: {f'{output}/{path}'.rstrip('/')} comes from `go build`, and does not say which modules"
                    " are linked into it",
                    remedy="drop what removes it (a strip step, a packer, linker flags) from the recipe",
                )
    return found


def _outputs_of_others(project: Project, component: Component) -> frozenset[str]:
    """Digests of what the recipe takes from other components: each has a bill of materials of its own."""
    digests = set()
    for each in component.recipe.inputs:
        made = records.load(project.store, component.dependencies[each.component])
        digests |= {made.digests()[each.output]} if made and each.output in made.digests() else set()
    return frozenset(digests)


def _contents(
    project: Project, component: Component, output: RecordedOutput, others: frozenset[str], progress: Progress
) -> Contents:
    name = f"{output.sha256.removeprefix('sha256:')}-{root_name(component.locked_builder)}-{_RULES}"
    name += f"-{canonical_digest(sorted(others)).removeprefix('sha256:')[:16]}" if others else ""
    known = _decoded(project.store.get_json(_CACHE, name))
    if known is not None:
        return known
    progress.stage(f"what is in {output.path}")
    with project.store.scratch("sbom") as scratch:
        target = scratch / Path(output.path).name
        restore(project.store, output, target)
        files = sorted(path for path in target.rglob("*") if path.is_file()) if target.is_dir() else [target]
        laid = tuple(target / place for place in laid_packages(component.recipe, output.path))
        files = [path for path in files if not any(path.is_relative_to(place) for place in laid)]
        files = [path for path in files if not (others and not path.is_symlink() and sha256_file(path) in others)]
        programs = tuple(_programs(project, component, files, target, progress))
    found = Contents(programs, len(files) - len(programs))
    project.store.put_json(_CACHE, name, _plain(dataclasses.asdict(found)))
    return found


def _plain(value: Any) -> Any:
    """Without what is None: a key that is not there has its default."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _decoded(data: object) -> Contents | None:
    problems: list[Problem] = []
    found = decode(Contents, data, problems) if isinstance(data, dict) else None
    return None if problems else found


def _programs(project: Project, component: Component, files: list[Path], output: Path, progress: Progress) -> Iterator[Program]:
    libraries = cache(lambda: _libraries(project, component, progress))  # once for all programs: it hashes the root
    for path in files:
        elf = None if path.is_symlink() else Elf.open(path)
        if elf is not None:
            inside = "" if path == output else path.relative_to(output).as_posix()
            go = _go(project, component, path, elf, progress)
            static = archives.find(elf, *libraries()) if (go is None or go.cgo) and component.locked_builder.packages else ()
            yield Program(inside, static, elf.needed(), go)


def _go(project: Project, component: Component, path: Path, elf: Elf, progress: Progress) -> GoProgram | None:
    if not gobinary.is_go(elf):
        return None
    goroot = ensure_toolchain(project, component.locked_builder, progress)
    if goroot is None:
        raise UnreadableBinaryError(
            f"{component.label}: {path.name} is a Go program, and builder {component.recipe.builder} has no Go to read it with",
            remedy=f"give builders/{component.recipe.builder}.toml a [go] section",
        )
    return gobinary.read(path, elf, goroot)


def _libraries(project: Project, component: Component, progress: Progress) -> tuple[Path, Mapping[str, str]]:
    root = ensure_root(project, component.recipe.builder, component.locked_builder, progress)
    assert root is not None  # asked for where the builder has packages
    return root, static_libraries(project, component, progress)


def laid_packages(recipe: Recipe, output: str) -> dict[str, tuple[str, ...]]:
    """Folder of the output -> the Debian packages whose files the recipe lays there: what is in it is theirs as it is."""
    found: dict[str, tuple[str, ...]] = {}
    for each in recipe.packages:
        if each.to == f"out/{output}" or each.to.startswith(f"out/{output}/"):
            place = each.to.removeprefix(f"out/{output}").lstrip("/") or "."
            found[place] = (*found.get(place, ()), *each.files)
    return found
