from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kubewright.errors import RecipeError
from kubewright.model.recipe import load_recipe
from kubewright.model.recipe_check import check_recipe, new_recipe

FIXTURES = Path(__file__).parent / "data" / "project"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    shutil.copytree(FIXTURES, root)
    return root


def change(path: Path, *edits: tuple[str, str]) -> Path:
    text = path.read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


def found(path: Path) -> list[str]:
    """The findings as LINE key: message."""
    return [f"{item.where.rpartition(':')[2]} {item.key}: {item.message}" for item in check_recipe(path)]


@pytest.mark.parametrize("name", ["k3s-like", "plugins", "runtime", "small"])
def test_a_good_recipe_has_no_problem(name: str) -> None:
    assert check_recipe(FIXTURES / "recipes" / name) == []


def test_all_problems_are_found_at_once(project: Path) -> None:
    edits = [("summary", "sumary"), ('version = "0.9.0"', "version = 9"), ("v{version}", "{vers}")]
    path = change(project / "recipes/small/recipe.toml", *edits)
    assert [line.partition(" (known")[0] for line in found(path)] == [
        "2 version: expected a string, found an integer: 9",
        "3 sumary: unknown key",
        "20 smoke[0].expect[0]: unknown variable {vers}",
        "1 : the key 'summary' is missing",
    ]


def test_a_finding_reads_as_file_line_key_message_and_remedy(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (finding,) = check_recipe(change(project / "recipes/small/recipe.toml", ('builder = "go"', 'builder = "goo"')))
    assert str(finding) == ("recipes/small/recipe.toml:5: builder: there is no builders/goo.toml\n    known: cgo, go, root")


def test_what_is_not_toml_is_one_finding(project: Path) -> None:
    path = change(project / "recipes/small/recipe.toml", ("[[step]]", "<<<<<<< HEAD\n[[step]]"))
    assert found(path) == ["12 : git merge marker <<<<<<<"]


def test_a_recipe_that_lies_elsewhere_is_checked_without_its_surroundings(tmp_path: Path) -> None:
    path = tmp_path / "small" / "recipe.toml"
    path.parent.mkdir()
    shutil.copy(FIXTURES / "recipes/small/recipe.toml", path)
    change(path, ('builder = "go"', 'builder = "goo"'))
    assert found(path) == []
    assert [item.key for item in check_recipe(path, FIXTURES)] == ["builder"]


@pytest.mark.parametrize(
    ("name", "edit", "expected"),
    [
        (
            "plugins",
            ("0002-drop-udp", "0003-x"),
            "22 source[0].patch[1].file: there is no patches/plugins/0003-x",
        ),
        ("k3s-like", ('from = "files"', 'from = "fils"'), "38 overlay[0].from: there is no recipes/k3s-like/fils"),
        (
            "k3s-like",
            ('component = "runtime"', 'component = "runc"'),
            "46 input[0].component: there is no recipes/runc",
        ),
        ("k3s-like", ('output = "bin"', 'output = "cni"'), "52 input[1].output: plugins has no output 'cni'"),
        ("k3s-like", ('output = "runtime"', 'output = "runtime/x"'), "47 input[0].output: runtime has no output 'runtime/x'"),
        ("runtime", ('builder = "cgo"', 'builder = "go"'), "26 step[0].go.cgo: the builder 'go' has no C compiler"),
        ("runtime", ('builder = "cgo"', 'builder = "go"'), "30 step[1].run: the builder 'go' has no 'gcc'"),
        ("small", ('builder = "go"', 'builder = "root"'), "13 step[0].go: the builder 'root' has no Go toolchain"),
    ],
)
def test_what_a_recipe_refers_to_is_looked_up(name: str, edit: tuple[str, str], expected: str, project: Path) -> None:
    lines = found(change(project / "recipes" / name / "recipe.toml", edit))
    assert any(line.startswith(expected) for line in lines), lines


def test_a_path_inside_an_output_tree_can_be_an_input(project: Path) -> None:
    assert found(change(project / "recipes/k3s-like/recipe.toml", ('output = "bin"', 'output = "bin/bridge"'))) == []


def test_a_recipe_and_its_inputs_share_platforms(project: Path) -> None:
    edit = ('builder = "cgo"', 'builder = "cgo"\nplatforms = ["linux/arm64"]')
    assert found(change(project / "recipes/k3s-like/recipe.toml", edit)) == [
        "52 input[1].component: plugins is not built for linux/arm64"
    ]


def test_a_version_of_no_recipe_is_found(project: Path) -> None:
    edit = ("[[step]]", 'version = "{version:nothing}"\n[[step]]')
    (said,) = found(change(project / "recipes/small/recipe.toml", edit))
    assert "source[0].version: {version:nothing}: there is no recipes/nothing" in said


def test_what_is_wrong_with_another_file_is_said(project: Path) -> None:
    change(project / "recipes/plugins/recipe.toml", ("summary", "sumary"))
    change(project / "builders/cgo.toml", ("1.26.8", "1"))
    keys = [(item.key, item.message.partition(":")[0]) for item in check_recipe(project / "recipes/k3s-like")]
    assert keys == [("builder", "the builder is not valid"), ("input[1].component", "its recipe is not valid")]


def test_a_program_of_the_build_itself_needs_no_package(project: Path) -> None:
    edits = [("[[output]]", '[[step]]\nrun = ["out/small", "--x"]\n[[step]]\nrun = ["go", "env"]\n[[output]]')]
    assert found(change(project / "recipes/small/recipe.toml", *edits)) == []


# -- recipe new -------------------------------------------------------------------------------------------------------

FILLED = [
    ("<version, without v>", "2.0.0"),
    ("<what it is, in one line>", "A new thing"),
    ("<SPDX expression>", "MIT"),
    ("<page of upstream>", "example.org/"),
    ("<Go module path>", "example.org/new"),
    ("<git repository>", "git.example.org/new"),
    ("<Go package of the command>", "example.org/new/cmd/new"),
]


def test_a_new_recipe_passes_once_it_is_filled_in(project: Path) -> None:
    path = project / "recipes/new-thing/recipe.toml"
    path.parent.mkdir()
    path.write_text(new_recipe("new-thing"))
    assert [item.key for item in check_recipe(path)] == [
        "version",
        "licence",
        "homepage",
        "source[0].module",
        "source[0].git",
        "step[0].go.commands.new-thing",
    ]
    change(path, *FILLED)
    assert check_recipe(path) == []
    assert load_recipe(path).sources[0].tag == "v2.0.0"


def test_what_a_new_recipe_shows_as_comments_is_right_too(project: Path) -> None:
    path = project / "recipes/new-thing/recipe.toml"
    path.parent.mkdir()
    path.write_text(new_recipe("new-thing"))
    change(path, *FILLED, ("<package>", "example.org/new"), ("<build tag>", "netgo"))
    change(
        path,
        ("# [[source", "[[source"),
        ("# file", "file"),
        ("# reason", "reason"),
        ("# go.var", "go.var"),
        ("# go.tags", "go.tags"),
    )
    (project / "patches/new-thing").mkdir()
    (project / "patches/new-thing/0001-why.patch").write_text("")
    assert check_recipe(path) == []


@pytest.mark.parametrize("name", ["", "Foo", "a b", "../x", "x.y"])
def test_a_new_recipe_needs_a_name(name: str) -> None:
    with pytest.raises(RecipeError, match="is not a name"):
        new_recipe(name)
