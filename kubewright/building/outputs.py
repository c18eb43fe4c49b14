"""What a build left in out/: exactly what the recipe declares, with fixed modes, as blobs of the store.

And the artifacts folder, where people find it: artifacts/NAME/VERSION/OS-ARCH/PATH.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from kubewright.disk import writing
from kubewright.errors import OutputError, UnsafeArchiveError
from kubewright.files.digest import sha256_file
from kubewright.files.tree import UNLIMITED, normalised_tar, remove_tree
from kubewright.files.unpack import extract_tar
from kubewright.model.recipe import Output, Recipe
from kubewright.project import Component, Project
from kubewright.record import RecordedOutput
from kubewright.store import Store, replace_file

#: ELF e_machine (https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html)
_MACHINES = {"linux/amd64": 62, "linux/arm64": 183}


def collect(recipe: Recipe, out: Path, platform: str, store: Store, scratch: Path) -> tuple[RecordedOutput, ...]:
    """Store every declared output. Raises OutputError for missing, undeclared and foreign ones."""
    _check_declared(recipe, out)
    return tuple(_store_output(output, out, platform, store, scratch) for output in recipe.outputs)


def _check_declared(recipe: Recipe, out: Path) -> None:
    for output in recipe.outputs:
        inside(out, output.path)
    missing = [output.path for output in recipe.outputs if not _present(output, out)]
    if missing:
        raise OutputError(
            f"{recipe.name}: the build did not make {', '.join(missing)}",
            remedy=f"correct [[output]] or the steps of recipes/{recipe.name}/recipe.toml",
        )
    undeclared = sorted(path for path in _files(out) if not any(holds(output, path) for output in recipe.outputs))
    if undeclared:
        raise OutputError(
            f"{recipe.name}: the build made {', '.join(undeclared[:5])}, which the recipe does not declare",
            remedy=f"add [[output]] to recipes/{recipe.name}/recipe.toml, or do not leave it in out/",
        )


def inside(folder: Path, path: str) -> Path:
    """``path`` below a folder that a build step has written to. Raises OutputError where that would lead through a link:
    what is a path of the sandbox in there is another one, of the machine, out here."""
    found = folder
    for name in ("", *Path(path).parts):
        found = found / name
        if found.is_symlink():
            raise OutputError(
                f"{found.relative_to(folder.parent)} is a symbolic link, so nothing is taken from it",
                remedy="let the step put the file or folder itself there",
            )
    return found


def _present(output: Output, out: Path) -> bool:
    path = out / output.path
    return path.is_dir() if output.kind == "tree" else path.is_file()


def holds(output: Output | RecordedOutput, path: str) -> bool:
    """Whether ``path`` is the output or, for a tree, lies in it."""
    return path == output.path or (output.kind == "tree" and path.startswith(output.path + "/"))


def _files(out: Path) -> Iterator[str]:
    """Everything that is no folder with something in it."""
    for folder, folders, names in os.walk(out):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *links):
            yield str(Path(folder, name).relative_to(out))
        if not folders and not names and Path(folder) != out:
            yield str(Path(folder).relative_to(out)) + "/"


def _store_output(output: Output, out: Path, platform: str, store: Store, scratch: Path) -> RecordedOutput:
    path = out / output.path
    if output.kind == "tree":
        packed = scratch / "tree.tar"
        try:
            with packed.open("wb") as stream:
                normalised_tar(path, stream)
        except UnsafeArchiveError as error:
            raise OutputError(f"{output.path}: {error.message}", remedy=error.remedy) from error
        path = packed
    elif output.kind == "program":
        check_machine(path, platform)
    return RecordedOutput(output.path, output.kind, store.put_file(path), path.stat().st_size)


def check_machine(path: Path, platform: str) -> None:
    """Refuse a program for another machine. What is no ELF file (a script) has no machine."""
    with path.open("rb") as file:
        header = file.read(20)
    if header[:4] != b"\x7fELF":
        return
    machine = struct.unpack("<H" if header[5] == 1 else ">H", header[18:20])[0]
    if machine != _MACHINES[platform]:
        raise OutputError(
            f"{path.name} is for ELF machine {machine}, not for {platform} ({_MACHINES[platform]})",
            remedy="a step built it for the machine that it ran on: pass the target on to it",
        )


# -- artifacts ----------------------------------------------------------------------------------------------------


def artifact_directory(project: Project, component: Component) -> Path:
    """Where people find what was built."""
    platform = component.platform.replace("/", "-")
    return project.root / "artifacts" / component.name / component.recipe.version / platform


def place(project: Project, component: Component, outputs: tuple[RecordedOutput, ...]) -> None:
    """Copy outputs from the store to the artifacts folder, verified on the way; files that differ are replaced."""
    directory = artifact_directory(project, component)
    with writing(project.root / "artifacts", store=False):
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.rglob(".*.tmp"):  # by a kill: one build of a component runs at a time
            remove_tree(left)
        for output in outputs:
            restore(project.store, output, directory / output.path)
    _remember(project, component, outputs)


def restore(store: Store, output: RecordedOutput, target: Path) -> None:
    """An output as it was built, at ``target``. Raises StoreCorruptError."""
    if output.kind != "tree":
        store.copy_out(output.sha256, target, 0o755 if output.kind == "program" else 0o644)
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with store.scratch("restore") as scratch:
        store.copy_out(output.sha256, scratch / "tree.tar")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            extract_tar(scratch / "tree.tar", temporary, limits=UNLIMITED, links="any")  # it is ours: as it was built
            remove_tree(target)
            temporary.rename(target)
        finally:
            remove_tree(temporary)


def placed(project: Project, component: Component, outputs: tuple[RecordedOutput, ...]) -> bool:
    """Whether every artifact is on disk with its digest. A file that has not been touched since is not hashed again."""
    directory = artifact_directory(project, component)
    seen = _seen(project, component)
    changed = False
    for output in outputs:
        path = directory / output.path
        if not path.exists():
            return False
        if seen.get(output.path) != [output.sha256, *stamp(path)]:
            if output.kind == "tree" or sha256_file(path) != output.sha256:
                return False
            changed = True
    if changed:
        _remember(project, component, outputs)
    return True


def stamp(path: Path) -> list[int]:
    """Size, times and inode of a file (a tree: of all in it), as git's index keeps them: who changes content without a change
    of these has to set the clock as well."""
    files = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
    found = [file.lstat() for file in files]
    fields = [(each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for each in found]
    return list(fields[0]) if len(fields) == 1 else [hash(tuple(fields))]


def _index(project: Project, component: Component) -> Path:
    name = f"{component.name}-{component.recipe.version}-{component.platform.replace('/', '-')}.json"
    return seen_folder(project) / name


def seen_folder(project: Project) -> Path:
    """Where it is remembered which artifacts have been looked at: not among them, since artifacts/ is what is signed."""
    return project.root / ".kubewright" / "seen"


def _seen(project: Project, component: Component) -> Mapping[str, list[object]]:
    try:
        found = json.loads(_index(project, component).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(project: Project, component: Component, outputs: tuple[RecordedOutput, ...]) -> None:
    directory = artifact_directory(project, component)
    seen = {output.path: [output.sha256, *stamp(directory / output.path)] for output in outputs}
    path = _index(project, component)
    with writing(path.parent, store=False):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(seen).encode())
