"""``kubewright status``: what is locked, built from its real source, reproduced and accepted; and README's table of it.

``table_for_readme`` looks at committed files only (recipes, lock, digests.toml): it is the same on every machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kubewright import record
from kubewright.errors import LockOutdatedError, UsageError
from kubewright.model.digestsfile import Accepted
from kubewright.model.recipe import Recipe
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.views.text import count, markdown_table, short, table

Standing = Literal["current", "stale", "none"]


@dataclass(frozen=True, slots=True)
class Row:
    """One component for one platform.

    ``accepted``: digests.toml has outputs for the key of now (current), for another one (stale), or none. ``builds``: what is
    known to have agreed under the key of now, as ``docker varied``; one of them alone reproduces nothing.
    """

    component: str
    version: str
    platform: str
    locked: bool
    never_locked: bool  # there is a recipe, and nobody has run it on the real source yet
    reason: str  # why it is not locked
    key: str
    source: str
    accepted: Standing
    outputs: dict[str, str]
    builds: tuple[str, ...]
    built_here: bool
    differing: int  # builds here that gave other bytes
    patches: int
    status: str

    @property
    def built(self) -> bool:
        """Built from the source that the lock names: here, or by those whose builds digests.toml has."""
        return self.built_here or self.accepted == "current"

    @property
    def reproduced(self) -> bool:
        """Two builds agreed, and none is known that did not."""
        return len(self.builds) > 1 and not self.differing


def rows(project: Project, *, committed_only: bool = False) -> list[Row]:
    """Every component for every platform. ``committed_only``: without what this machine's store holds."""
    return [
        _row(project, recipe, platform, committed_only) for recipe in project.recipes.values() for platform in recipe.platforms
    ]


def _row(project: Project, recipe: Recipe, platform: str, committed_only: bool) -> Row:
    component, reason = _joined(project, recipe, platform)
    key = component.key if component else ""
    entry = project.digests.find(recipe.name, platform)
    accepted: Standing = "none" if entry is None else "current" if entry.key == key else "stale"
    agreed = (
        [f"{each.sandbox}{' varied' if each.varied else ''}" for each in entry.builds]
        if accepted == "current" and entry
        else []
    )
    here = [] if committed_only or not component else list(_builds_here(project, component))
    outputs = _outputs(entry if accepted == "current" else None, here)
    same = [each for each in here if each.digests() == outputs]
    return Row(
        component=recipe.name,
        version=recipe.version,
        platform=platform,
        locked=component is not None,
        never_locked=recipe.name not in project.lock.components,
        reason=reason,
        key=key,
        source=_source(component) if component else _wanted(recipe),
        accepted=accepted,
        outputs=outputs,
        builds=tuple(sorted({*agreed, *map(_kind, same)})),
        built_here=bool(here),
        differing=len(here) - len(same),
        patches=sum(len(source.patches) for source in recipe.sources),
        status=recipe.status,
    )


def _joined(project: Project, recipe: Recipe, platform: str) -> tuple[Component | None, str]:
    try:
        return project.component(recipe.name, platform), ""
    except LockOutdatedError as error:
        return None, error.message


def _builds_here(project: Project, component: Component) -> Iterator[BuildRecord]:
    first = record.load(project.store, component.key)
    if first is None:
        return
    yield first
    prefix = record.key_name(component.key)
    for name in project.store.refs("rebuild"):
        if name.startswith(prefix):
            again = record.load(project.store, name, "rebuild")
            if again is not None:
                yield again


def _outputs(entry: Accepted | None, here: list[BuildRecord]) -> dict[str, str]:
    if entry is not None:
        return dict(entry.outputs)
    return here[0].digests() if here else {}


def _kind(build: BuildRecord) -> str:
    return f"{build.conditions.sandbox}{' varied' if build.conditions.cold else ''}"


def _wanted(recipe: Recipe) -> str:
    """The same of a recipe that is not locked."""
    main = recipe.sources[0]
    if main.form == "tree":
        return f"{main.git} {main.tag or f'branch {main.branch}'}"
    return f"{main.module} {main.version}" if main.form == "module" else main.url


def _source(component: Component) -> str:
    """The main source in a few words, and who confirmed it."""
    pin = component.locked.sources[0]
    if pin.form == "module":
        return f"{pin.module} {pin.version}" + ("" if pin.sumdb else " (unconfirmed)")
    if pin.form == "tree":
        return f"{pin.git} {pin.tag or f'branch {pin.branch}'}"
    return pin.url


# -- as text ------------------------------------------------------------------------------------------------------

#: of a component that is not in the lock
NEVER = "recipe complete, not yet run on the real source"
_HEADER = ("component", "version", "platform", "locked", "built", "builds that agree", "accepted", "digest", "patches")


def as_text(found: list[Row]) -> str:
    """A table, then what it cannot say."""
    lines = [
        (
            row.component,
            row.version,
            row.platform,
            "yes" if row.locked else "never" if row.never_locked else "no",
            "here" if row.built_here else "elsewhere" if row.built else "no",
            _agreement(row),
            "yes" if row.accepted == "current" else "of another key" if row.accepted == "stale" else "no",
            _digests(row),
            str(row.patches or ""),
        )
        for row in found
    ]
    notes = [f"{row.component}: {text}" for row in found for text in (_reason(row), row.status.strip()) if text]
    reproduced = sum(row.reproduced for row in found)
    summary = f"{reproduced} of {count(len(found), 'build')} reproduced"
    return "\n\n".join([table(_HEADER, lines), *(["\n".join(dict.fromkeys(notes))] if notes else []), summary]) + "\n"


def _reason(row: Row) -> str:
    return (
        f"{NEVER}: ./doit lock:{row.component}, where {row.source.split()[0]} can be reached"
        if row.never_locked
        else row.reason
    )


def _agreement(row: Row) -> str:
    differing = f"; {row.differing} DIFFER" if row.differing else ""
    return f"{len(row.builds)}: {', '.join(row.builds)}{differing}" if row.builds else "none"


def _digests(row: Row) -> str:
    if not row.outputs:
        return ""
    first = short(next(iter(row.outputs.values())))
    return first if len(row.outputs) == 1 else f"{first} and {len(row.outputs) - 1} more"


def as_data(found: list[Row]) -> list[dict[str, object]]:
    """For ``--json``: the rows with what is worked out from them."""
    return [{**dataclasses.asdict(row), "built": row.built, "reproduced": row.reproduced} for row in found]


# -- README -------------------------------------------------------------------------------------------------------


def readme_table(project: Project) -> str:
    """Markdown of what committed files say: a component whose accepted digests are of another key counts as not built."""
    found = rows(project, committed_only=True)
    lines = [
        (
            row.component,
            row.version,
            row.platform,
            f"`{row.source}`" if row.source else "not locked",
            "yes" if row.built else NEVER if row.never_locked else "not yet built from this lock",
            ", ".join(row.builds) or "none",
            str(row.patches or ""),
        )
        for row in found
    ]
    return markdown_table(
        ("component", "version", "platform", "source", "built from it", "builds that agree", "patches"), lines
    )


def update_block(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``. Raises UsageError without these."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, first, rest = text.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last or begin in after:
        raise UsageError(f"there is no block {begin} ... {end}, or more than one", remedy=f"put both markers in, {begin} first")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"
