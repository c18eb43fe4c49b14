"""Gather the facts of one build: what its outputs hold, joined with the lock and with licences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubewright import __version__
from kubewright.errors import BuildError
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.sbom import ingredients, linked, purl
from kubewright.sbom.facts import Facts, OutputFacts, Unused
from kubewright.sbom.gobinary import LinkedModule
from kubewright.sbom.ingredients import Ingredients
from kubewright.sbom.linked import Contents, contents
from kubewright.sbom.locked import Pinned, pinned, unused
from kubewright.sbom.origin import made_of_more
from kubewright.sbom.packages import package_ref


def gather(project: Project, component: Component, record: BuildRecord, progress: Progress) -> Facts:
    """Raises BuildError for a record of another key, NotLockedError, UnreadableBinaryError, and the errors of inputs."""
    if record.key != component.key:
        raise BuildError(
            f"{component.label}: the record is of key {record.key}, recipe and lock now say {component.key}",
            remedy=f"./doit build:{component.name}",
        )
    found = contents(project, component, record, progress)
    pins = pinned(component, record, found)
    progress.stage("licences")
    made = Ingredients(project, component, record, found, pins, progress)
    known = {each.ref: each for each in made.all()}
    return Facts(
        name=component.name,
        version=record.version,
        platform=record.platform,
        summary=component.recipe.summary,
        licence=record.licence,
        homepage=component.recipe.homepage,
        key=record.key,
        source_date=record.sources[0].source_date,
        tool=__version__,
        purl=purl.generic(component.name, record.version),
        outputs=tuple(outputs_of(component, record, found, pins)),
        ingredients=tuple(known[ref] for ref in sorted(known)),
        unused=tuple(Unused(e.path, e.version, e.h1) for e in unused(project.root, component, record, pins.values())),
        texts=dict(made.texts),
    )


def outputs_of(
    component: Component, record: BuildRecord, found: Mapping[str, Contents], pins: Mapping[LinkedModule, Pinned]
) -> Iterator[OutputFacts]:
    """Each output with what it holds; ``complete`` for pure Go alone: C does not say all that is in it. A program into whose
    folder earlier steps laid files may carry anything that the component is made of, so it is said to hold all of that."""
    own = {path: frozenset(_refs(component, record, path, held, pins) | _laid(component, path)) for path, held in found.items()}
    everything = frozenset().union(*own.values(), *(_laid(component, None),))
    for output in sorted(record.outputs, key=lambda each: each.path):
        held = found[output.path]
        details = [("needs-shared-library", name) for program in held.programs for name in program.needed]
        details += [("go-package", program.go.package) for program in held.programs if program.go]
        details += [
            ("static-library", f"{each.package}: /{each.path}, {each.members} of {each.of} members that can be told apart")
            for program in held.programs
            for each in program.archives
        ]
        details += [("files-not-examined", str(held.others))] if held.others else []
        yield OutputFacts(
            path=output.path,
            kind=output.kind,
            sha256=output.sha256.removeprefix("sha256:"),
            size=output.size,
            contains=tuple(sorted(everything if made_of_more(component.recipe, output.path) else own[output.path])),
            complete=not held.others
            and all(program.go and not program.go.cgo for program in held.programs)
            and not made_of_more(component.recipe, output.path),
            details=tuple(dict.fromkeys(details)),
        )


def _laid(component: Component, output: str | None) -> set[str]:
    """Packages whose files are laid into one output; None: into any place."""
    if output is None:
        return {package_ref(name) for each in component.recipe.packages for name in each.files}
    packages = linked.laid_packages(component.recipe, output).values()
    return {package_ref(name) for names in packages for name in names}


def _refs(
    component: Component, record: BuildRecord, output: str, held: Contents, pins: Mapping[LinkedModule, Pinned]
) -> set[str]:
    found = {package_ref(archive.package) for program in held.programs for archive in program.archives}
    found |= {ingredients.component_ref(each.component) for each in component.recipe.inputs}
    for program in held.programs:
        if program.go:
            found |= {ingredients.module_ref(pins[module]) for module in program.go.modules}
            found.add(ingredients.standard_library_ref(program.go.go))
    if ingredients.of_unknown_sources(component.recipe, output, held):
        found |= {ingredients.source_ref(source) for source in record.sources}
    return found
