"""Which step of the recipe made a program, and in which folder of which source.

``go build`` in a source's own folder writes ``(devel)`` for the main module and, with -mod=vendor, no hashes. What such parts
are is known from the pin of the source that they lie in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import normpath

from kubewright.model.recipe import GoStep, Recipe

_SOURCES = "src/"


@dataclass(frozen=True, slots=True)
class Origin:
    """A folder of a source: ``folder`` below it, empty for its root."""

    source: str
    folder: str

    def below(self, relative: str) -> Origin | None:
        """The folder ``relative`` seen from this one; None when that is not in the source."""
        found = normpath(f"{self.folder}/{relative}" if self.folder else relative)
        return None if found.startswith(("/", "..")) else Origin(self.source, "" if found == "." else found)


def go_step(recipe: Recipe, path: str, package: str) -> GoStep | None:
    """The step that built ``package`` as the file ``path`` below out/; None when no step did."""
    steps = (step.go for step in recipe.steps if step.go)
    return next((step for step in steps if step.commands.get(path) == package), None)


def origin(recipe: Recipe, directory: str) -> Origin | None:
    """The source that a step's ``dir`` lies in; None for the generated main module and for folders that are no source's."""
    if not directory.startswith(_SOURCES):
        return None
    name, _, folder = directory.removeprefix(_SOURCES).partition("/")
    return Origin(name, folder) if any(source.name == name for source in recipe.sources) else None


def made_of_more(recipe: Recipe, output: str) -> bool:
    """Whether a program of ``output`` was built in a source's folder after something may have put files there, which go:embed
    takes in and no program tells."""
    places = [each.to for each in recipe.inputs] + [each.to for each in recipe.packages] + [each.to for each in recipe.overlays]
    laid = any(place.startswith(_SOURCES) for place in places)
    for step in recipe.steps:
        if step.go is None:
            laid = True
        elif laid and step.go.dir.startswith(_SOURCES) and any(_holds(output, path) for path in step.go.commands):
            return True
    return False


def built_by_go(recipe: Recipe, output: str) -> Iterator[str]:
    """Paths of the programs of ``output`` that a go step makes, relative to it; empty for the output itself."""
    for step in recipe.steps:
        if step.go:
            yield from (path[len(output) :].lstrip("/") for path in step.go.commands if _holds(output, path))


def _holds(output: str, path: str) -> bool:
    return path == output or path.startswith(output + "/")
