"""Components that nobody has locked yet: their recipe is shown as far as it goes, and every command says what is missing."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest
from project_builder import ProjectBuilder

from kubewright.errors import NeverLockedError
from kubewright.project import Project
from kubewright.views.plan import as_text, make_plan, make_plans
from kubewright.views.status import NEVER, readme_table, rows
from kubewright.views.status import as_text as status_text

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/data/k3s-plan.txt"


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    """containerd takes runc's program; runc alone is in the lock."""
    builder = ProjectBuilder(tmp_path).component("runc").lock()
    return builder.component("containerd", inputs=["runc"])


def test_the_error_names_the_origin_and_the_command(made: ProjectBuilder) -> None:
    with pytest.raises(NeverLockedError) as caught:
        made.project().component("containerd")
    assert "has not been run on the real source yet" in caught.value.message
    assert caught.value.remedy.startswith("./doit lock:containerd, where ")


def test_status_tells_never_locked_from_outdated(made: ProjectBuilder) -> None:
    text = (made.root / "recipes/runc/recipe.toml").read_text()
    made.recipe("runc", text.replace('version = "1.0.0"', 'version = "2.0.0"'))
    found = {row.component: row for row in rows(made.project())}
    assert (found["containerd"].locked, found["containerd"].never_locked) == (False, True)
    assert (found["runc"].locked, found["runc"].never_locked) == (False, False)
    said = status_text(list(found.values()))
    assert f"containerd: {NEVER}: ./doit lock:containerd" in said
    assert NEVER in next(line for line in readme_table(made.project()).splitlines() if "| containerd |" in line)
    assert NEVER not in next(line for line in readme_table(made.project()).splitlines() if "| runc |" in line)


def test_a_plan_without_a_lock_has_no_pins_and_no_key(made: ProjectBuilder) -> None:
    runc, containerd = make_plans(made.project(), ["containerd"], None)
    assert runc.key
    assert containerd.key == ""
    assert not containerd.recorded
    assert {each.pin for each in containerd.inputs if each.stage == "source"} == {"not locked"}
    assert f"key {runc.key}" in next(each.what for each in containerd.layout if each.path == "bin/runc")
    assert "not locked: ./doit lock:containerd" in as_text(containerd)


def unpinned(what: str) -> str:
    """Without what a new lock of a builder or of another component changes."""
    return re.sub(r"^(of the package \S+) \S+$|^(.* of \S+) \(key \S+\)$", r"\1\2", what)


def test_the_plan_of_k3s_is_the_golden_one() -> None:
    """docs/k3s.md explains these steps. Packages are left out: they change with the builder's lock."""
    project = Project(ROOT, {})
    plan = make_plan(project, project.as_if_locked("k3s", "linux/amd64"))
    sources = tuple(each for each in plan.inputs if each.stage == "source")
    laid = tuple(dataclasses.replace(each, what=unpinned(each.what)) for each in plan.layout)
    shown = as_text(dataclasses.replace(plan, inputs=sources, layout=laid))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(shown)
    assert shown == GOLDEN.read_text()


FROM_FACTS = (
    "csi-driver-nfs", "flannel-cni-plugin", "klipper-helm", "klipper-lb", "livenessprobe", "node-driver-registrar", "openelb",
)  # fmt: skip


@pytest.mark.parametrize("name", FROM_FACTS)
def test_recipes_from_facts_can_be_planned(name: str) -> None:
    """They have not been run on the real source: what they would run is known, and makes every output."""
    project = Project(ROOT, {})
    assert name not in project.lock.components, "it has been locked: take it off the list, and out of docs/k3s.md"
    plan = make_plan(project, project.as_if_locked(name, "linux/amd64"))
    recipe = project.recipe(name)
    go_steps = [step.go for step in recipe.steps if step.go is not None]
    packages = {package for step in go_steps for package in step.commands.values()}
    written = {word for command in plan.commands for word in command.argv}
    assert packages <= written
    made = {program for step in go_steps for program in step.commands} | {word.rpartition("out/")[2] for word in written}
    assert {output.path for output in recipe.outputs} <= made
    assert f"not locked: ./doit lock:{name}" in as_text(plan)
