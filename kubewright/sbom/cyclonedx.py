"""The facts as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). The same facts give the same document, byte for byte."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from kubewright.canonical import canonical_digest
from kubewright.sbom.facts import Facts, Ingredient, OutputFacts
from kubewright.sbom.licences import Licence

Json = dict[str, Any]

#: of names that are made of a document's content (RFC 9562, version 5)
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:kubewright:sbom")
_TYPES = {"module": "library", "standard library": "library", "package": "library", "source": "library"}


def document(facts: Facts) -> Json:
    """A BOM of one component for one platform: its outputs below it, beside it what is in them."""
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": facts.created,
            "lifecycles": [{"phase": "post-build"}],
            "tools": {"components": [{"type": "application", "name": "kubewright", "version": facts.tool}]},
            "component": _subject(facts),
        },
        "components": [*map(_ingredient, facts.ingredients)],
        "dependencies": [*_dependencies(facts)],
        "compositions": [*_compositions(facts)],
        # no components of scope "excluded": scanners take those for what is there
        "properties": _properties(("locked-not-linked", f"{e.path} {e.version} {e.h1}") for e in facts.unused),
    }
    return {**bom, "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, canonical_digest(bom))}"}


def _subject(facts: Facts) -> Json:
    found: Json = {
        "type": "container" if facts.kind == "image" else "application",
        "bom-ref": facts.ref,
        "name": facts.name,
        "version": facts.version,
        "description": facts.summary,
        "purl": facts.purl,
        "licenses": _licences(Licence(facts.licence, ())),
        "components": [_output(output) for output in facts.outputs],
        "properties": _properties([("platform", facts.platform), ("key", facts.key)]),
    }
    if facts.sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": facts.sha256}]
    if facts.homepage:
        found["externalReferences"] = [{"type": "website", "url": facts.homepage}]
    return found


def _output(output: OutputFacts) -> Json:
    return {
        "type": "file",
        "bom-ref": output.ref,
        "name": output.path,
        "hashes": [{"alg": "SHA-256", "content": output.sha256}],
        "properties": _properties([("kind", output.kind), ("size", str(output.size)), *output.details]),
    }


def _ingredient(each: Ingredient) -> Json:
    found: Json = {
        "type": _TYPES.get(each.kind, "application"),
        "bom-ref": each.ref,
        "name": each.name,
        "version": each.version,
        "purl": each.purl,
        "scope": "required",
        "properties": _properties(ingredient_details(each)),
    }
    if each.licence.expression:
        found["licenses"] = _licences(each.licence)
    if each.sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": each.sha256}]
    if each.git:
        found["externalReferences"] = [{"type": "vcs", "url": each.git}]
    pedigree = _pedigree(each)
    if pedigree:
        found["pedigree"] = pedigree
    return found


def ingredient_details(each: Ingredient) -> Iterator[tuple[str, str]]:
    """What neither format has a field for, as names and values."""
    yield "kind", each.kind
    if each.h1:
        yield ("h1-unpatched" if each.patches else "h1"), each.h1
    for file in each.licence.files:
        yield ("notice-file" if file.notice else "licence-file"), f"{file.path} sha256:{file.sha256}"
        if file.unexplained:
            yield "licence-unexplained", f"{file.path}: {file.unexplained}"
    if each.licence.reviewed:
        yield "licence-reviewed", "the expression is what people read in this very file"
    yield from (("patch", f"{change.path} sha256:{change.sha256}: {change.reason}") for change in each.patches)
    yield from each.details


def _pedigree(each: Ingredient) -> Json:
    found: Json = {}
    if each.commit:
        found["commits"] = [{"uid": each.commit}]
    if each.patches:
        found["patches"] = [{"type": "unofficial", "diff": {"url": change.path}} for change in each.patches]
    return found


def _licences(licence: Licence) -> list[Json]:
    return [{"expression": licence.expression, "acknowledgement": "declared"}]


def _dependencies(facts: Facts) -> Iterator[Json]:
    """Flat: which module asks for which is go.mod's to say, and not found in an output."""
    yield {"ref": facts.ref, "dependsOn": [output.ref for output in facts.outputs]}
    for output in facts.outputs:
        yield {"ref": output.ref, "dependsOn": list(output.contains)}
    yield from ({"ref": each.ref} for each in facts.ingredients)


def _compositions(facts: Facts) -> Iterator[Json]:
    for aggregate, complete in (("complete", True), ("incomplete", False)):
        refs = [output.ref for output in facts.outputs if output.complete is complete]
        if refs:
            yield {"aggregate": aggregate, "dependencies": refs}


def _properties(pairs: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"name": f"kubewright:{name}", "value": value} for name, value in pairs]
