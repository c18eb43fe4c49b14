"""Lay out the build directory: sources, patches, overlays, other components' outputs, the generated main module.

src/NAME/   files of a source      main/   go.mod and go.sum      out/   what the build leaves
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from kubewright.building.facts import check_facts, check_modules
from kubewright.building.outputs import inside, restore
from kubewright.building.steps import GO_OUT
from kubewright.errors import OutputError, PatchError, RecipeError
from kubewright.fetch.gomodule import Module, module_cache
from kubewright.files.deb import package_files
from kubewright.files.tree import copy_tree
from kubewright.model.lockfile import LockedPackage, LockedSource
from kubewright.model.recipe import Input, Recipe, Source, has_main_module
from kubewright.project import Component, Project
from kubewright.record import RecordedOutput
from kubewright.store import Store

#: the store's kind of what is kept of a package
_FILES = "package-files"
_SCRATCH = ("out", GO_OUT, ".home", ".tmp", ".gopath")


def lay_out(
    project: Project,
    component: Component,
    trees: Mapping[str, Path],
    root: Path | None,
    made: Mapping[tuple[str, str], RecordedOutput],
    build: Path,
) -> None:
    """Fill the empty directory ``build``. ``root``: the builder's, unpacked and verified.

    ``made``: the output of another component that each (component, output) is, or is in.

    Raises PatchError, FactError, RecipeError (an overlay or a package's file that is not there), OutputError,
    StoreCorruptError.
    """
    lay_sources(project, component, trees, build)
    for each in component.recipe.inputs:
        lay_input(project.store, each, made[each.component, each.output], build / each.to)
    lay_packages(project.store, component, root, build)
    lay_links(component.recipe, build)
    for name in _SCRATCH:
        (build / name).mkdir(parents=True, exist_ok=True)


def lay_sources(project: Project, component: Component, trees: Mapping[str, Path], build: Path) -> None:
    """Sources with patches and overlays, and the generated main module at main/: all that listing modules needs."""
    for source, pin in zip(component.recipe.sources, component.locked.sources, strict=True):
        target = build / "src" / source.name
        lay_source(project.store, source, pin, trees.get(source.name), target)
        check_facts(component.name, source, target)
        if pin is component.locked.sources[0]:
            check_modules(component.recipe, source, target, component.locked.modules)
        for patch in source.patches:
            apply_patch(project.root / "patches" / component.name / patch.file, build / "src" / source.name, named(pin))
    lay_main_module(project.root / "recipes" / component.name, component.recipe, build / "main")
    lay_overlays(project, component.recipe, build)


def lay_input(store: Store, wanted: Input, output: RecordedOutput, target: Path) -> None:
    """An output of another component, or what lies in it at a path, at ``target``."""
    if wanted.output == output.path:
        restore(store, output, target)
        return
    with store.scratch("input") as scratch:
        restore(store, output, scratch / output.path)
        found = inside(scratch, wanted.output)
        if not found.exists():
            raise OutputError(
                f"{wanted.component}'s output {output.path} holds no {wanted.output.removeprefix(output.path + '/')}",
                remedy=f"correct `output` of the [[input]]; artifacts/{wanted.component} shows what it holds",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        found.rename(target)


def lay_packages(store: Store, component: Component, root: Path | None, build: Path) -> None:
    """Files of the builder's packages at their places; ``root`` is the builder's unpacked root, verified.

    Raises RecipeError where the package is not the builder's, or has no such file.
    """
    for each in component.recipe.packages:
        for name, paths in each.files.items():
            where = f"recipes/{component.name}/recipe.toml: package: {name}"
            _check_holds(store, component, name, paths, where)
            for path in paths:
                assert root is not None  # a builder with packages has one
                _lay_from_root(root, path, build / each.to / path, where)


def _check_holds(store: Store, component: Component, name: str, paths: tuple[str, ...], where: str) -> None:
    builder = component.recipe.builder
    pin = next((package for package in component.locked_builder.packages if package.name == name), None)
    if pin is None:
        remedy = f"correct the name, or add it to builders/{builder}.toml and ./doit lock:{builder}"
        raise RecipeError(f"{where}: the builder {builder} has no such package", remedy=remedy)
    held = _files_of(store, pin)
    for path in paths:
        if path not in held:
            raise RecipeError(f"{where} {pin.version} has no {path}", remedy=f"`dpkg -L {name}` lists its files")


def _files_of(store: Store, package: LockedPackage) -> frozenset[str]:
    """The paths in a package. Its bytes never change, so the list is kept: unpacking all of them takes seconds."""
    known = store.get_json(_FILES, package.sha256)
    if isinstance(known, list):
        return frozenset(str(path) for path in known)
    with store.scratch("deb") as scratch:
        store.copy_out(f"sha256:{package.sha256}", scratch / "package.deb")
        held = package_files(scratch / "package.deb")
    store.put_json(_FILES, package.sha256, sorted(held))
    return held


def _lay_from_root(root: Path, path: str, target: Path, where: str) -> None:
    found = (root / path).resolve()
    if not found.is_relative_to(root.resolve()) or not found.exists():
        raise RecipeError(f"{where}: {path} leads to nothing in the builder's root", remedy="name the file itself")
    if found.is_dir():
        for entry in sorted(found.iterdir()):
            _lay_from_root(root, str(Path(path) / entry.name), target / entry.name, where)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, target)
    target.chmod(0o755 if found.stat().st_mode & 0o100 else 0o644)


def lay_links(recipe: Recipe, build: Path) -> None:
    """The recipe's symbolic links; what they lead to may come to be in a step."""
    for path, leads_to in sorted(recipe.links.items()):
        inside(build, str(Path(path).parent)).mkdir(parents=True, exist_ok=True)
        if (build / path).is_symlink() or (build / path).exists():
            raise RecipeError(
                f"recipes/{recipe.name}/recipe.toml: links: {path} is there already", remedy="give the link another name"
            )
        (build / path).symlink_to(leads_to)


def lay_source(store: Store, source: Source, pin: LockedSource, tree: Path | None, target: Path) -> None:
    """The files of one source at ``target``; nothing for a module that is used from the module cache."""
    if source.form == "module":
        if not source.unpack:
            return
        tree = module_cache(store) / Module(pin.module, pin.version, pin.h1).directory
    if tree is None:
        raise AssertionError(f"source {source.name} has not been fetched")
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_tree(tree, target)


def lay_main_module(recipe_directory: Path, recipe: Recipe, target: Path) -> None:
    """go.mod and go.sum of a recipe whose go steps build in the generated main module; nothing for others."""
    if has_main_module(recipe):
        target.mkdir(parents=True)
        for name in ("go.mod", "go.sum"):
            if (recipe_directory / name).is_file():
                shutil.copyfile(recipe_directory / name, target / name)


def lay_overlays(project: Project, recipe: Recipe, build: Path) -> None:
    """Files of ours at their places. Raises RecipeError for one that is not there."""
    for overlay in recipe.overlays:
        _lay_overlay(project.root / "recipes" / recipe.name / overlay.from_, build / overlay.to)


def _lay_overlay(origin: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_dir():
        for path in sorted(origin.rglob("*")):
            if path.is_file():
                _lay_overlay(path, target / path.relative_to(origin))
    elif origin.is_file():
        shutil.copyfile(origin, target)
        target.chmod(0o755 if origin.stat().st_mode & 0o100 else 0o644)
    else:
        raise RecipeError(f"overlay {origin} does not exist", remedy="correct `from` in the recipe's [[overlay]]")


# -- patches ------------------------------------------------------------------------------------------------------

_FAILED = re.compile(r"patch failed: (?P<file>.+):(?P<line>\d+)")
_HUNK = re.compile(r"^@@ -(?P<line>\d+)")


def named(pin: LockedSource) -> str:
    """A source and its version in a few words."""
    return f"{pin.name} {pin.version or pin.tag or pin.branch or pin.url.rpartition('/')[2]}"


def apply_patch(patch: Path, tree: Path, to: str = "its source") -> None:
    """Apply a unified diff (``-p1``; zero context is allowed, since pinned sources do not move). Exact or not at all.

    Raises PatchError that names file, line and hunk; nothing of the patch has been applied then.
    """
    if not patch.is_file():
        raise PatchError(f"{patch} does not exist", remedy="correct `file` in the recipe's [[source.patch]]")
    arguments = ["git", "apply", "--unidiff-zero", "--whitespace=nowarn", "-p1", str(patch.absolute())]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # the tree is not a repository of its own; one above it (a store inside the checkout) must not count
    env = kept | {"GIT_CEILING_DIRECTORIES": str(tree.absolute().parent), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    env["GIT_CONFIG_GLOBAL"] = os.devnull
    result = subprocess.run(arguments, cwd=tree, env=env, capture_output=True, text=True, errors="replace")
    if result.returncode:
        raise PatchError(
            f"patches/{patch.parent.name}/{patch.name} does not apply to {to}: {_where(patch, result.stderr)}",
            remedy=f"that is not the version that the patch was made for: make it again, then ./doit lock:{patch.parent.name};"
            f" or remove [[source.patch]] from recipes/{patch.parent.name}/recipe.toml, where upstream has the change",
            details=result.stderr.strip()[-2000:],
        )


def _where(patch: Path, stderr: str) -> str:
    failed = _FAILED.search(stderr)
    if failed is None:
        return stderr.strip().splitlines()[0].removeprefix("error: ") if stderr.strip() else "git apply gave no reason"
    number, current = 0, ""
    for line in patch.read_text("utf-8", errors="replace").splitlines():
        if line.startswith("--- "):
            current, number = line[4:].split("\t")[0].split("/", 1)[-1], 0
        hunk = _HUNK.match(line)
        if hunk:
            number += 1
            if current == failed["file"] and hunk["line"] == failed["line"]:
                break
    return f"{failed['file']}, hunk {number} (line {failed['line']})"
