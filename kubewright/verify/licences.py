"""Which licences an SBOM names, for the policy's list. CycloneDX 1.6 and SPDX 2.3; both as plain JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kubewright.verify.errors import SbomError
from kubewright.verify.shape import Shape

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:-]*")
_OPERATORS: Final = {"AND", "OR", "WITH"}
_UNKNOWN: Final = {"", "NONE", "NOASSERTION"}


def licences(predicate: Mapping[str, Any], format_name: str, name: str) -> dict[str, frozenset[str]]:
    """Component -> SPDX identifiers that its licence expression names; none where the SBOM does not know."""
    root = Shape.of(predicate, name, SbomError)
    found: dict[str, frozenset[str]] = {}
    for label, expressions in _cyclonedx(root) if format_name == "cyclonedx" else _spdx(root):
        found[label] = found.get(label, frozenset()) | {each for text in expressions for each in identifiers(text)}
    return found


def identifiers(expression: str) -> frozenset[str]:
    """The identifiers of an SPDX expression; an exception behind WITH is one as well."""
    if expression.strip() in _UNKNOWN:
        return frozenset()
    return frozenset(_IDENTIFIER.findall(expression)) - _OPERATORS


def _cyclonedx(root: Shape) -> Iterator[tuple[str, list[str]]]:
    if root.value.get("bomFormat") != "CycloneDX":
        raise root.refuse("bomFormat", "expected CycloneDX")
    pending = root.objects("components")
    metadata = root.maybe("metadata")
    if metadata is not None and "component" in metadata.value:
        pending.append(metadata.inner("component"))
    while pending:
        component = pending.pop()
        pending += component.objects("components")
        if component.value.get("type") != "file":  # our own outputs: what is in them has entries of its own
            yield _label(component), [_cyclonedx_licence(each) for each in component.objects("licenses")]


def _cyclonedx_licence(choice: Shape) -> str:
    if "expression" in choice.value:
        return choice.text("expression")
    licence = choice.inner("license")
    return licence.text("id") if "id" in licence.value else ""  # a name is what somebody wrote, not an identifier


def _label(component: Shape) -> str:
    version = component.optional_text("version")
    return component.text("name") + (f" {version}" if version else "")


def _spdx(root: Shape) -> Iterator[tuple[str, list[str]]]:
    if root.value.get("spdxVersion") != "SPDX-2.3":
        raise root.refuse("spdxVersion", "expected SPDX-2.3")
    for package in root.objects("packages"):
        version = package.optional_text("versionInfo")
        concluded = package.optional_text("licenseConcluded")
        declared = package.optional_text("licenseDeclared")
        yield package.text("name") + (f" {version}" if version else ""), [concluded, declared]
