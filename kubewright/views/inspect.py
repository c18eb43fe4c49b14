"""``kubewright inspect``: who says what about which digest, read from a signed set, with nothing believed.

Statements are read with verify's strict readers. No signature is checked, since no key is known here: what is shown as the
signer is the fingerprint that a bundle names.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubewright.errors import UsageError, one_line, plain
from kubewright.files.digest import sha256_file
from kubewright.verify.bundle import SUFFIX, parse_bundle
from kubewright.verify.errors import CertificateError, VerifyError
from kubewright.verify.statement import KINDS, PROVENANCE, RELEASE, Statement, parse_statement
from kubewright.views.text import count, indented, labelled

#: no bundle of ours comes near it
_LIMIT = 64 * 1024 * 1024
_WORDS = {predicate: word for word, predicate in KINDS.items()}

WARNING = "Nothing of this has been verified: `kubewright verify PATH --policy FILE` does."


@dataclass(frozen=True, slots=True)
class Said:
    """One bundle. ``signer`` is the fingerprint that it names; ``problem`` why it could not be read."""

    file: str
    signer: str = ""
    kind: str = ""
    about: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    subjects: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def inspect(path: Path) -> list[Said]:
    """What is said in ``path``, or about the file ``path`` in the set that it lies in. Raises UsageError when nothing is."""
    if not path.exists():
        raise UsageError(f"there is no {path}", remedy="name a bundle, a built file, a component's folder or a signed set")
    if path.is_file() and path.name.endswith(SUFFIX):
        return [_read(path, path.name)]
    if path.is_file():
        return _about_file(path)
    root = _set_root(path)
    here = path if root is None else _attestations(path.absolute(), root)
    found = [_read(each, str(each.relative_to(here))) for each in _bundles(here)]
    if not found:
        raise UsageError(f"there is no bundle (*{SUFFIX}) in {here}", remedy="./doit sign writes them")
    return found


def as_data(found: Iterable[Said]) -> dict[str, Any]:
    """For programs."""
    return {"verified": False, "bundles": [dataclasses.asdict(each) for each in found]}


def as_text(found: list[Said]) -> str:
    """For people: by what the statements are about, then by statement; then the digests that are contested."""
    groups: dict[str, list[Said]] = {}
    for each in map(_in_its_lines, found):
        groups.setdefault(each.about or ("unreadable" if each.problem else "other statements"), []).append(each)
    blocks = [f"{about}\n{indented(_group(said))}" for about, said in sorted(groups.items())]
    return plain("\n\n".join([*blocks, WARNING])) + "\n"


# -- reading ------------------------------------------------------------------------------------------------------


def _about_file(path: Path) -> list[Said]:
    root = _set_root(path.parent)
    digest = sha256_file(path)
    if root is None:
        raise UsageError(f"{path} is no bundle, and no folder above it is a signed set", remedy="name the bundle or the set")
    found = [_read(each, str(each.relative_to(root))) for each in _bundles(root)]
    speaking = [each for each in found if digest in each.subjects.values()]
    if not speaking:
        raise UsageError(f"nobody in {root} says anything about {path} ({digest})", remedy="name the set that it came with")
    return speaking


def _set_root(directory: Path) -> Path | None:
    """The nearest folder, this one or above it, that holds attestations/."""
    for each in (directory.absolute(), *directory.absolute().parents):
        if (each / "attestations").is_dir():
            return each
    return None


def _attestations(path: Path, root: Path) -> Path:
    """The folder with statements about what is in ``path``."""
    inside = path.relative_to(root)
    return path if inside.parts[:1] in ((), ("attestations",), ("release",)) else root / "attestations" / inside


def _bundles(directory: Path) -> Iterator[Path]:
    """Every bundle below a folder; symbolic links are not followed."""
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith(SUFFIX) and path.is_file() and not path.is_symlink():
                yield path


def _read(path: Path, name: str) -> Said:
    try:
        with path.open("rb") as file:
            bundle = parse_bundle(file.read(_LIMIT), name)
        said = parse_statement(bundle.payload, name)
    except CertificateError:
        return Said(name, problem="a keyless bundle (with a certificate): sigstore's own tools show and verify it")
    except VerifyError as error:
        return Said(name, problem=error.message)
    kind = _WORDS.get(said.predicate_type, said.predicate_type)
    about, facts = _facts(said, path)
    return Said(name, bundle.hint, kind, about, facts, said.digests())


def _facts(said: Statement, path: Path) -> tuple[str, dict[str, str]]:
    """What the statement is about, and what is worth a line of it."""
    predicate = said.predicate
    if said.predicate_type == RELEASE:
        components = _inner(predicate, "components")
        return "release", {"sequence": str(predicate.get("sequence", "")), "components": str(len(components))}
    if said.predicate_type != PROVENANCE:
        return _from_folder(path), {}
    definition, run = _inner(predicate, "buildDefinition"), _inner(predicate, "runDetails")
    parameters = _inner(definition, "externalParameters")
    inputs = definition.get("resolvedDependencies")
    facts = {
        "builder": str(_inner(run, "builder").get("id", "")),
        "finished": str(_inner(run, "metadata").get("finishedOn", "")),
        "inputs": str(len(inputs)) if isinstance(inputs, list) else "",
        "build key": str(parameters.get("key", "")),
    }
    return " ".join(str(parameters.get(name, "?")) for name in ("component", "version", "platform")), facts


def _from_folder(path: Path) -> str:
    """NAME VERSION OS/ARCH from attestations/NAME/VERSION/OS-ARCH/, which is where statements without these words lie."""
    parts = path.absolute().parts[-5:-1]
    return f"{parts[1]} {parts[2]} {parts[3].replace('-', '/', 1)}" if len(parts) == 4 and parts[0] == "attestations" else ""


def _inner(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


# -- showing ------------------------------------------------------------------------------------------------------


def _in_its_lines(said: Said) -> Said:
    """The same with no line break in any word: what nobody has verified does not write lines that we seem to say."""
    words = {name: one_line(getattr(said, name)) for name in ("file", "signer", "kind", "about", "problem")}
    return Said(**words, facts=_words(said.facts), subjects=_words(said.subjects))


def _words(value: Mapping[str, str]) -> Mapping[str, str]:
    return {one_line(name): one_line(word) for name, word in value.items()}


def _group(said: list[Said]) -> str:
    return "\n".join([*map(_one, said), *_contested(said)])


def _one(said: Said) -> str:
    if said.problem:
        return f"{said.file}\n  cannot be read: {said.problem}"
    subjects = "\n".join(f"{name}  {digest}" for name, digest in said.subjects.items())
    facts = labelled([("names key", said.signer), *said.facts.items(), ("says of", subjects)], "  ")
    return f"{said.kind}  {said.file}\n{facts}"


def _contested(said: list[Said]) -> list[str]:
    """Outputs for which statements about the same inputs have different digests."""
    views: dict[tuple[str, str], dict[str, list[str]]] = {}
    for each in said:
        for name, digest in each.subjects.items():
            if each.kind == "provenance":
                views.setdefault((each.facts["build key"], name), {}).setdefault(digest, []).append(each.signer)
    return [
        f"DISSENT about {name}: " + "; ".join(f"{digest} by {count(len(who), 'key')}" for digest, who in digests.items())
        for (_, name), digests in views.items()
        if len(digests) > 1
    ]
