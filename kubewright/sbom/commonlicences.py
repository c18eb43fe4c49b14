"""Licence texts that Debian's copyright files point to instead of having them: those of base-files, locked as a builder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kubewright.building.inputs import ensure_root
from kubewright.files.digest import sha256_file, sha256_hex
from kubewright.project import Project
from kubewright.report import Progress
from kubewright.sbom.licences import LicenceFile

#: builders/licences.toml: nothing is built in it, and no build key has it
BUILDER: Final = "licences"

_FOLDER: Final = "usr/share/common-licenses"
_POINTER: Final = re.compile(rf"/{_FOLDER}/([A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*)")


def ensure(project: Project, progress: Progress) -> Path | None:
    """The unpacked, verified root with the texts; None where the lock has no such builder."""
    locked = project.lock.builders.get(BUILDER)
    return ensure_root(project, BUILDER, locked, progress) if locked else None


def pointed_to(copyright_text: str, root: Path) -> Iterator[LicenceFile]:
    """The texts below ``root`` that a copyright file names, each once. ``GPL`` is a link to its newest version."""
    folder = root / _FOLDER
    names = {(folder / name).resolve().name for name in _POINTER.findall(copyright_text)}
    for name in sorted(names):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            yield LicenceFile(_FOLDER, name, sha256_hex(sha256_file(path)), True, ())
