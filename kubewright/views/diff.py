"""``kubewright diff A B``: what changed from one release to the next: sources, builders, modules, packages, licences, outputs.

A side is a signed set (its ``release/`` and SBOMs), or a checkout (lockfile.toml, digests.toml, recipes/NAME/go.sum). Nothing
is believed and no signature is checked here: ``verify`` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kubewright.errors import UsageError, plain
from kubewright.fetch.gomodule import read_go_sum
from kubewright.model.digestsfile import FILE as DIGESTS
from kubewright.model.digestsfile import Digests, load_digests
from kubewright.model.lockdiff import describe_difference
from kubewright.model.lockfile import FILE as LOCK
from kubewright.model.lockfile import Lock, load_lock
from kubewright.verify import strictjson
from kubewright.verify.bundle import SUFFIX, parse_bundle
from kubewright.verify.errors import VerifyError
from kubewright.verify.statement import RELEASE, parse_statement
from kubewright.views.text import short

T = TypeVar("T")

#: (component, platform)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """Something linked: versions and licence expressions under one name (two major versions have two names in Go)."""

    versions: tuple[str, ...]
    licences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. ``parts``: what SBOMs say is linked; ``locked``: what go.sum files have, where there are such."""

    path: str
    sequence: int | None
    lock: Lock
    digests: Digests
    parts: Mapping[Key, Mapping[str, Part]]
    locked: Mapping[Key, Mapping[str, Part]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Lines for people, by subject; an empty list: nothing changed. ``notes``: what could not be compared."""

    old: str
    new: str
    sequence: tuple[int | None, int | None]
    inputs: list[str]
    modules: list[str]
    licences: list[str]
    outputs: list[str]
    notes: list[str]

    @property
    def empty(self) -> bool:
        return not (self.inputs or self.modules or self.licences or self.outputs)


def compare(old: Path, new: Path) -> Difference:
    """Raises UsageError for a folder that is neither, LockError for files that cannot be read."""
    before, after = load(old), load(new)
    notes: list[str] = []
    parts = [*_both(before.parts, after.parts, before.locked, after.locked, notes)]
    return Difference(
        old=before.path,
        new=after.path,
        sequence=(before.sequence, after.sequence),
        inputs=describe_difference(before.lock, after.lock),
        modules=[f"{_label(key)}: {line}" for key, was, now in parts for line in _changes(was, now, _version_change)],
        licences=[f"{_label(key)}: {line}" for key, was, now in parts for line in _licence_changes(was, now)],
        outputs=[*_outputs(before.digests, after.digests)],
        notes=notes,
    )


# -- reading a side -----------------------------------------------------------------------------------------------


def load(path: Path) -> Side:
    """A signed set, the folder ``release`` of one, or a folder that holds lockfile.toml and digests.toml."""
    folder = next((each for each in (path / "release", path) if (each / LOCK).is_file()), None)
    if folder is None:
        raise UsageError(
            f"{path} holds neither release/{LOCK} nor {LOCK}",
            remedy="name a signed set (such as artifacts/), or a checkout",
        )
    return Side(
        path=str(path),
        sequence=_sequence(folder),
        lock=load_lock(folder / LOCK),
        digests=load_digests(folder / DIGESTS),
        parts=dict(_parts(path / "attestations")),
        locked=dict(_locked(path)),
    )


def _sequence(folder: Path) -> int | None:
    """The number that some release statement in the folder says; it is shown, and not believed."""
    for path in sorted(folder.glob(f"release.*{SUFFIX}")):
        try:
            statement = parse_statement(parse_bundle(path.read_bytes(), path.name).payload, path.name)
        except VerifyError:
            continue
        found = statement.predicate.get("sequence")
        if statement.predicate_type == RELEASE and strictjson.is_integer(found):
            return found
    return None


def _parts(attestations: Path) -> Iterator[tuple[Key, Mapping[str, Part]]]:
    for path in sorted(attestations.glob("*/*/*/sbom.cdx.json")):
        name, platform = path.parts[-4], path.parts[-2].replace("-", "/", 1)
        document = strictjson.loads(path.read_bytes(), strictjson.STATEMENT, str(path))
        components = document.get("components") if isinstance(document, dict) else None
        linked = [each for each in components or () if isinstance(each, dict)]
        yield (name, platform), _grouped((str(each.get("name")), str(each.get("version")), _licence(each)) for each in linked)


def _licence(component: Mapping[str, Any]) -> str:
    licences = component.get("licenses")
    first = licences[0] if isinstance(licences, list) and licences else {}
    return str(first.get("expression", "")) if isinstance(first, dict) else ""


def _locked(root: Path) -> Iterator[tuple[Key, Mapping[str, Part]]]:
    for path in sorted(root.glob("recipes/*/go.sum")):
        yield (path.parts[-2], ""), _grouped((module, version, "") for module, version in read_go_sum(path))


def _grouped(found: Iterable[tuple[str, str, str]]) -> dict[str, Part]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, version, licence in found:
        groups.setdefault(name, []).append((version, licence))
    return {
        name: Part(tuple(sorted({v for v, _ in each})), tuple(sorted({x for _, x in each}))) for name, each in groups.items()
    }


# -- comparing ----------------------------------------------------------------------------------------------------


def _both(
    old: Mapping[Key, Mapping[str, Part]],
    new: Mapping[Key, Mapping[str, Part]],
    old_locked: Mapping[Key, Mapping[str, Part]],
    new_locked: Mapping[Key, Mapping[str, Part]],
    notes: list[str],
) -> Iterator[tuple[Key, Mapping[str, Part], Mapping[str, Part]]]:
    """What is linked where both sides have SBOMs; else what is locked; else a note."""
    if old and new:
        yield from ((key, old.get(key, {}), new.get(key, {})) for key in sorted({*old, *new}))
    elif old_locked and new_locked:
        notes.append(
            "modules: of go.sum files, so locked and not always linked; without SBOMs on both sides licences are not known"
        )
        yield from ((key, old_locked.get(key, {}), new_locked.get(key, {})) for key in sorted({*old_locked, *new_locked}))
    else:
        notes.append("modules and licences: not compared, since not both sides have SBOMs (./doit sbom)")


def _changes(old: Mapping[str, T], new: Mapping[str, T], line: Callable[[str, T | None, T | None], str]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        said = line(name, old.get(name), new.get(name))
        if said:
            yield said


def _version_change(name: str, old: Part | None, new: Part | None) -> str:
    if old is None or new is None:
        part = old or new
        return f"{name} {', '.join(part.versions)} {'removed' if old else 'added'}" if part else ""
    return f"{name} {', '.join(old.versions)} -> {', '.join(new.versions)}" if old.versions != new.versions else ""


def _licence_changes(old: Mapping[str, Part], new: Mapping[str, Part]) -> Iterator[str]:
    """What became another licence, and licences that no part had before (or none has any more)."""
    for name in sorted({*old} & {*new}):
        if old[name].licences != new[name].licences:
            yield f"{name} {' / '.join(old[name].licences) or 'unknown'} -> {' / '.join(new[name].licences) or 'unknown'}"
    before, after = ({text for part in side.values() for text in part.licences} for side in (old, new))
    if old and new:
        yield from (f"{text or 'unknown'}: first here, of {_who(new, text)}" for text in sorted(after - before))
        yield from (f"{text or 'unknown'}: no part has it any more" for text in sorted(before - after))


def _who(parts: Mapping[str, Part], licence: str) -> str:
    return ", ".join(name for name, part in sorted(parts.items()) if licence in part.licences)


def _outputs(old: Digests, new: Digests) -> Iterator[str]:
    keys = {(name, platform) for side in (old, new) for name, each in side.components.items() for platform in each}
    for name, platform in sorted(keys):
        was, now = old.find(name, platform), new.find(name, platform)
        label = _label((name, platform))
        before = dict(was.outputs) if was else {}
        after = dict(now.outputs) if now else {}
        lines = [*_changes(before, after, _digest_change)]
        yield from (f"{label}: {line}" for line in lines)
        if was and now and was.key != now.key and not lines:
            yield f"{label}: other inputs, the same bytes (key {short(was.key)} -> {short(now.key)})"


def _digest_change(path: str, old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return f"{path} {'removed' if old else 'added'} ({short(old or new or '')})"
    return f"{path} {short(old)} -> {short(new)}" if old != new else ""


def _label(key: Key) -> str:
    return " ".join(part for part in key if part)


# -- as text ------------------------------------------------------------------------------------------------------


def as_text(found: Difference) -> str:
    """Sections with what changed; one line when nothing did."""
    lines = [f"from {_side(found.old, found.sequence[0])}", f"to   {_side(found.new, found.sequence[1])}"]
    for title, said in (
        ("sources, builders, packages", found.inputs),
        ("modules", found.modules),
        ("licences", found.licences),
        ("outputs", found.outputs),
    ):
        if said:
            lines += ["", f"{title}:", *(f"  {line}" for line in said)]
    if found.empty:
        lines += ["", "nothing changed in what is compared"]
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
    lines += ["", "no signature was checked: kubewright verify"]
    return plain("\n".join(lines)) + "\n"


def _side(path: str, sequence: int | None) -> str:
    return path if sequence is None else f"{path} (release {sequence})"
