"""The command ``kubewright`` as people start it: real processes, exit codes, what is on which stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from project_builder import ProjectBuilder

from kubewright import __version__
from kubewright.errors import LockError, LockOutdatedError, RecipeError, UsageError


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    return (
        ProjectBuilder(tmp_path / "p")
        .component("runc")
        .component("containerd", inputs=["runc"])
        .stack("kubernetes", ["runc"])
        .lock()
    )


def run(made: ProjectBuilder | None, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    place = {"KUBEWRIGHT_STORE": str(made.root / "store")} if made else {}
    env = {**os.environ, **place, "KUBEWRIGHT_PLATFORM": "linux/amd64", "COLUMNS": "120"}
    command = [sys.executable, "-m", "kubewright.cli", *arguments]
    return subprocess.run(command, cwd=cwd or (made.root if made else None), env=env, capture_output=True, text=True)


def failed(
    result: subprocess.CompletedProcess[str], error: type[UsageError | RecipeError | LockError | LockOutdatedError]
) -> str:
    assert result.returncode == error.exit_code
    assert "Traceback" not in result.stderr
    return result.stderr


def test_help_teaches_with_examples() -> None:
    result = run(None, "--help")
    assert result.returncode == 0
    for word in ("why kubectl", "status", "graph", "plan", "recipe check", "./doit list"):
        assert word in result.stdout
    for command in ("why", "status", "graph", "plan", "recipe", "recipe check", "recipe new", "recipe schema"):
        assert run(None, *command.split(), "--help").returncode == 0


def test_version() -> None:
    assert run(None, "--version").stdout == f"kubewright, version {__version__}\n"


def test_help_starts_at_once_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kubewright import cli; heavy = {'docker', 'git', 'requests', 'rich', 'doit', 'tomli', 'packaging'};"
        "sys.exit(str(heavy & set(sys.modules) or ''))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""
    before = os.times()
    run(None, "--help")
    after = os.times()
    # processor time: wall time depends on what else the machine does (benchmarks/ measures that)
    assert after.children_user + after.children_system - before.children_user - before.children_system <= 0.35


# -- the project --------------------------------------------------------------------------------------------------


def test_the_project_is_the_one_around_or_the_one_named(made: ProjectBuilder, tmp_path: Path) -> None:
    inside = run(made, "status", cwd=made.root / "recipes" / "runc")
    named = run(made, "--project", str(made.root), "status", cwd=tmp_path)
    assert inside.returncode == named.returncode == 0
    assert inside.stdout == named.stdout
    assert "is not in a kubewright checkout" in failed(run(made, "status", cwd=tmp_path), UsageError)


# -- questions ----------------------------------------------------------------------------------------------------


def test_why(made: ProjectBuilder) -> None:
    assert "not built here" in run(made, "why", "runc").stdout
    found = made.record("runc")
    assert json.loads(run(made, "why", "runc", "--json").stdout)["key"] == found.key
    assert "example.org/dependency" in run(made, "why", "runc", "--modules").stdout


def test_why_of_a_file_called_like_a_component_needs_its_path(made: ProjectBuilder) -> None:
    digest = made.record("containerd").digests()["containerd"]
    (made.root / "runc").write_bytes(made.project().store.read(digest))
    assert run(made, "why", "runc").stdout.startswith("runc 1.0.0")
    assert run(made, "why", "./runc").stdout.startswith("./runc is containerd of containerd")


def test_why_of_what_nobody_knows(made: ProjectBuilder) -> None:
    (made.root / "unknown").write_text("?")
    said = failed(run(made, "why", "unknown"), UsageError)
    assert "nobody knows unknown" in said
    assert "what to do:" in said
    assert "did you mean 'runc'?" in failed(run(made, "why", "rnc"), UsageError)


def test_status(made: ProjectBuilder) -> None:
    assert "0 of 2 builds reproduced" in run(made, "status").stdout
    assert [row["component"] for row in json.loads(run(made, "status", "--json").stdout)] == ["containerd", "runc"]
    assert run(made, "status", "--markdown").stdout.startswith("| component |")


def test_graph(made: ProjectBuilder) -> None:
    assert run(made, "graph", "containerd").stdout.startswith("containerd 1.0.0\n├── ")
    assert "containerd 1.0.0" in run(made, "graph").stdout
    assert run(made, "graph", "--dot").stdout.startswith("digraph")


def test_plan_has_what_is_needed_first(made: ProjectBuilder) -> None:
    text = run(made, "plan", "containerd").stdout
    assert text.index("runc 1.0.0 linux/amd64") < text.index("containerd 1.0.0 linux/amd64")
    assert [each["component"] for each in json.loads(run(made, "plan", "containerd", "--json").stdout)] == [
        "runc",
        "containerd",
    ]
    assert [each["component"] for each in json.loads(run(made, "plan", "--json").stdout)] == ["runc"], "the default stack"


# -- recipes ------------------------------------------------------------------------------------------------------


def test_recipe_check_says_everything_and_fails(made: ProjectBuilder) -> None:
    assert run(made, "recipe", "check").stdout == "2 recipes checked, no problem found\n"
    text = (made.root / "recipes/runc/recipe.toml").read_text()
    made.recipe("runc", text.replace("licence", "license").replace('builder = "go"', 'builder = "goo"'))
    result = run(made, "recipe", "check", "runc")
    assert "problem" in failed(result, RecipeError)
    assert "recipe.toml:4: license: unknown key" in result.stdout
    assert "did you mean 'licence'?" in result.stdout
    assert failed(run(made, "recipe", "check", "recipes/runc/recipe.toml"), RecipeError)
    assert failed(run(made, "recipe", "check", "nowhere"), UsageError)


def test_recipe_new_writes_once(made: ProjectBuilder) -> None:
    assert "recipes/new/recipe.draft.toml written" in run(made, "recipe", "new", "new").stdout
    assert 'name = "new"' in (made.root / "recipes/new/recipe.draft.toml").read_text()
    assert run(made, "status").returncode == 0  # a draft stops nothing
    assert "source[0].module" in run(made, "recipe", "check", "new").stdout
    assert "has a recipe" in failed(run(made, "recipe", "new", "new"), UsageError)
    for name in ("../x", "A"):
        failed(run(made, "recipe", "new", name), RecipeError)
    assert sorted(path.name for path in (made.root / "recipes").iterdir()) == ["containerd", "new", "runc"]


def test_recipe_schema_writes_them_all(made: ProjectBuilder) -> None:
    run(made, "recipe", "schema")
    assert json.loads((made.root / "schemas/recipe.json").read_text())["title"] == "recipe"


# -- failures -----------------------------------------------------------------------------------------------------


def test_every_failure_has_its_exit_code_and_no_traceback(made: ProjectBuilder) -> None:
    assert "./doit lock:runc" in failed(run(made.component("runc", "2.0.0"), "plan", "runc"), LockOutdatedError)
    made.write("lockfile.toml", "version = 1\n<<<<<<< ours\n")
    assert "merge marker" in failed(run(made, "status"), LockError)
    assert run(made, "nothing").returncode == 2
    assert run(made, "why").returncode == 2


def test_a_reader_that_has_enough_is_no_failure(made: ProjectBuilder) -> None:
    for number in range(60):
        made.component(f"component-{number}")
    made.lock()
    env = {**os.environ, "KUBEWRIGHT_STORE": str(made.root / "store")}
    names = [f"component-{number}" for number in range(60)]
    with subprocess.Popen(
        [sys.executable, "-m", "kubewright.cli", "plan", *names, "--json"],
        cwd=made.root,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_an_ascii_terminal_still_gets_the_text(made: ProjectBuilder) -> None:
    env = {**os.environ, "KUBEWRIGHT_STORE": str(made.root / "store"), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "kubewright.cli", "graph", "runc"]
    result = subprocess.run(command, cwd=made.root, env=env, capture_output=True, text=True)
    assert result.returncode == 0
    assert "builder go" in result.stdout
