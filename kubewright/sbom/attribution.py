"""ATTRIBUTION: who wrote what is in the outputs, and the full text of every licence and notice, each once."""

from __future__ import annotations

from collections.abc import Iterator

from kubewright.sbom.facts import Facts, Ingredient

_WIDTH = 100


def text(facts: Facts) -> str:
    """Plain text, the same for the same facts. Licence texts are whole: copyright lines stand in them."""
    numbers = _numbers(facts)
    return "\n".join([*_head(facts), *_table(facts, numbers), *_texts(facts, numbers)]) + "\n"


def _numbers(facts: Facts) -> dict[str, int]:
    """Digest of a text -> its number, in the order in which ingredients name them."""
    found: dict[str, int] = {}
    for each in facts.ingredients:
        for file in each.licence.files:
            found.setdefault(file.sha256, len(found) + 1)
    return found


def _head(facts: Facts) -> Iterator[str]:
    yield f"{facts.name} {facts.version} for {facts.platform}: what is in it, and under which licences"
    yield ""
    yield f"Files: {', '.join(output.path for output in facts.outputs)}"
    yield f"Licence of {facts.name} itself, as its recipe says: {facts.licence}"
    yield ""
    yield "Made from what is linked into these files and from the licence files of each part. Where a part has several"
    yield "licences, all of them are named; LicenseRef-unknown-... stands for a text that is not known, or not wholly: read it."
    yield "In brackets: the numbers of the texts below."
    yield ""


def _table(facts: Facts, numbers: dict[str, int]) -> Iterator[str]:
    for each in facts.ingredients:
        texts = sorted({numbers[file.sha256] for file in each.licence.files})
        yield f"{each.name} {each.version}"
        yield f"    {each.licence.expression or 'no licence found'}{' ' if texts else ''}{_brackets(texts)}"
        for change in each.patches:
            yield f"    changed by {change.path}: {change.reason}"
    yield ""


def _brackets(texts: list[int]) -> str:
    return "[" + ", ".join(map(str, texts)) + "]" if texts else ""


def _texts(facts: Facts, numbers: dict[str, int]) -> Iterator[str]:
    for digest, number in numbers.items():
        yield "=" * _WIDTH
        yield f"[{number}] " + "; ".join(_places(facts, digest))
        yield "-" * _WIDTH
        yield facts.texts[digest].strip("\n")
        yield ""


def _places(facts: Facts, digest: str) -> Iterator[str]:
    for each in facts.ingredients:
        for file in each.licence.files:
            if file.sha256 == digest:
                yield _place(each, file.path)


def _place(each: Ingredient, path: str) -> str:
    return f"{each.name} {each.version}: {path}"
