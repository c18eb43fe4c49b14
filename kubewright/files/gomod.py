"""What a go.mod file selects, read without the go command: the versions that ``go list -m`` would name.

https://go.dev/ref/mod#go-mod-file: one directive a line, or a block of them in brackets; ``//`` starts a comment.
"""

from __future__ import annotations

from collections.abc import Iterator


def selected(text: str) -> dict[str, str]:
    """Module path -> version of its ``require`` line, or of the ``replace`` line that applies to it.

    A module that is replaced by a folder has no version, and is left out.
    """
    required: dict[str, str] = {}
    replaced: dict[tuple[str, str], str] = {}
    for verb, words in _directives(text):
        if verb == "require" and len(words) >= 2:
            required[words[0]] = words[1]
        elif verb == "replace" and "=>" in words:
            at = words.index("=>")
            old, new = words[:at], words[at + 1 :]
            if old and new:
                replaced[old[0], old[1] if len(old) > 1 else ""] = new[1] if len(new) > 1 else ""
    found = {path: replaced.get((path, version), replaced.get((path, ""), version)) for path, version in required.items()}
    return {path: version for path, version in found.items() if version}


def _directives(text: str) -> Iterator[tuple[str, list[str]]]:
    block = ""
    for line in text.splitlines():
        words = [word.strip('"`') for word in line.partition("//")[0].split()]
        if block and words == [")"]:
            block = ""
        elif block and words:
            yield block, words
        elif len(words) == 2 and words[1] == "(":
            block = words[0]
        elif words:
            yield words[0], words[1:]
