"""Builds that go wrong: each with its own exit code, the reason, the end of the log, and nothing half-written."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from workshop import Workshop, listed

from kubewright import record
from kubewright.errors import BuildError, IrreproducibleError, OutputError, SmokeError, TimeLimitError

WRITE = ["tool", "write", "out/x", "hello"]


def test_a_compile_error_shows_the_end_of_the_log_and_its_path(shop: Workshop) -> None:
    broken = shop.git("broken", {"x.c": "int main(void) { return undeclared_name; }\n"})
    source = f'[[source]]\nname = "src"\nform = "tree"\ngit = "{broken.url}"\n'
    gcc = ["gcc", "-o", "{build}/out/x", "src/src/x.c"]
    shop.small("x", gcc, source=source, builder="cgo")
    shop.doit("lock:x")
    done = shop.doit("build:x", status=BuildError.exit_code)
    assert "x.c:1:25: error: 'undeclared_name' undeclared" in done.err.replace("‘", "'").replace("’", "'")
    found = re.search(r"step 1 \(gcc -o \.\.\.\) ended with status 1; the whole log: (\S+\.log)", done.err)
    assert found
    assert "undeclared_name" in Path(found[1]).read_text()
    shop.built_nothing("x")
    assert not (shop.root / "artifacts").exists()


def test_only_the_last_lines_of_a_long_log_are_shown(shop: Workshop) -> None:
    shop.small("x", ["tool", "lines", "5000"], ["tool", "fail", "the reason"])
    shop.doit("lock:x")
    done = shop.doit("build:x", status=BuildError.exit_code)
    assert "the reason" in done.err
    assert "line 5000" in done.err
    assert "line 4900" not in done.text


def test_a_command_that_is_not_there(shop: Workshop) -> None:
    shop.small("x", ["no-such-program"])
    shop.doit("lock:x")
    done = shop.doit("build:x", status=BuildError.exit_code)
    assert "no-such-program" in done.err
    assert "status 127" in done.err
    shop.built_nothing("x")


@pytest.mark.parametrize("path", ["/x", "src/src/../../../x"])
def test_a_step_cannot_write_outside_its_directory(shop: Workshop, path: str) -> None:
    shop.small("x", WRITE, ["tool", "write", path, "escaped"])
    shop.doit("lock:x")
    done = shop.doit("build:x", status=BuildError.exit_code)
    assert f"tool: {path}: Read-only file system" in done.err
    assert "it writes outside of its build directory: only {build} and /tmp can be written to" in done.err
    assert "correct step[1] in recipes/x/recipe.toml" in done.err
    assert list(shop.folder.rglob("escaped")) == []
    shop.built_nothing("x")


@pytest.fixture(params=["bubblewrap", "docker"])
def sandbox(request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables that choose a sandbox."""
    if request.param == "bubblewrap":
        return {}
    return {"KUBEWRIGHT_SANDBOX": "docker", "DOCKER_HOST": request.getfixturevalue("docker_host")}


def test_a_step_that_asks_for_the_network(shop: Workshop, sandbox: dict[str, str]) -> None:
    shop.small("x", ["tool", "ask", "192.0.2.1"])
    shop.doit("lock:x")
    done = shop.doit("build:x", status=BuildError.exit_code, **sandbox)
    assert "tool: 192.0.2.1: Network is unreachable" in done.err
    assert "it asks for the network, and a step has no network" in done.err
    assert "correct step[0] in recipes/x/recipe.toml" in done.err
    shop.built_nothing("x")


def test_a_step_that_fails_for_a_reason_of_its_own(shop: Workshop) -> None:
    shop.small("x", ["tool", "fail", "the reason"])
    shop.doit("lock:x")
    done = shop.doit("build:x", status=BuildError.exit_code)
    assert "read the lines above; a step has no network and sees declared inputs only" in done.err


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([["tool", "write", "y", "z"]], "the build did not make x"),
        ([["tool", "folder", "out/x"]], "the build did not make x"),
        ([["tool", "link", "/etc/hostname", "out/x"]], "out/x is a symbolic link"),
        ([WRITE, ["tool", "write", "out/extra", "z"]], "the build made extra, which the recipe does not declare"),
        ([WRITE, ["tool", "link", "x", "out/alias"]], "the build made alias, which the recipe does not declare"),
        ([WRITE, ["tool", "link", "/etc", "out/etc"]], "the build made etc, which the recipe does not declare"),
        ([WRITE, ["tool", "folder", "out/empty"]], "the build made empty/, which the recipe does not declare"),
    ],
)
def test_outputs_are_those_that_are_declared(shop: Workshop, steps: list[list[str]], said: str) -> None:
    shop.small("x", *steps)
    shop.doit("lock:x")
    done = shop.doit("build:x", status=OutputError.exit_code)
    assert said in done.err
    shop.built_nothing("x")


