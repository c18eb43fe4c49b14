"""The compile cache that a component's cgo steps keep: warm where only Go changed, and never other bytes than a cold build."""

from __future__ import annotations

import subprocess

import pytest
from workshop import Workshop

GO = """package main

// #include "../c/value.h"
import "C"

func main() { println(int(C.VALUE), %s) }
"""
FILES = {"cmd/go.mod": "module example.org/x\n\ngo 1.24\n", "cmd/main.go": GO % "1", "c/value.h": "#define VALUE 42\n"}
STEP = """
[[step]]
go.dir = "src/src/cmd"
go.commands = { x = "example.org/x" }
go.cgo = true
go.ldflags = ["-linkmode", "external", "-extldflags", "-static -Wl,--build-id=none"]
%s
[[output]]
path = "x"
"""


def started(shop: Workshop, more: str = "") -> None:
    """Locked and built, from the files of the test or from FILES."""
    origin = shop.git("app", FILES)
    source = f'[[source]]\nname = "src"\nform = "tree"\ngit = "{origin.url}"\n'
    shop.recipe("x", source + STEP % more, builder="cgo")
    shop.doit("lock:x", "build:x")


def next_version(shop: Workshop, files: dict[str, str]) -> None:
    shop.git("app", {}).commit(dict(files), "v1.1.0")
    shop.edit("recipes/x/recipe.toml", 'version = "1.0.0"', 'version = "1.1.0"')
    shop.doit("lock:x")
    shop.doit("build:x")


def said(shop: Workshop, version: str) -> str:
    return subprocess.run([shop.artifact("x", version=version)], capture_output=True, text=True, check=True).stderr


def compiled(shop: Workshop) -> set[str]:
    """The packages that ``go build -v`` named in the last build."""
    return set(shop.project().store.read(shop.record("x").log).decode().split())


def cache(shop: Workshop) -> str:
    (step,) = shop.record("x").steps
    return step.env["GOCACHE"]


def test_a_change_in_go_compiles_go_and_no_c(shop: Workshop) -> None:
    started(shop)
    assert "runtime/cgo" in compiled(shop)
    next_version(shop, {"cmd/main.go": GO % "2"})
    assert compiled(shop) & {"runtime/cgo", "runtime", "example.org/x"} == {"example.org/x"}
    assert (said(shop, "1.0.0"), said(shop, "1.1.0")) == ("42 1\n", "42 2\n")
    assert cache(shop) == "/cgo-cache"
    assert "GOCACHE=/cgo-cache" in shop.kubewright("why", "x").out.replace("\n", " ")


def test_a_header_in_another_folder_is_not_missed(shop: Workshop) -> None:
    """go does not look at it: with one cache for both, the second program would still say 42."""
    started(shop)
    next_version(shop, {"c/value.h": "#define VALUE 43\n"})
    assert said(shop, "1.1.0") == "43 1\n"
    assert "runtime/cgo" in compiled(shop), "another, empty cache"


@pytest.mark.parametrize(
    "text",
    ["#define VALUE (sizeof __DATE__)\n", '#include "value.txt"\n', "#define VALUE 42\n/* .incbin */\n"],
    ids=["date", "kind", "incbin"],
)
def test_where_c_reads_what_nobody_knows_no_cache_is_kept(shop: Workshop, text: str) -> None:
    shop.git("app", {**FILES, "c/value.h": text, "c/value.txt": "#define VALUE 42\n"})
    started(shop)
    assert cache(shop) == "/build/.go-cache"
    assert not (shop.store / "go/cgo-cache").exists()


def test_a_variable_that_go_does_not_look_at_keeps_none(shop: Workshop) -> None:
    started(shop, 'go.env = { C_INCLUDE_PATH = "{build}/src/src/c" }')
    assert cache(shop) == "/build/.go-cache"


def test_components_do_not_meet_and_a_rebuild_is_cold(shop: Workshop) -> None:
    started(shop)
    shop.write("recipes/y/recipe.toml", (shop.root / "recipes/x/recipe.toml").read_text().replace('name = "x"', 'name = "y"'))
    shop.doit("lock:y", "build:y")
    names = {path.name.partition("-")[0] for path in (shop.store / "go/cgo-cache").glob("*/*")}
    assert names == {"x", "y"}
    done = shop.doit("rebuild:x", DOCKER_HOST=f"unix://{shop.folder}/nowhere")
    assert "1 output identical" in done.text
    (again,) = (shop.store / "refs/rebuild").iterdir()
    assert "/cgo-cache" not in again.read_text()
