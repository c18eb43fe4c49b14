"""What a successful verification says, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubewright.errors import KubewrightError, plain
from kubewright.verify.facts import Accepted, Dissent
from kubewright.verify.pinned import Measured


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file (or tree) that is what its statements say. ``path`` is relative to the set."""

    path: str
    place: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was verified, and by which statement."""

    sequence: int
    lock: str
    signers: tuple[str, ...]
    places: tuple[Accepted, ...]
    artifacts: tuple[Artifact, ...]
    ignored: tuple[str, ...]
    unsigned: tuple[str, ...]
    absent: tuple[str, ...] = ()
    copied_to: str = ""

    @property
    def dissent(self) -> tuple[Dissent, ...]:
        """Every dissent, of all places."""
        return tuple(each for place in self.places for each in place.dissent)

    @property
    def bytes(self) -> int:
        """How many bytes of artifacts were hashed."""
        return sum(each.measured.size for each in self.artifacts)


def as_data(report: Report) -> dict[str, Any]:
    """For ``--json``."""
    places = {place.place: place for place in report.places}
    return {
        "verified": True,
        "release": {"sequence": report.sequence, "lock": report.lock, "signed_by": list(report.signers)},
        "artifacts": [_artifact(each, places[each.place]) for each in report.artifacts],
        "dissent": [str(each) for each in report.dissent],
        "notes": [note for place in report.places for note in place.notes],
        "ignored": list(report.ignored),
        "unsigned": list(report.unsigned),
        "absent": list(report.absent),
        **({"copied_to": report.copied_to} if report.copied_to else {}),
    }


def _artifact(artifact: Artifact, place: Accepted) -> dict[str, Any]:
    return {
        "path": artifact.path,
        "sha256": artifact.measured.digest.removeprefix("sha256:"),
        "size": artifact.measured.size,
        "tree": artifact.measured.tree,
        "rules": [{"rule": each.rule, "satisfied_by": each.says, "note": each.note} for each in place.passed],
    }


def refusal(error: KubewrightError) -> dict[str, Any]:
    """A refusal for ``--json``."""
    return {
        "verified": False,
        "error": {
            "code": error.exit_code,
            "class": type(error).__name__,
            "title": error.title,
            "message": error.message,
            "remedy": error.remedy,
            "details": error.details.splitlines(),
        },
    }


def to_json(value: object) -> str:
    """Indented JSON with a final newline; in ASCII, since names in it are anybody's and it may be shown on a terminal."""
    return json.dumps(value, indent=2) + "\n"


def as_text(report: Report, *, explain: bool = False) -> str:
    """For people; ``explain`` adds, for each artifact, which rule was satisfied by which statement."""
    return plain("\n".join(_lines(report, explain))) + "\n"


def _lines(report: Report, explain: bool) -> Iterator[str]:
    for place in report.places:
        for artifact in report.artifacts:
            if artifact.place == place.place:
                yield f"{artifact.measured.digest.removeprefix('sha256:')}  {artifact.path}"
        if explain:
            width = max(len(each.rule) for each in place.passed)
            yield from (f"    {each.rule:{width}}  {each.says}: {each.note}" for each in place.passed)
    for dissent in report.dissent:
        yield f"dissent: {dissent}"
    if explain:
        yield from (f"note: {note}" for place in report.places for note in place.notes)
        yield from (f"not evidence: {each}" for each in report.ignored)
        yield from (f"not signed: {each}" for each in report.unsigned)
        if report.absent:
            yield f"named by the release and not in this set: {', '.join(report.absent)}"
    count = len(report.artifacts)
    where = f"; copied to {report.copied_to}" if report.copied_to else ""
    yield (
        f"verified: {count} artifact{'s' if count != 1 else ''}, {report.bytes / 1e6:.1f} MB, release {report.sequence} "
        f"signed by {', '.join(report.signers)}{where}"
    )
