"""docs/benchmarks.md, section by section: each program here writes its own and leaves those of the others."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def put(title: str, section: str) -> None:
    """Write the section that begins with the line ``title`` (## ...), at its place or at the end."""
    text = PAGE.read_text("utf-8")
    sections = re.split(r"(?m)^(?=## )", text)
    found = [index for index, each in enumerate(sections) if each.startswith(title + "\n")]
    new = section.rstrip() + "\n"
    if found:
        last = found[0] == len(sections) - 1
        sections[found[0]] = new if last else new + "\n"
    else:
        sections[-1] = sections[-1].rstrip() + "\n\n"
        sections.append(new)
    PAGE.write_text("".join(sections), "utf-8")
    print(new)
