"""``plan``: what a build would do, exactly as it would be run, and nothing is run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from project_builder import CGO_BUILDER, ProjectBuilder, hexadecimal, synthetic

from kubewright.building import steps
from kubewright.views.plan import Plan, as_text, make_plan, summary
from kubewright.views.text import to_json


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    patch = {"0001-drop-it.patch": "it cannot be fetched everywhere"}
    return ProjectBuilder(tmp_path).component("runc").component("containerd", inputs=["runc"], patches=patch).lock()


def plan_of(made: ProjectBuilder, name: str) -> Plan:
    project = made.project()
    return make_plan(project, project.component(name))


def test_commands_are_those_that_a_build_runs(made: ProjectBuilder) -> None:
    component = made.project().component("containerd")
    real = steps.commands(component.recipe, component.variables, component.platform, steps.Layout())
    planned = plan_of(made, "containerd").commands
    assert [(each.argv, each.cwd, each.env) for each in planned] == [(each.argv, each.cwd, each.env) for each in real]


def test_each_input_has_its_pin(made: ProjectBuilder) -> None:
    made.builder("cgo", CGO_BUILDER)
    recipe = (made.root / "recipes/runc/recipe.toml").read_text()
    made.recipe("runc", recipe.replace('builder = "go"', 'builder = "cgo"')).lock()
    lock = made.project().lock
    pins = {each.name: each.pin for each in plan_of(made, "runc").inputs}
    assert pins == {
        "Go 1.26.8 for linux/amd64": lock.builders["cgo"].toolchains[0].h1,
        "gcc 12-1": "sha256:" + hexadecimal("gcc"),
        "libc6-dev 12-1": "sha256:" + hexadecimal("libc6-dev"),
        "root file system": lock.builders["cgo"].root,
        "runc": lock.components["runc"].sources[0].h1,
        "every module of the commands": "sha256:" + lock.components["runc"].files[1].sha256,
    }


def test_what_is_laid_out(made: ProjectBuilder) -> None:
    laid = {each.path: each.what for each in plan_of(made, "containerd").layout}
    assert laid["bin/runc"] == f"runc of runc (key {made.project().component('runc').key})"
    assert "0001-drop-it.patch" in laid["src/containerd"]
    assert laid["main"] == "go.mod and go.sum of recipes/containerd"


def test_the_expected_digest_is_that_of_the_same_key_only(made: ProjectBuilder) -> None:
    found = made.record("runc")
    assert plan_of(made, "runc").outputs[0].accepted == ""
    made.accepted(found)
    assert plan_of(made, "runc").outputs[0].accepted == found.digests()["runc"]
    made.accepted(found, key="sha256:" + hexadecimal("other"))
    assert plan_of(made, "runc").outputs[0].accepted == ""


def test_what_the_store_has_would_not_be_built(made: ProjectBuilder) -> None:
    assert not plan_of(made, "runc").recorded
    made.record("runc")
    assert plan_of(made, "runc").recorded
    plans = [plan_of(made, name) for name in ("runc", "containerd")]
    assert summary(plans) == "2 components: 1 to build in 1 step, 1 in the store\n"


def test_text_shows_all_of_it(made: ProjectBuilder) -> None:
    plan = plan_of(made, "containerd")
    text = as_text(plan)
    for part in (plan.key, *plan.commands[0].argv[:3], "CGO_ENABLED=0", "in /build/main", "smoke check 1", "expects  v1.0.0"):
        assert part in text


def test_nothing_is_run_or_written(made: ProjectBuilder) -> None:
    plan_of(made, "containerd")
    assert not (made.root / "store").exists()


def test_a_thousand_recipes_take_no_more_than_a_second_and_a_half(tmp_path: Path) -> None:
    made = synthetic(tmp_path, 1000)
    started = time.process_time()
    project = made.project()
    plans = [make_plan(project, component) for component in project.in_order(project.recipes)]
    text = to_json(plans)
    assert time.process_time() - started <= 1.5
    assert len(plans) == 1000
    assert len(text) > 1_000_000
