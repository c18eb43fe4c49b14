"""Stand-alone programs: one file that any Python from 3.10 on runs, on any architecture, with nothing installed.

The verifier and the installer. A zip of sources: the program with what it imports, and packages that it needs, as pure Python.
The same sources give the same bytes: names sorted, times fixed, nothing compressed (compressors differ).
"""

from __future__ import annotations

import ast
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import kubewright


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its file's name, the module with its ``main``, and packages of others (module -> distribution)."""

    file: str
    entry: str
    vendored: Mapping[str, str]


_VERIFY_NEEDS: Final = {"ecdsa": "ecdsa", "six": "six", "tomli": "tomli"}
VERIFY: Final = Program("kubewright-verify.pyz", "kubewright.verify.command", _VERIFY_NEEDS)
INSTALL: Final = Program("kubewright-install.pyz", "kubewright.install.entry", {**_VERIFY_NEEDS, "yaml": "pyyaml"})
PROGRAMS: Final = (INSTALL, VERIFY)

NAME: Final = VERIFY.file
ENTRY: Final = VERIFY.entry

_PACKAGE: Final = Path(kubewright.__file__).parent
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_SHEBANG: Final = b"#!/usr/bin/env python3\n"
_MAIN: Final = '''\
"""{name}: python3 -I {file} --help"""
import sys

if sys.version_info < (3, 10):
    sys.exit("error: {name} needs Python 3.10 or newer")

from {entry} import main

sys.exit(main())
'''


def build(program: Program = VERIFY) -> bytes:
    """The file's bytes: a pure function of the sources in use."""
    out = io.BytesIO()
    out.write(_SHEBANG)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(members(program).items()):
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = 3  # Unix, wherever this runs
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    return out.getvalue()


def members(program: Program = VERIFY) -> dict[str, bytes]:
    """Path in the zip -> content."""
    name = program.file.removesuffix(".pyz")
    found = {"__main__.py": _MAIN.format(name=name, file=program.file, entry=program.entry).encode()}
    for module in sorted(closure(program.entry)):
        path = source(module)
        found[str(path.relative_to(_PACKAGE.parent))] = path.read_bytes()
    for package, distribution in program.vendored.items():
        found |= dict(_vendored(package, distribution))
    return found


def closure(module: str) -> set[str]:
    """A module of ours and every other one of ours that it imports, anywhere in its text; their packages included."""
    found: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            each = ".".join(parts[:length])
            if each not in found:
                found.add(each)
                pending += _imports(source(each))
    return found


def source(module: str) -> Path:
    """The file of one of our modules."""
    path = _PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.split(".")[0] == "kubewright")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kubewright":
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                yield inner if source(inner).is_file() else str(node.module)


def _vendored(package: str, name: str) -> Iterator[tuple[str, bytes]]:
    """The package's Python sources without its tests, and its licence; never a compiled file."""
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or ():
        path = file.as_posix()
        inside = path == f"{package}.py" or path.startswith(f"{package}/")
        if inside and path.endswith(".py") and not file.name.startswith("test_"):
            yield path, Path(str(distribution.locate_file(file))).read_bytes()
        elif ".dist-info/" in path and file.name.startswith("LICENSE"):
            yield f"licenses/{package}/{file.name}", Path(str(distribution.locate_file(file))).read_bytes()