BOTH = ["tool", "both", "printed", "beside it"]


def test_standard_output_becomes_a_file(shop: Workshop) -> None:
    shop.small("x", BOTH)
    shop.edit("recipes/x/recipe.toml", "[[output]]", 'stdout = "out/x"\n[[output]]')
    shop.doit("lock:x")
    shop.doit("build:x")
    assert shop.artifact("x").read_text() == "printed\n"
    assert shop.artifact("x").stat().st_mode & 0o777 == 0o644
    found = shop.project().component("x")
    built = record.load(shop.project().store, found.key)
    assert built is not None
    assert built.steps[0].stdout == "out/x"
    log = shop.project().store.read(built.log).decode()
    assert "beside it" in log
    assert "printed" not in log.replace(" ".join(BOTH), "")


@pytest.mark.parametrize(
    ("first", "step", "said"),
    [
        (WRITE, BOTH, "out/x is there already"),
        (["tool", "link", "/etc", "out/x"], BOTH, "out/x is a symbolic link"),
        (["tool", "say", "nothing"], ["tool", "fail", "the reason"], "the reason"),
    ],
)
def test_what_standard_output_cannot_become(shop: Workshop, first: list[str], step: list[str], said: str) -> None:
    shop.small("x", first, step)
    shop.edit("recipes/x/recipe.toml", "[[output]]", 'stdout = "out/x"\n[[output]]')
    shop.doit("lock:x")
    done = shop.doit("build:x", status=BuildError.exit_code if "fail" in step else OutputError.exit_code)
    assert said in done.err
    shop.built_nothing("x")


@pytest.mark.parametrize("kind", ["file", "program", "tree"])
def test_a_link_in_out_gives_away_nothing_of_the_machine(shop: Workshop, kind: str, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "x").write_text("a secret of the host")
    path = "x" if kind == "tree" else "y/x"
    name = path.split("/")[0]
    body = f'[[source]]\nname = "s"\nform = "tree"\ngit = "{shop.git("tiny", {"a": "a"}).url}"\n'
    body += (
        f'[[step]]\nrun = ["tool", "link", "{tmp_path}/secrets", "out/{name}"]\n[[output]]\npath = "{path}"\nkind = "{kind}"\n'
    )
    shop.recipe("x", body)
    shop.doit("lock:x")
    done = shop.doit("build:x", status=OutputError.exit_code)
    assert f"{name} is a symbolic link" in done.err
    shop.built_nothing("x")


def test_out_itself_cannot_be_made_a_link(shop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "x").write_text("a secret of the host")
    shop.small("x", ["tool", "move", "out", "gone"], ["tool", "link", f"{tmp_path}/secrets", "out"])
    shop.doit("lock:x")
    done = shop.doit("build:x", status=OutputError.exit_code)
    assert "out is a symbolic link" in done.err
    shop.built_nothing("x")


def test_the_go_step_takes_its_programs_from_no_link(shop: Workshop) -> None:
    """A step before it could point the folder of the programs to somewhere of the host: /tmp is there on both sides."""
    with tempfile.NamedTemporaryFile(prefix="kubewright-e2e-", dir="/tmp") as secret:
        name = Path(secret.name).name
        module = f"module example.org/{name}\ngo 1.26.0\n"
        hello = shop.git("hello", {"go.mod": module, "x.go": "package main\nfunc main() { println() }\n"})
        body = f'[[source]]\nname = "hello"\nform = "tree"\ngit = "{hello.url}"\n[[overlay]]\nfrom = "tool"\nto = "tool"\n'
        for words in (["move", ".go-out", "aside"], ["link", "/tmp", ".go-out"]):
            body += f"[[step]]\nrun = {listed(['{build}/tool', *words])}\n"
        body += f'[[step]]\ngo.dir = "src/hello"\ngo.commands = {{ x = "example.org/{name}" }}\n[[output]]\npath = "x"\n'
        shop.recipe("x", body, builder="go")
        shop.write("recipes/x/tool", (shop.tools[0].parent / "tool").read_bytes(), 0o755)
        shop.doit("lock:x")
        done = shop.doit("build:x", status=OutputError.exit_code)
        assert ".go-out is a symbolic link" in done.err
        assert Path(secret.name).exists()
    shop.built_nothing("x")


