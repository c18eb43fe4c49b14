"""What the documents name exists: links, layers, files, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_layers import LAYERS

from kubewright.cli import cli
from kubewright.menu import HELP
from kubewright.project import Project

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: commands of doit's own that the documents may name
DOIT = {"list", "help", "clean"}

_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
_DOIT = re.compile(r"\./doit ([a-z][^`#|\n]*)")
_KUBEWRIGHT = re.compile(r"\bkubewright (why|status|graph|plan|recipe|verify|policy)\b(?: (check|new|schema)\b)?")

#: tasks that are no component's
LABS = ("m1", "m1:down")

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@page
def test_links_lead_to_files(path: Path) -> None:
    targets = [link for link in _LINK.findall(path.read_text("utf-8")) if "://" not in link]
    assert [target for target in targets if not (path.parent / target).exists()] == []


@page
def test_tasks_exist(path: Path) -> None:
    project = Project(ROOT)
    for words in _DOIT.findall(path.read_text("utf-8")):
        task = words.split()[0].rstrip('.,:;)"')
        group, _, name = task.partition(":")
        assert group in HELP.keys() | DOIT, f"./doit {words}"
        name = name.partition("@")[0]
        assert not name or name.isupper() or name in {*project.recipes, *project.builders, *project.stacks, *LABS}, (
            f"./doit {words}"
        )


def test_commands_exist() -> None:
    found = {command for path in PAGES for command, _ in _KUBEWRIGHT.findall(path.read_text("utf-8"))}
    assert found <= set(cli.commands)
    assert found, "the pattern finds nothing any more"


def test_the_architecture_names_every_layer_in_its_order() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == LAYERS


def test_the_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    named = set(re.findall(r"`((?:[a-z0-9_]+/)*[a-z_]+\.(?:py|json)|[a-z]+/)`", text))
    assert {"keys.py", "test_keys.py"} <= named
    named.discard("artifacts/")  # what a build makes; a fresh clone has none
    assert [
        each for each in sorted(named) if not any((ROOT / top / each).exists() for top in ("kubewright", "tests", ""))
    ] == []


def test_the_index_of_decisions_is_whole() -> None:
    index = (ROOT / "docs/adr/README.md").read_text("utf-8")
    for path in sorted((ROOT / "docs/adr").glob("0*.md")):
        title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        number, _, words = title.partition(". ")
        assert f"| {number} | [{words}]({path.name}) |" in index
