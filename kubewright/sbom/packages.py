"""Debian packages as ingredients, and the texts of licence files, which are kept once for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kubewright.building.inputs import ensure_root, root_name
from kubewright.errors import StoreCorruptError
from kubewright.files.digest import sha256_bytes
from kubewright.model.lockfile import LockedBuilder, LockedPackage
from kubewright.project import Project
from kubewright.report import Progress
from kubewright.sbom import commonlicences, licences, purl
from kubewright.sbom.facts import Ingredient
from kubewright.sbom.licences import Licence, LicenceFile


def package_ref(name: str) -> str:
    return f"package:{name}"


class PackageLicences:
    """Debian packages as ingredients, with what their copyright files say. ``texts``: SHA-256 -> text of those files."""

    def __init__(self, project: Project, progress: Progress) -> None:
        self._project, self._progress = project, progress
        self.texts: dict[str, str] = {}

    def of(self, name: str, locked: LockedBuilder, packages: Sequence[LockedPackage]) -> Iterator[Ingredient]:
        """Some of the packages that the builder ``name`` locks. They are unpacked where they are not."""
        if not packages:
            return
        root = self._project.store.tree(root_name(locked))
        if not root.is_dir():
            ensure_root(self._project, name, locked, self._progress)
        for package in packages:
            licence = licences.of_package(root, package.name)
            keep_texts(self.texts, root, licence)
            yield Ingredient(
                ref=package_ref(package.name),
                kind="package",
                name=package.name,
                version=package.version,
                purl=purl.deb(package.name, package.version, package.architecture, locked.suite),
                licence=self._with_common_texts(licence),
                sha256=package.sha256,
            )

    def _with_common_texts(self, licence: Licence) -> Licence:
        """And the texts that a copyright file only points to."""
        common = commonlicences.ensure(self._project, self._progress)
        if common is None:
            return licence
        texts = "\n".join(self.texts[file.sha256] for file in licence.files)
        files = tuple(commonlicences.pointed_to(texts, common))
        keep_texts(self.texts, common, Licence("", files))
        return replace(licence, files=(*licence.files, *files))


def keep_texts(texts: dict[str, str], root: Path, licence: Licence) -> None:
    """Put the texts of ``licence``'s files, below ``root``, into ``texts`` by their SHA-256. Raises StoreCorruptError."""
    for file in licence.files:
        if file.sha256 not in texts:
            texts[file.sha256] = _text(root, file)


def _text(root: Path, file: LicenceFile) -> str:
    path = root / file.path
    data = path.read_bytes() if path.is_file() else b""
    if sha256_bytes(data) != f"sha256:{file.sha256}":
        raise StoreCorruptError(
            f"{path} is not the file whose licence is known (sha256:{file.sha256})",
            remedy="the store's copy has changed: `./doit fetch:NAME` takes it out and brings it anew",
        )
    return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