@pytest.mark.parametrize(
    ("smoke", "said"),
    [
        ('run = ["x", "say", "hello"]\nexpect = ["good-bye"]', "`x say hello` does not say 'good-bye'"),
        ('run = ["x", "fail", "oh no"]', "`x fail oh no` ended with status 3, not 0"),
        ('run = ["x", "say", "hello"]\nstatus = 3', "`x say hello` ended with status 0, not 3"),
    ],
)
def test_a_program_that_does_not_do_what_its_recipe_says(shop: Workshop, smoke: str, said: str) -> None:
    shop.small("x", ["tool", "copy", "/usr/bin/tool", "out/x"], more=f"[[smoke]]\n{smoke}\n")
    shop.edit("recipes/x/recipe.toml", 'kind = "file"', 'kind = "program"')
    shop.doit("lock:x")
    done = shop.doit("build:x", status=SmokeError.exit_code)
    assert said in done.err
    assert "the whole log: " in done.err
    shop.built_nothing("x")


def test_a_corrected_smoke_check_runs_alone(shop: Workshop) -> None:
    shop.small("x", ["tool", "copy", "/usr/bin/tool", "out/x"], more='[[smoke]]\nrun = ["x", "say", "one"]\nexpect = ["one"]\n')
    shop.edit("recipes/x/recipe.toml", 'kind = "file"', 'kind = "program"')
    shop.doit("lock:x")
    shop.doit("build:x")
    started = shop.record("x").started
    shop.edit("recipes/x/recipe.toml", 'expect = ["one"]', 'expect = ["two"]')
    shop.doit("build:x", status=SmokeError.exit_code)
    shop.edit("recipes/x/recipe.toml", 'expect = ["two"]', 'expect = ["on"]')
    assert "build:x: smoke" in shop.doit("build:x").out
    assert shop.record("x").started == started, "the build itself was not repeated"


def test_a_step_that_takes_too_long(shop: Workshop) -> None:
    shop.small("x", ["tool", "sleep", "600"])
    shop.write("settings.toml", (shop.root / "settings.toml").read_text() + "time_limit = 1\n")
    shop.doit("lock:x")
    done = shop.doit("build:x", status=TimeLimitError.exit_code)
    assert "tool ran longer than its limit of 1 s" in done.err
    shop.built_nothing("x")


def test_other_bytes_than_digests_toml_has_for_the_same_key(shop: Workshop) -> None:
    shop.small("x", WRITE)
    shop.doit("lock:x")
    shop.doit("build:x")
    digest = shop.record("x").outputs[0].sha256
    other = "sha256:" + "0" * 64
    shop.doit("rebuild:x")
    shop.doit("accept:x")
    assert digest in (shop.root / "digests.toml").read_text()
    shop.edit("digests.toml", digest, other)
    done = shop.doit("build:x", status=IrreproducibleError.exit_code)
    assert f"x is {digest}, digests.toml has {other}" in done.err
    shop.kubewright("status")
    shop.edit("digests.toml", other, digest)
    assert "1 cached" in shop.doit("build:x").out


def test_a_digest_that_differs_is_not_put_in_place(shop: Workshop) -> None:
    shop.small("x", WRITE)
    shop.doit("lock:x")
    shop.doit("build:x")
    shop.doit("rebuild:x")
    shop.doit("accept:x")
    shop.edit("digests.toml", shop.record("x").outputs[0].sha256, "sha256:" + "0" * 64)
    shop.doit("clean")
    shop.doit("build:x", status=IrreproducibleError.exit_code)
    assert not shop.artifact("x").exists()
