"""Which licences an SBOM names, for the policy's list. CycloneDX 1.6 and SPDX 2.3; both as plain JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubewright.verify import expression
from kubewright.verify.errors import SbomError
from kubewright.verify.shape import Shape


@dataclass(frozen=True, slots=True)
class Terms:
    """What an SBOM says of a component: SPDX expressions that all apply, and whether anything of it is unknown."""

    expressions: tuple[str, ...] = ()
    unknown: bool = False

    def __add__(self, other: Terms) -> Terms:
        return Terms(self.expressions + other.expressions, self.unknown or other.unknown)

    def denied(self, deny: frozenset[str]) -> frozenset[str]:
        """The identifiers of ``deny`` (in lower case) that forbid it."""
        return frozenset().union(*(expression.denied(text, deny) for text in self.expressions))


def licences(predicate: Mapping[str, Any], format_name: str, name: str) -> dict[str, Terms]:
    """Component -> its terms. Components of one name and version count together."""
    root = Shape.of(predicate, name, SbomError)
    found: dict[str, Terms] = {}
    for label, terms in _cyclonedx(root) if format_name == "cyclonedx" else _spdx(root):
        found[label] = found.get(label, Terms()) + terms
    return found


def terms_of(texts: list[str]) -> Terms:
    """The terms of expressions that all apply; no expression is unknown."""
    known = tuple(text for text in texts if text.strip() not in expression.UNKNOWN)
    return Terms(known, not texts or any(expression.unknown(text) for text in texts))


def _cyclonedx(root: Shape) -> Iterator[tuple[str, Terms]]:
    if root.value.get("bomFormat") != "CycloneDX":
        raise root.refuse("bomFormat", "expected CycloneDX")
    pending = root.objects("components")
    metadata = root.maybe("metadata")
    if metadata is not None and "component" in metadata.value:
        pending.append(metadata.inner("component"))
    while pending:
        component = pending.pop()
        pending += component.objects("components")
        choices = component.objects("licenses")
        if choices or component.value.get("type") != "file":  # our own outputs: what is in them has entries of its own
            yield _label(component), terms_of([_cyclonedx_licence(each) for each in choices])


def _cyclonedx_licence(choice: Shape) -> str:
    if "expression" in choice.value:
        return choice.text("expression")
    licence = choice.inner("license")
    return licence.text("id") if "id" in licence.value else ""  # a name is what somebody wrote, not an identifier


def _label(component: Shape) -> str:
    version = component.optional_text("version")
    return component.text("name") + (f" {version}" if version else "")


def _spdx(root: Shape) -> Iterator[tuple[str, Terms]]:
    if root.value.get("spdxVersion") != "SPDX-2.3":
        raise root.refuse("spdxVersion", "expected SPDX-2.3")
    for package in root.objects("packages"):
        version = package.optional_text("versionInfo")
        concluded = package.optional_text("licenseConcluded")
        declared = package.optional_text("licenseDeclared")
        said = [text for text in (concluded, declared) if text.strip() not in expression.UNKNOWN]
        yield package.text("name") + (f" {version}" if version else ""), terms_of(said)
