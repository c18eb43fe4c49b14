"""What a lab is made from: the bundle, the policy, the installer, and the root of a node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from kubewright import pyz
from kubewright.building.inputs import ensure_root, root_name
from kubewright.canonical import canonical_digest
from kubewright.lab.conformance import Given as Conformance
from kubewright.lab.errors import LabError
from kubewright.lab.milestone1 import Given
from kubewright.lab.root import known_files, members, write_tar
from kubewright.project import Project
from kubewright.report import Progress

BUILDER: Final = "lab-node"
#: where the bundle and the policy are, if not where they are expected
BUNDLE: Final = "KUBEWRIGHT_LAB_BUNDLE"
POLICY: Final = "KUBEWRIGHT_LAB_POLICY"
TESTS: Final = "KUBEWRIGHT_CONFORMANCE_BUNDLE"
#: the list of specs; it is beside the recipe of the tests, whose version it goes with, if not elsewhere
SPECS: Final = "recipes/e2e-test/conformance.txt"
OTHER_SPECS: Final = "KUBEWRIGHT_CONFORMANCE_SPECS"


def folder_of(project: Project) -> Path:
    """Where labs keep what they make."""
    return project.root / ".kubewright" / "lab"


def prepare(project: Project, progress: Progress) -> Given:
    """Everything that milestone 1 needs. Raises LabError, and what fetching packages raises."""
    bundle, policy = _bundle(project, "kubernetes", BUNDLE), _policy(project)
    folder = folder_of(project)
    folder.mkdir(parents=True, exist_ok=True)
    installer = folder / pyz.INSTALL.file
    installer.write_bytes(pyz.build(pyz.INSTALL))
    tar, digest, packages = node_root(project, BUILDER, folder, progress)
    return Given(folder, bundle, policy, installer, packages, tar, digest, progress.note)


def prepare_conformance(project: Project, progress: Progress, everything: bool) -> Conformance:
    """Everything that conformance specs need besides a lab that runs. Raises LabError."""
    bundle = _bundle(project, "conformance", TESTS)
    listed = Path(os.environ.get(OTHER_SPECS) or project.root / SPECS)
    return Conformance(folder_of(project), bundle, _policy(project), listed, everything, progress.note)


def _policy(project: Project) -> Path:
    policy = Path(os.environ.get(POLICY) or project.root / "site.toml")
    if not policy.is_file():
        raise LabError(f"{policy} is not there", remedy=f"kubewright policy new writes one; or set {POLICY}")
    return policy


def _bundle(project: Project, stack: str, variable: str) -> Path:
    named = os.environ.get(variable)
    if named:
        return Path(named)
    made = sorted((project.root / "artifacts" / "bundles").glob(f"{stack}-*.oci*"), key=lambda path: path.stat().st_mtime)
    if not made:
        raise LabError(f"there is no bundle of the stack {stack}", remedy=f"./doit bundle:{stack}, or set {variable}")
    return made[-1]


def node_root(project: Project, builder: str, folder: Path, progress: Progress) -> tuple[Path, str, Path]:
    """The tar of a node's root, its digest, and the list of its files; made again when lock or declared files change."""
    locked = project.locked_builder(builder)
    root = ensure_root(project, builder, locked, progress)
    assert root is not None
    found = members(root)
    declared = [[each.path, each.mode, each.link, each.source.decode()] for each in found if isinstance(each.source, bytes)]
    key = canonical_digest([root_name(locked), declared]).removeprefix("sha256:")[:16]
    tar, packages, note = (folder / f"node-{key}{suffix}" for suffix in (".tar", ".packages.json", ".digest"))
    if not note.is_file():
        progress.stage("root of a node")
        for old in folder.glob("node-*"):
            old.unlink()
        with tar.open("wb") as out:
            digest = write_tar(found, out)
        packages.write_text(known_files(found, builder))
        note.write_text(digest)
    return tar, note.read_text(), packages
