"""Steps as commands: what `plan` shows is what is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.building.steps import Layout, commands, default_name, go_ldflags, smoke_command
from kubewright.model.recipe import GoStep, load_recipes, modules_of_source
from kubewright.model.template import lock_context

RECIPES = load_recipes(Path(__file__).parents[1] / "recipes")


def variables(name: str) -> dict[str, str]:
    recipe = RECIPES[name]
    main = recipe.sources[0].name
    modules = dict.fromkeys(modules_of_source(recipe), "v1.0.0")
    return lock_context(recipe.version, 1_700_000_000, {source.name: "" for source in recipe.sources}, main, modules)


def test_kubectl_is_one_pure_go_build() -> None:
    (command,) = commands(RECIPES["kubectl"], variables("kubectl"), "linux/amd64", Layout())
    assert command.pure
    assert command.cwd == "/build/main"
    assert command.argv[:2] == ("/toolchain/bin/go", "build")
    assert {"-mod=readonly", "-trimpath", "-buildvcs=false"} <= set(command.argv)
    flags = next(word for word in command.argv if word.startswith("-ldflags="))
    assert "-s -w -buildid=" in flags
    assert "-X k8s.io/component-base/version.gitVersion=v1.37.2" in flags
    assert "-X k8s.io/component-base/version.gitTreeState=clean" in flags
    assert "-X k8s.io/component-base/version.gitCommit= " in flags  # not confirmed: left out, never invented
    assert command.renames == {"kubectl": "kubectl"}
    fixed = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOENV": "off", "CGO_ENABLED": "0", "GOARCH": "amd64"}
    assert fixed.items() <= command.env.items()
    assert command.env["SOURCE_DATE_EPOCH"] == "1700000000"


def test_tests_as_a_program() -> None:
    (command,) = commands(RECIPES["e2e-test"], variables("e2e-test"), "linux/amd64", Layout())
    assert command.argv[:4] == ("/toolchain/bin/go", "test", "-c", "-vet=off")
    assert command.argv[-3:] == ("-o", "/build/.go-out/", "k8s.io/kubernetes/test/e2e")
    assert "-v" not in command.argv  # go test would take it for a flag of the tests
    assert command.renames == {"e2e.test": "e2e.test"}
    assert command.pure


def test_the_platform_reaches_the_compiler() -> None:
    (command,) = commands(RECIPES["etcd"], variables("etcd"), "linux/arm64", Layout())
    assert command.env["GOARCH"] == "arm64"
    assert command.renames == {"server": "etcd", "etcdctl": "etcdctl", "etcdutl": "etcdutl"}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_no_path_of_the_layout_survives_a_varied_one(name: str) -> None:
    fixed, varied = Layout(), Layout("/elsewhere/b", "/elsewhere/m", "/elsewhere/t", "/elsewhere/c")
    for command in commands(RECIPES[name], variables(name), "linux/amd64", varied):
        words = [*command.argv, command.cwd, *command.env.values()]
        for path in (fixed.build, fixed.modules, fixed.toolchain, fixed.cache):
            assert not any(word.startswith(path) or f"={path}" in word for word in words)


def test_only_steps_that_run_nothing_of_the_source_are_pure() -> None:
    assert not any(command.pure for command in commands(RECIPES["runc"], variables("runc"), "linux/amd64", Layout()))
    assert not any(command.pure for command in commands(RECIPES["pause"], variables("pause"), "linux/amd64", Layout()))


def test_linker_flags_are_quoted_as_go_reads_them() -> None:
    step = GoStep(commands={"x": "x"}, variables={"main.a": "two words", "main.b": "it's"}, ldflags=("-extldflags=-static -g",))
    assert go_ldflags(step, {}) == ("-s -w -buildid= -X 'main.a=two words' -X \"main.b=it's\" '-extldflags=-static -g'")


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ("go.etcd.io/etcd/server/v3", "server"),
        ("go.etcd.io/etcd/v3/x", "x"),
        ("example.org/v1", "v1"),
        ("example.org/tool/v12", "tool"),
        ("v2", "v2"),
        ("./cmd/x", "x"),
    ],
)
def test_default_names_are_those_of_go_build(package: str, name: str) -> None:
    assert default_name(package) == name


def test_smoke_checks_run_what_was_built() -> None:
    recipe = RECIPES["etcd"]
    command = smoke_command(recipe.smokes[0], variables("etcd"), Layout())
    assert command.argv == ("/build/out/etcd", "--version")
