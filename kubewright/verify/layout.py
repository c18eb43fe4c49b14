"""Where things are in a signed set, and which of them somebody asks about.

A set is a folder NAME/VERSION/OS-ARCH/FILES with images (OCI layouts) at images/NAME/VERSION/OS-ARCH, ``attestations/`` of the
same shape, and ``release/`` beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubewright.errors import UsageError
from kubewright.verify.errors import ArtifactUnknownError, UnsafeSetError
from kubewright.verify.pinned import Folder

ATTESTATIONS: Final = "attestations"
RELEASE: Final = "release"
#: whole bundles, which are verified by themselves
BUNDLES: Final = "bundles"
#: a mirror, which is checked by itself (`kubewright mirror check`)
MIRROR: Final = "mirror"
#: images, as OCI layouts
IMAGES: Final = "images"
_BESIDE: Final = (ATTESTATIONS, RELEASE, BUNDLES, MIRROR)
#: what no component can be called: its folder would be in the place of another thing
RESERVED: Final = (*_BESIDE, IMAGES)
#: documents beside the statements: what the signed statements hold, for people; nothing relies on them
SBOMS: Final = {"sbom.cdx.json": "cyclonedx", "sbom.spdx.json": "spdx"}
DOCUMENTS: Final = (*SBOMS, "ATTRIBUTION")

_PLACE: Final = re.compile(r"[a-z0-9][a-z0-9-]*/[A-Za-z0-9][A-Za-z0-9.+-]*/linux-(?:amd64|arm64)")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be verified: ``inside`` is a path relative to the set's ``root`` (empty: all of it).

    ``loose`` is a single file outside of any set, which is known by its digest alone; then ``root`` is its folder. ``layout``
    is an image's layout outside of any set: ``root`` is the layout.
    """

    root: Path
    attestations: Path
    release: Path
    inside: str = ""
    loose: bool = False
    layout: bool = False


def locate(path: Path, attestations: Path | None = None, release: Path | None = None) -> Asked:
    """The set around ``path``, or the one that is given. Raises UsageError or UnsafeSetError."""
    if path.is_symlink():
        raise UnsafeSetError(f"{path} is a symbolic link", remedy="name what it leads to")
    if not path.exists():
        raise UsageError(f"there is no {path}", remedy="name a file, a component's folder, or a whole set")
    absolute = path.resolve()
    root = locate_set(absolute)
    if root is not None:
        inside = "" if root == absolute else absolute.relative_to(root).as_posix()
        return Asked(root, attestations or root / ATTESTATIONS, release or root / RELEASE, inside)
    if attestations is None or release is None:
        raise UsageError(
            f"{path}: no folder above it holds {ATTESTATIONS}/ and {RELEASE}/",
            remedy="give both with --attestations and --release",
        )
    if absolute.is_dir():
        return Asked(absolute, attestations, release, layout=(absolute / "oci-layout").is_file())
    return Asked(absolute.parent, attestations, release, absolute.name, loose=True)


def locate_set(path: Path) -> Path | None:
    """The set that ``path`` lies in, or is; None where there is none. Raises UnsafeSetError where there are two."""
    folders = [path, *path.parents] if path.is_dir() else [*path.parents]
    sets = [each for each in folders if (each / ATTESTATIONS).is_dir() and (each / RELEASE).is_dir()]
    if len(sets) > 1:  # or a set that is put into a component's folder would be verified in its place
        raise UnsafeSetError(f"{sets[0]} is a signed set within another one, {sets[1]}", remedy="move one out of the other")
    return sets[0] if sets else None


def places_of(folder: Folder, inside: str) -> list[str]:
    """Every NAME/VERSION/OS-ARCH of a set that ``inside`` covers. Whatever else lies there is refused."""
    parts = inside.split("/")
    if parts[0] in (ATTESTATIONS, RELEASE):
        raise UsageError(f"{inside} is part of the evidence", remedy="name an artifact, a component's folder, or the whole set")
    depth = 4 if parts[0] == IMAGES else 3
    if inside:
        found = ["/".join(parts[:depth])]
        found = _below(folder, found, depth - len(parts))
    else:
        names = [name for name in _folders(folder, "") if name not in _BESIDE]
        found = _below(folder, [name for name in names if name != IMAGES], 2)
        found += _below(folder, [IMAGES] if IMAGES in names else [], 3)
    for place in found:
        if not is_place(place) and not is_image_place(place):
            raise ArtifactUnknownError(f"{folder.name(place)} is not NAME/VERSION/OS-ARCH")
    return found


def _below(folder: Folder, paths: list[str], levels: int) -> list[str]:
    """The folders so many levels below ``paths``."""
    for _ in range(levels):
        paths = [f"{each}/{name}" for each in paths for name in _folders(folder, each)]
    return paths


def is_place(path: str) -> bool:
    """Whether a path is NAME/VERSION/OS-ARCH of a component."""
    return _PLACE.fullmatch(path) is not None and path.split("/")[0] not in RESERVED


def is_image_place(path: str) -> bool:
    """Whether a path is images/NAME/VERSION/OS-ARCH."""
    kind, _, rest = path.partition("/")
    return kind == IMAGES and _PLACE.fullmatch(rest) is not None


def _folders(folder: Folder, path: str) -> list[str]:
    names = folder.names(path)
    loose = [name for name, is_folder in names if not is_folder]
    if loose:
        inside = f"{path}/{loose[0]}" if path else loose[0]
        raise ArtifactUnknownError(f"{folder.name(inside)}: no statement is about it", remedy="remove it from the set")
    return [name for name, _ in names]


def evidence_files(folder: Folder, place: str) -> list[str]:
    """The bundles of one place; refuses what is neither a bundle nor one of ``DOCUMENTS``."""
    bundles = []
    for name, is_folder in folder.names(place):
        if not is_folder and name.endswith(".sigstore.json"):
            bundles.append(name)
        elif is_folder or name not in DOCUMENTS:
            raise ArtifactUnknownError(
                f"{folder.name(f'{place}/{name}')} is neither a bundle nor one of {', '.join(DOCUMENTS)}"
            )
    return bundles
