"""Sign what is built, and attest what was built again: the tasks ``sign`` and ``attest``.

Nothing is written twice: a statement that is there with the same bytes stays as it is. What others signed is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from kubewright import record
from kubewright.building import outputs
from kubewright.building.component import check_accepted, existing
from kubewright.errors import BuildError, DissentError
from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.trust import provenance
from kubewright.trust.keys import SigningKey
from kubewright.trust.setfolder import Signed, attestation_directory, bundle_name, put, put_all
from kubewright.trust.sign import sign_statement
from kubewright.verify.bundle import SUFFIX, parse_bundle
from kubewright.verify.errors import VerifyError
from kubewright.verify.statement import CYCLONEDX, PROVENANCE, SPDX, TYPE, Statement, parse_statement

#: what describes a build: file name -> document
Describe: TypeAlias = Callable[[Project, Component, BuildRecord], Mapping[str, bytes]]

#: an SBOM's file -> the word in its bundle's name, the type of its statement
SBOMS: Mapping[str, tuple[str, str]] = {"sbom.cdx.json": ("cyclonedx", CYCLONEDX), "sbom.spdx.json": ("spdx", SPDX)}


def sboms(project: Project, component: Component, found: BuildRecord) -> Mapping[str, bytes]:
    """File name -> document: the SBOMs and ATTRIBUTION."""
    from kubewright.sbom.write import make

    return make(project, component, found)


def sign_component(project: Project, component: Component, key: SigningKey, describe: Describe = sboms) -> Signed:
    """Provenance and SBOMs of the component's first build, signed.

    Raises BuildError when it has not been built here, DissentError when this key has signed other digests for the same inputs.
    """
    found = built(project, component)
    check_accepted(project, component, found.digests())
    if not outputs.placed(project, component, found.outputs):
        outputs.place(project, component, found.outputs)
    directory = attestation_directory(project, component)
    path = directory / bundle_name("provenance", key.key_id)
    _check_own(path, component, found)
    files = {path: sign_statement(provenance.statement(project, component, found), key)}
    for name, data in describe(project, component, found).items():
        files[directory / name] = data
        if name in SBOMS:
            kind, predicate_type = SBOMS[name]
            files[directory / bundle_name(kind, key.key_id)] = sign_statement(
                about(found, predicate_type, json.loads(data)), key
            )
    return put_all(files)


def about(found: BuildRecord, predicate_type: str, predicate: Any) -> dict[str, Any]:
    """A statement with the build's outputs as its subjects."""
    return {
        "_type": TYPE,
        "subject": provenance.subjects(found),
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def write_sboms(project: Project, component: Component) -> Signed:
    """The component's SBOMs and ATTRIBUTION, not signed. Raises BuildError when it has not been built here."""
    found = built(project, component)
    directory = attestation_directory(project, component)
    return put_all({directory / name: data for name, data in sboms(project, component, found).items()})


def built(project: Project, component: Component) -> BuildRecord:
    """The component's first build. Raises BuildError."""
    found = existing(project, component)
    if found is None:
        raise BuildError(f"{component.label} has not been built here", remedy=f"./doit build:{component.name}")
    return found


# -- rebuilders ---------------------------------------------------------------------------------------------------


def attest(project: Project, component: Component, key: SigningKey, progress: Progress) -> Path:
    """Sign the provenance of this machine's own build of ``component``, whatever it gave.

    That is its newest rebuild here, or its first build where it has not been built again. The statement is written also when it
    disagrees with others in the set, which then raises DissentError. Raises BuildError when there is no build, or only one that
    somebody else has signed.
    """
    found = own_build(project, component)
    directory = attestation_directory(project, component)
    path = directory / bundle_name("provenance", key.key_id)
    before = _check_own(path, component, found)
    others = [(other, said) for other, said in statements(directory) if other != path and said_of(said) == found.key]
    _check_independent(component, found, others)
    if before is not None and said_of(before) == found.key:
        progress.note(f"this key has signed a build with these digests already: {path.relative_to(project.root)}")
    elif put(path, sign_statement(provenance.statement(project, component, found), key)):
        progress.note(f"{path.relative_to(project.root)} written")
    differing = [(other, said) for other, said in others if said.digests() != found.digests()]
    if differing:
        raise _dissent(component, found, differing, path)
    progress.note(f"{len(others)} other statement{'s' * (len(others) != 1)} here about the same inputs, all with these digests")
    return path


def _check_independent(component: Component, found: BuildRecord, others: list[tuple[Path, Statement]]) -> None:
    """Two signatures under one build are one build, however many operators share its store."""
    same = provenance.invocation(found)
    for other, said in others:
        run = said.predicate.get("runDetails")
        metadata = run.get("metadata") if isinstance(run, dict) else None
        if isinstance(metadata, dict) and metadata.get("invocationId") == same:
            raise BuildError(
                f"{component.label}: {other.name} is about this very build, and a rebuilder attests one of their own",
                remedy=f"./doit rebuild:{component.name}, then attest it",
            )


def own_build(project: Project, component: Component) -> BuildRecord:
    """The newest rebuild of the component's key, else its first build."""
    again = [each for each in record.load_all(project.store, "rebuild") if each.key == component.key]
    found = again[-1] if again else existing(project, component)
    if found is None:
        raise BuildError(
            f"{component.label} has not been built here, so there is nothing to attest", remedy=f"./doit build:{component.name}"
        )
    return found


def statements(directory: Path) -> Iterator[tuple[Path, Statement]]:
    """Every readable provenance in a folder of the set. No signature is checked: this is for the rebuilder's own eyes."""
    for path in sorted(directory.glob(f"provenance.*{SUFFIX}")):
        try:
            yield path, read(path)
        except VerifyError:
            continue


def read(path: Path) -> Statement:
    """The statement in a bundle, its signature unchecked. Raises VerifyError."""
    return parse_statement(parse_bundle(path.read_bytes(), path.name).payload, path.name)


def said_of(said: Statement) -> str:
    """The key that a provenance is about; empty for others."""
    definition = said.predicate.get("buildDefinition", {})
    key = definition.get("externalParameters", {}).get("key", "") if isinstance(definition, dict) else ""
    return key if said.predicate_type == PROVENANCE and isinstance(key, str) else ""


def _check_own(path: Path, component: Component, found: BuildRecord) -> Statement | None:
    """What this key has signed before. Raises DissentError where it was about the same inputs and other digests."""
    before = read(path) if path.exists() else None
    if before is not None and said_of(before) == found.key and before.digests() != found.digests():
        raise DissentError(
            f"{component.label}: this very key has signed other digests for the same inputs ({path.name})",
            remedy=f"the build does not agree with itself: ./doit rebuild:{component.name}. Nothing was written; "
            "to withdraw what was signed, remove the file",
            details=_difference(found, path, before),
        )
    return before


def _dissent(component: Component, found: BuildRecord, others: list[tuple[Path, Statement]], path: Path) -> DissentError:
    lines = [_difference(found, other, said) for other, said in others]
    return DissentError(
        f"{component.label}: this build disagrees with {len(others)} other signed "
        f"statement{'s' * (len(others) != 1)} about the same inputs; {lines[0].splitlines()[0]}",
        remedy=f"{path.name} says so to everybody who verifies the set; publish it, and look for the reason: "
        f"./doit rebuild:{component.name}",
        details="\n".join(lines),
    )


def _difference(found: BuildRecord, other: Path, said: Statement) -> str:
    """A line for each output that differs."""
    here, there = found.digests(), said.digests()
    names = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
    return "\n".join(f"{name}: here {here.get(name, 'nothing')}, {other.name} {there.get(name, 'nothing')}" for name in names)
