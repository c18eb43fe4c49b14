"""Imports point one way: a module imports only what stands below it here. The list is the architecture; docs/architecture.md
draws it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kubewright"

#: lowest first; a name stands for a module or a whole subpackage
LAYERS = [
    "errors",
    "canonical",
    "disk",
    "locks",
    "files",
    "model",
    "oci",
    "verify",
    "install",
    "pyz",
    "keys",
    "store",
    "report",
    "fetch",
    "record",
    "project",
    "sandbox",
    "building",
    "images",
    "sbom",
    "trust",
    "manifests",
    "bundle",
    "lock",
    "gc",
    "mirror",
    "views",
    "lab",
    "generate",
    "menu",
    "doit_plugins",
    "tasks",
    "command_line",
    "bundle_commands",
    "mirror_commands",
    "trust_commands",
    "cli",
    "__main__",
]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer(module: str) -> int:
    name = module.split(".")[1] if "." in module else "__init__"
    return -1 if name == "__init__" else LAYERS.index(name)


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "kubewright" else {node.module}
    return {name for name in found if name.startswith("kubewright.") and not name.endswith(".__version__")}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_downwards(path: Path) -> None:
    here = name_of(path)
    for name in imported(path):
        same_package = name.split(".")[1] == [*here.split("."), ""][1]
        assert same_package or layer(name) < layer(here), f"{here} imports {name}, which stands above it"


def test_every_module_has_its_layer() -> None:
    names = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()} - {"__init__"}
    assert names == set(LAYERS)


def test_no_module_needs_itself_through_others() -> None:
    graph = {name_of(path): imported(path) for path in modules()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        if name not in done:
            for each in sorted(graph.get(name, ())):
                visit(each, (*above, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_files_of_tests_have_names_of_their_own() -> None:
    """pytest imports them by their names alone, and so does one test another's helpers."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
