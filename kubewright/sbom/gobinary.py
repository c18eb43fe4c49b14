"""What a Go program says of itself: linked modules (``go version -m -json``) and source files (its line table).

The go command writes the modules into every program that it links (debug/buildinfo), and the linker writes the names of the
source files of each function that stayed into ``.gopclntab``; with -trimpath these are MODULE@VERSION/FOLDER/FILE. Both survive
stripping.
"""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubewright.sbom.elf import Elf
from kubewright.sbom.errors import UnreadableBinaryError

#: pcHeader's magic since Go 1.20 (runtime/symtab.go)
_MAGIC = 0xFFFFFFF1


@dataclass(frozen=True, slots=True, order=True)
class LinkedModule:
    """A module as the program names it. ``h1`` is empty where the go command had no hash: the main module, one that was
    replaced by the folder ``replaced``, one of a vendor folder. ``instead``: PATH@VERSION that it replaces.
    """

    path: str
    version: str
    h1: str
    replaced: str = ""
    instead: str = ""


@dataclass(frozen=True, slots=True)
class GoProgram:
    """``main`` provides the command's package; ``modules`` holds it too. ``folders``: of the source files that functions come
    from, as MODULE@VERSION/FOLDER; None when the line table is of a form that is not known here."""

    go: str
    package: str
    main: LinkedModule
    modules: tuple[LinkedModule, ...]
    cgo: bool
    folders: tuple[str, ...] | None = None


def is_go(elf: Elf) -> bool:
    """Whether the go command linked it."""
    return ".go.buildinfo" in elf.sections


def read(path: Path, elf: Elf, go: Path) -> GoProgram:
    """What the Go program ``elf`` at ``path`` says, read with the pinned toolchain in ``go`` (a GOROOT)."""
    info = _version(path, go)
    main = _module(info.get("Main") or {})
    deps = [_module(each) for each in info.get("Deps") or ()]
    settings = {each["Key"]: each.get("Value", "") for each in info.get("Settings") or ()}
    return GoProgram(
        go=str(info["GoVersion"]).removeprefix("go"),
        package=str(info.get("Path", "")),
        main=main,
        modules=tuple(sorted({main, *deps})),
        cgo=settings.get("CGO_ENABLED") == "1",
        folders=source_folders(elf),
    )


def folders_of(program: GoProgram, module: LinkedModule) -> frozenset[str] | None:
    """Folders of ``module`` that functions of the program come from, relative to the module; None when it is not known."""
    if program.folders is None:
        return None
    found = set()
    # -trimpath writes what was replaced, not what took its place; without a version: built in the module itself
    for prefix in (module.instead or f"{module.path}@{module.version}", module.path):
        found |= {each[len(prefix) + 1 :] for each in program.folders if each == prefix or each.startswith(prefix + "/")}
    return frozenset(found)


def standard_folders(program: GoProgram) -> frozenset[str] | None:
    """The same of the standard library, relative to GOROOT. Its import paths have no dot in their first element."""
    if program.folders is None:
        return None
    return frozenset(f"src/{each}" for each in program.folders if "." not in each.partition("/")[0])


def _version(path: Path, go: Path) -> Mapping[str, Any]:
    """``go version -m -json``. Nothing is run but the pinned go command, which reads the file."""
    env = {"PATH": "/nonexistent", "HOME": "/nonexistent", "GOTOOLCHAIN": "local", "GOENV": "off", "GOTELEMETRY": "off"}
    command = [str(go / "bin" / "go"), "version", "-m", "-json", str(path)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace")
    try:
        info = json.loads(result.stdout) if result.returncode == 0 else None
    except ValueError:
        info = None
    if not isinstance(info, dict) or not info.get("Main") or "GoVersion" not in info:
        raise UnreadableBinaryError(
            f"{path.name} is a Go program without module information: {(result.stderr or result.stdout).strip()[-300:]}",
            remedy="build it in module mode, with go.mod and without -buildvcs or linker flags that drop it",
        )
    return info


def _module(entry: Mapping[str, Any]) -> LinkedModule:
    replacement = entry.get("Replace")
    path, version = str(entry["Path"]), str(entry.get("Version", ""))
    if not replacement:
        return LinkedModule(path, version, str(entry.get("Sum", "")))
    target = str(replacement["Path"])
    if target.startswith(("./", "../", "/")):
        return LinkedModule(path, version, "", target)
    instead = f"{path}@{version}"
    return LinkedModule(target, str(replacement.get("Version", "")), str(replacement.get("Sum", "")), "", instead)


# -- the line table -----------------------------------------------------------------------------------------------


def source_folders(elf: Elf) -> tuple[str, ...] | None:
    """Folders in the line table's file table (runtime/symtab.go: pcHeader), sorted; None for a form that is not known."""
    table = next((elf.content(name) for name in elf.sections if name.endswith(".gopclntab")), b"")
    if len(table) < 72 or struct.unpack_from("<I", table)[0] != _MAGIC or table[7] != 8:
        return None
    offsets: Sequence[int] = struct.unpack_from("<5Q", table, 32)  # funcname, cu, filetab, pctab, pcln
    start, end = offsets[2], offsets[3]
    if not 72 <= start <= end <= len(table):
        return None
    names = {name.decode("utf-8", "replace") for name in table[start:end].split(b"\0") if name}
    folders = {name.rpartition("/")[0] for name in names}
    return tuple(sorted(folders - {""})) if "runtime" in folders else None
