"""The signed set on disk: artifacts/ with what was built, attestations/ beside it, and release/.

artifacts/NAME/VERSION/OS-ARCH/...
artifacts/attestations/NAME/VERSION/OS-ARCH/KIND.KEYID.sigstore.json    KIND: provenance, cyclonedx, spdx
artifacts/attestations/NAME/VERSION/OS-ARCH/{sbom.cdx.json,sbom.spdx.json,ATTRIBUTION}
artifacts/images/NAME/VERSION/OS-ARCH/...
artifacts/attestations/images/NAME/VERSION/OS-ARCH/...    the same files about an image
artifacts/release/{lockfile.toml,digests.toml,release.KEYID.sigstore.json}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubewright.disk import writing
from kubewright.images.plan import Plan
from kubewright.project import Component, Project
from kubewright.store import replace_file
from kubewright.verify.bundle import SUFFIX
from kubewright.verify.layout import ATTESTATIONS, IMAGES


@dataclass(frozen=True, slots=True)
class Signed:
    """What a run wrote, and what was there already."""

    written: tuple[Path, ...]
    same: tuple[Path, ...]


def attestation_directory(project: Project, component: Component) -> Path:
    """Where statements about a component's outputs lie."""
    return _attestations(project) / component.name / component.recipe.version / component.platform.replace("/", "-")


def image_attestation_directory(project: Project, plan: Plan) -> Path:
    """Where statements about an image lie."""
    return _attestations(project) / IMAGES / plan.name / plan.version / plan.platform.replace("/", "-")


def _attestations(project: Project) -> Path:
    return project.root / "artifacts" / ATTESTATIONS


def release_directory(project: Project) -> Path:
    return project.root / "artifacts" / "release"


def bundle_name(kind: str, key_id: str) -> str:
    """KIND.KEYID.sigstore.json."""
    return f"{kind}.{key_id}{SUFFIX}"


def put(path: Path, data: bytes) -> bool:
    """Write ``data`` unless the file has it already; whether anything was written."""
    if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
        return False
    with writing(path.parent, store=False):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data)
    return True


def put_all(files: Mapping[Path, bytes]) -> Signed:
    """``put`` for several files."""
    wrote = {path: put(path, data) for path, data in files.items()}
    return Signed(
        tuple(path for path, new in wrote.items() if new),
        tuple(path for path, new in wrote.items() if not new),
    )
