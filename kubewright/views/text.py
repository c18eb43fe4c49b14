"""Plain text for terminals, pipes and Markdown: aligned tables, labelled lines, dates. No colours, no terminal width."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Columns aligned by spaces; the last one is as long as it is."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(indent + line for line in lines)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same as a Markdown table; a ``|`` in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def labelled(pairs: Iterable[tuple[str, str]], indent: str = "") -> str:
    """``label  value`` lines, values aligned; a value of several lines is indented as a block; an empty one is left out."""
    shown = [(label, value) for label, value in pairs if value]
    width = max((len(label) for label, _ in shown), default=0)
    lines = []
    for label, value in shown:
        first, *others = value.splitlines()
        lines.append(f"{indent}{label.ljust(width)}  {first}")
        lines += [f"{indent}{' ' * width}  {line}" for line in others]
    return "\n".join(lines)


def indented(text: str, indent: str = "  ") -> str:
    """``text`` with every line moved to the right."""
    return "\n".join(indent + line if line else line for line in text.splitlines())


def count(number: int, what: str) -> str:
    """``1 module``, ``3 modules``, ``2 patches``."""
    plural = what + ("es" if what.endswith(("ch", "s", "x")) else "s")
    return f"{number} {what if number == 1 else plural}"


def moment(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(number: int) -> str:
    """Bytes for people, in decimal units: ``812 B``, ``31.2 MB``."""
    units = ("B", "kB", "MB", "GB", "TB")
    at, amount = 0, float(number)
    while amount >= 999.95 and at + 1 < len(units):
        at, amount = at + 1, amount / 1000
    return f"{amount:.1f} {units[at]}" if at else f"{number} B"


def short(digest: str) -> str:
    """The first 16 hexadecimal digits of a digest: enough to tell two apart by eye, and no proof."""
    return digest.removeprefix("sha256:")[:16]


def shell(argv: Iterable[str]) -> str:
    """An argument list as a shell would take it, with double quotes where a word has single ones."""
    import shlex

    def quoted(word: str) -> str:
        return f'"{word}"' if "'" in word and not re.search(r'["$`\\!]', word) else shlex.quote(word)

    return " ".join(map(quoted, argv))


def to_json(value: Any) -> str:
    """Dataclasses, tables and lists as JSON for programs: indented, keys as the dataclasses have them."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
