"""Changes of a scalar's value as changes of the text around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kubewright.manifests.document import Scalar

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """``[start:end]`` becomes ``new``."""

    start: int
    end: int
    new: str


def applied(text: str, edits: Sequence[Edit]) -> str:
    """``text`` with all edits, which do not overlap."""
    parts, done = [], 0
    for edit in sorted(edits):
        assert edit.start >= done, "edits overlap"
        parts += [text[done : edit.start], edit.new]
        done = edit.end
    return "".join([*parts, text[done:]])


def outward(text: str, scalar: Scalar, edits: Sequence[Edit]) -> list[Edit]:
    """Edits of ``scalar.value`` as edits of ``text``: of the same spans where the value is written as it is, else one edit
    that writes the whole value anew, in double quotes."""
    places = _places(text, scalar)
    moved = [_moved(places, edit) for edit in edits]
    kept = [edit for edit in moved if edit is not None]
    if len(kept) == len(edits):
        return kept
    return [Edit(scalar.start, scalar.end, quoted(applied(scalar.value, edits)) + _gap(text, scalar))]


def quoted(value: str) -> str:
    """A double-quoted YAML scalar; what is not printable ASCII is escaped."""
    return '"' + "".join(_ESCAPES.get(each) or _escaped(each) for each in value) + '"'


def _escaped(character: str) -> str:
    number = ord(character)
    if 0x20 <= number < 0x7F:
        return character
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


@dataclass(frozen=True, slots=True)
class _Place:
    """A piece of the value, ``[start:end]``, that stands in the text at ``at`` as it is."""

    start: int
    end: int
    at: int


def _moved(places: Sequence[_Place], edit: Edit) -> Edit | None:
    for place in places:
        if place.start <= edit.start and edit.end <= place.end:
            shift = place.at - place.start
            return Edit(edit.start + shift, edit.end + shift, edit.new)
    return None


def _places(text: str, scalar: Scalar) -> list[_Place]:
    raw = text[scalar.start : scalar.end]
    if scalar.style == "|":
        return _lines(text, scalar)
    inner = 1 if scalar.style in ("'", '"') else 0
    if scalar.style != ">" and raw[inner : len(raw) - inner] == scalar.value and "\\" not in scalar.value:
        return [_Place(0, len(scalar.value), scalar.start + inner)]
    return []


def _lines(text: str, scalar: Scalar) -> list[_Place]:
    """The lines of a literal block: the text's lines without their indentation, if that gives the value."""
    found = [(match.start(), match.group().rstrip("\n")) for match in _LINE.finditer(text, scalar.start, scalar.end)][1:]
    values = scalar.value.rstrip("\n").split("\n")
    pairs = list(zip(found, values, strict=False))
    indent = next((len(line) - len(value) for (_, line), value in pairs if value), 0)
    if indent < 1 or len(pairs) < len(values):
        return []
    places, at = [], 0
    for (begin, line), value in pairs:
        if line[indent:] != value:
            return []
        places.append(_Place(at, at + len(value), begin + indent))
        at += len(value) + 1
    return places


def _gap(text: str, scalar: Scalar) -> str:
    """A block ends behind its last line's end, which the text after it needs."""
    return "\n" if scalar.style in ("|", ">") and text[scalar.start : scalar.end].endswith("\n") else ""
