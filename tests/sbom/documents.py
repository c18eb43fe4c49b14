"""Other people's validators for what we write."""

from __future__ import annotations

import json
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

Json = dict[str, Any]


def check_cyclonedx(data: bytes) -> Json:
    """The document, which cyclonedx-python-lib finds valid, and whose references all lead somewhere."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    document: Json = json.loads(data)
    subject = document["metadata"]["component"]
    refs = [each["bom-ref"] for each in [subject, *subject["components"], *document["components"]]]
    assert len(refs) == len(set(refs))
    named = [ref for each in document["dependencies"] for ref in [each["ref"], *each.get("dependsOn", [])]]
    named += [ref for each in document["compositions"] for ref in each["dependencies"]]
    assert set(named) <= set(refs)
    return document


def check_spdx(data: bytes) -> Json:
    """The document, which spdx-tools reads and finds valid."""
    document: Json = json.loads(data)
    messages = validate_full_spdx_document(JsonLikeDictParser().parse(document))
    assert [message.validation_message for message in messages] == []
    return document


def parts(document: Json) -> dict[str, Json]:
    """Components of a CycloneDX document by name."""
    return {each["name"]: each for each in document["components"]}


def properties(component: Json, name: str) -> list[str]:
    """Values of a property of ours, of a component or of the document."""
    return [each["value"] for each in component["properties"] if each["name"] == f"kubewright:{name}"]
