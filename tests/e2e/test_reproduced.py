"""What a rebuild says of components that are not reproducible, and of those that are."""

from __future__ import annotations

import re

import pytest
from workshop import Workshop

from kubewright.errors import IrreproducibleError

NOWHERE = "unix:///nowhere"  # so that both builds run in bubblewrap, docker or not

CLOCK = """#include <stdio.h>
int main(void) { printf("%s %s %s", __DATE__, __TIME__, PLACE); return 0; }
"""


def test_bytes_of_dev_urandom_in_a_file(shop: Workshop) -> None:
    shop.small("x", ["tool", "random", "out/x"])
    shop.doit("lock:x")
    shop.doit("build:x")
    first = shop.artifact("x").read_bytes()
    done = shop.doit("rebuild:x", status=IrreproducibleError.exit_code, DOCKER_HOST=NOWHERE)
    assert re.search(
        r"1 of 1 outputs differ between two builds; x: byte \d+ differs first \([0-9a-f]{32} and [0-9a-f]{32}\)", done.err
    )
    assert shop.artifact("x").read_bytes() == first
    done = shop.doit("accept:x", status=IrreproducibleError.exit_code)
    assert "gave other bytes, so nothing is accepted" in done.err
    assert not (shop.root / "digests.toml").exists()
    assert [again["agrees"] for again in shop.why("x")["rebuilds"]] == [False]
    shop.tidy()


@pytest.mark.parametrize(
    ("flags", "section"),
    [(['-DPLACE="{build}"'], "."), (["-DPLACE=__FILE__", "-g"], "."), (['-DPLACE=""'], "")],
    ids=["path", "debug information", "clock"],
)
def test_a_program_differs_in_a_section(shop: Workshop, flags: list[str], section: str) -> None:
    """The clock alone makes no difference: gcc takes SOURCE_DATE_EPOCH for it."""
    origin = shop.git("clock", {"clock.c": CLOCK})
    gcc = ["gcc", "-static", "-Wl,--build-id=none", *flags, "-o", "{build}/out/x", "{build}/src/clock/clock.c"]
    source = f'[[source]]\nname = "clock"\nform = "tree"\ngit = "{origin.url}"\n'
    shop.small("x", gcc, source=source, builder="cgo")
    shop.edit("recipes/x/recipe.toml", 'kind = "file"', 'kind = "program"')
    shop.doit("lock:x")
    shop.doit("build:x")
    done = shop.doit("rebuild:x", status=IrreproducibleError.exit_code if section else 0, DOCKER_HOST=NOWHERE)
    assert f"x: section {section}" in done.err if section else "1 output identical" in done.out


def test_a_tree_names_the_member(shop: Workshop) -> None:
    shop.small(
        "x",
        ["tool", "folder", "out/x"],
        ["tool", "write", "out/x/same", "same"],
        ["tool", "random", "out/x/noise"],
        more="",
    )
    shop.edit("recipes/x/recipe.toml", 'kind = "file"', 'kind = "tree"')
    shop.doit("lock:x")
    shop.doit("build:x")
    done = shop.doit("rebuild:x", status=IrreproducibleError.exit_code, DOCKER_HOST=NOWHERE)
    assert "x: member noise differs first" in done.err


def test_modes_owners_and_order_reach_nothing(shop: Workshop) -> None:
    """A rebuild has another umask, uid, host name and path: what depends on them alone is the same in the end."""
    shop.small(
        "x",
        ["tool", "folder", "out/x"],
        ["tool", "copy", "/usr/bin/tool", "out/x/program"],
        ["tool", "write", "out/x/b", "b"],
        ["tool", "write", "out/x/a", "a"],
    )
    shop.edit("recipes/x/recipe.toml", 'kind = "file"', 'kind = "tree"')
    shop.doit("lock:x")
    shop.doit("build:x")
    assert "1 output identical" in shop.doit("rebuild:x", DOCKER_HOST=NOWHERE).out


def test_a_rebuild_needs_a_build(shop: Workshop) -> None:
    shop.small("x", ["tool", "random", "out/x"])
    shop.doit("lock:x")
    done = shop.doit("rebuild:x", status=30)
    assert "x 1.0.0 linux/amd64 has not been built here" in done.err
    assert "./doit build:x" in done.err
    assert "no build here" in shop.doit("accept:x", status=IrreproducibleError.exit_code).err


def test_a_rebuild_uses_the_other_sandbox(shop: Workshop, docker_host: str) -> None:
    shop.small("x", ["tool", "write", "out/x", "the same"])
    shop.small("y", ["tool", "random", "out/y"])
    shop.doit("lock:x", "lock:y")
    shop.doit("build:x", "build:y")
    assert "built in bubblewrap, rebuilt in docker" in shop.doit("rebuild:x", DOCKER_HOST=docker_host).out
    shop.doit("accept:x")
    assert "docker" in (shop.root / "digests.toml").read_text()
    shop.doit("rebuild:y", status=IrreproducibleError.exit_code, DOCKER_HOST=docker_host)
