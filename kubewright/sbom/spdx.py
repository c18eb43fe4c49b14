"""The facts as SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/), as JSON. Equal facts give equal bytes."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from kubewright.canonical import canonical_digest
from kubewright.sbom.cyclonedx import ingredient_details
from kubewright.sbom.facts import Facts, Ingredient, OutputFacts
from kubewright.sbom.licences import Licence

Json = dict[str, Any]

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:kubewright:sbom")
_NONE = "NOASSERTION"
_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")


def document(facts: Facts) -> Json:
    """A document that describes one component for one platform; outputs and what is in them are packages."""
    created = facts.created
    tool = f"Tool: kubewright-{facts.tool}"
    body = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{facts.name}-{facts.version}-{facts.platform.replace('/', '-')}",
        "creationInfo": {"created": created, "creators": [tool]},
        "packages": [
            _subject(facts),
            *(_output(facts, output) for output in facts.outputs),
            *map(_ingredient, facts.ingredients),
        ],
        "relationships": [*_relationships(facts)],
        "hasExtractedLicensingInfos": [*_extracted(facts)],
        "annotations": [
            {"annotationDate": created, "annotationType": "OTHER", "annotator": tool, "comment": comment}
            for comment in (f"locked and not linked: {each.path} {each.version} {each.h1}" for each in facts.unused)
        ],
    }
    return {**body, "documentNamespace": f"urn:uuid:{uuid.uuid5(_NAMESPACE, canonical_digest(body))}"}


# -- packages -----------------------------------------------------------------------------------------------------


def _package(ref: str, name: str, version: str, concluded: str, declared: str, details: Iterable[tuple[str, str]]) -> Json:
    found: Json = {
        "SPDXID": _id(ref),
        "name": name,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "licenseConcluded": concluded or _NONE,
        "licenseDeclared": declared or _NONE,
        "copyrightText": _NONE,
    }
    if version:
        found["versionInfo"] = version
    comment = "\n".join(f"{key}: {value}" for key, value in details)
    return {**found, "comment": comment} if comment else found


def _subject(facts: Facts) -> Json:
    details = [("platform", facts.platform), ("key", facts.key)]
    found = _package(facts.ref, facts.name, facts.version, "", facts.licence, details)
    found |= {"summary": facts.summary, "primaryPackagePurpose": "CONTAINER" if facts.kind == "image" else "APPLICATION"}
    found |= _purl(facts.purl)
    if facts.sha256:
        found["checksums"] = [{"algorithm": "SHA256", "checksumValue": facts.sha256}]
    return {**found, "homepage": facts.homepage} if facts.homepage else found


def _output(facts: Facts, output: OutputFacts) -> Json:
    """Concluded is all that it holds, joined with AND; declared is what upstream says of its own code."""
    held = {facts.ingredient(ref).licence.expression for ref in output.contains}
    words = {word for expression in held for word in expression.split(" AND ")}
    concluded = "" if "" in held or not held else " AND ".join(sorted(words))
    details = [("kind", output.kind), ("size", str(output.size)), *output.details]
    return {
        **_package(output.ref, output.path, facts.version, concluded, facts.licence, details),
        "packageFileName": output.path,
        "checksums": [{"algorithm": "SHA256", "checksumValue": output.sha256}],
        "primaryPackagePurpose": "APPLICATION" if output.kind == "program" else "FILE",
    }


def _ingredient(each: Ingredient) -> Json:
    """Declared is what its licence files say; nobody has concluded anything beyond that."""
    found = _package(each.ref, each.name, each.version, "", each.licence.expression, ingredient_details(each))
    found |= {"primaryPackagePurpose": "APPLICATION" if each.kind == "component" else "LIBRARY", **_purl(each.purl)}
    if each.sha256:
        found["checksums"] = [{"algorithm": "SHA256", "checksumValue": each.sha256}]
    if each.git.startswith("https://") and each.commit:
        found["downloadLocation"] = f"git+{each.git}@{each.commit}"
    return found


def _purl(url: str) -> Json:
    return {
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}],
    }


# -- the rest -----------------------------------------------------------------------------------------------------


def _relationships(facts: Facts) -> Iterator[Json]:
    yield _relation("DOCUMENT", "DESCRIBES", _id(facts.ref))
    for output in facts.outputs:
        yield _relation(facts.ref, "CONTAINS", _id(output.ref))
        for ref in output.contains:
            yield _relation(output.ref, _relation_to(facts.ingredient(ref)), _id(ref))


def _relation_to(each: Ingredient) -> str:
    return {"component": "CONTAINS", "source": "GENERATED_FROM"}.get(each.kind, "STATIC_LINK")


def _relation(subject: str, kind: str, other: str) -> Json:
    element = "SPDXRef-DOCUMENT" if subject == "DOCUMENT" else _id(subject)
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": other}


def _extracted(facts: Facts) -> Iterator[Json]:
    """Licence texts that are not on SPDX's list, by the names that expressions use."""
    found: dict[str, str] = {}
    for each in facts.ingredients:
        for reference in _references(each.licence):
            files = [file for file in each.licence.files if reference in (file.reference, *file.ids)]
            found.setdefault(reference, "\n\n".join(facts.texts.get(file.sha256, _NONE) for file in files) or _NONE)
    for reference in sorted(found):
        yield {"licenseId": reference, "extractedText": found[reference], "name": _NONE}


def _references(licence: Licence) -> list[str]:
    return _REFERENCE.findall(licence.expression)


def _id(ref: str) -> str:
    """SPDX allows letters, digits, ``.`` and ``-``: readable, and unique by a digest of the ref."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", ref)
    return f"SPDXRef-{readable}-{hashlib.sha256(ref.encode()).hexdigest()[:8]}"
