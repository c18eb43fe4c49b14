"""The bill of materials of a build as files: CycloneDX, SPDX and ATTRIBUTION."""

from __future__ import annotations

import json
from typing import Any

from kubewright.project import Component, Project
from kubewright.record import BuildRecord
from kubewright.report import Progress
from kubewright.sbom import attribution, cyclonedx, spdx
from kubewright.sbom.facts import Facts
from kubewright.sbom.gather import gather


def make(project: Project, component: Component, record: BuildRecord, progress: Progress | None = None) -> dict[str, bytes]:
    """File name -> bytes, the same for equal outputs whoever built them.

    Raises NotLockedError (something is linked that the lock does not have), UnreadableBinaryError, and the errors of inputs,
    which are brought in where their licences are not known yet.
    """
    return documents(gather(project, component, record, progress or Progress(f"sbom:{component.name}")))


def documents(facts: Facts) -> dict[str, bytes]:
    """File name -> bytes of facts at hand."""
    return {
        "sbom.cdx.json": _json(cyclonedx.document(facts)),
        "sbom.spdx.json": _json(spdx.document(facts)),
        "ATTRIBUTION": attribution.text(facts).encode(),
    }


def _json(document: dict[str, Any]) -> bytes:
    """For people, too: indented, and still one spelling for one document."""
    return (json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()
