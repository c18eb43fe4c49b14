"""What people type: the menu, parallel builds, the first failure's exit code, going on after one."""

from __future__ import annotations

import re

import pytest
from workshop import Workshop

WRITE = "tool write out/{} hello"


def several(shop: Workshop, **steps: str) -> Workshop:
    """Components with one step each, in the default stack, locked."""
    for name, step in steps.items():
        shop.small(name, step.format(name).split())
    shop.stack(*steps)
    shop.doit("lock", *(f"lock:{name}" for name in steps)) if not steps else shop.doit(*(f"lock:{name}" for name in steps))
    return shop


def test_several_at_a_time(shop: Workshop) -> None:
    names = [f"c{number}" for number in range(6)]
    several(shop, **dict.fromkeys(names, WRITE))
    done = shop.doit("-n", "2", "build")
    for name in names:
        assert shop.artifact(name).read_text() == "hello\n"
        assert re.search(rf"^build:{name}: done in [\d.]+ s( \(.*\))?$", done.out, re.MULTILINE)
    for line in done.out.splitlines():
        assert re.fullmatch(r"build:c\d: \S.*|6 done; [\d.]+ s in all|waiting for .*|", line), line
    assert done.err == ""
    assert "6 cached; " in shop.doit("-n", "2", "build").out


def test_the_first_failure_gives_the_exit_code(shop: Workshop) -> None:
    several(shop, a=WRITE, b="tool fail broken", c="tool write elsewhere x", d=WRITE)
    done = shop.doit("build:a", "build:b", "build:c", "build:d", status=30)
    assert "1 done, 1 failed; " in done.out
    assert not shop.artifact("d").exists()
    done = shop.doit("-c", "build:c", "build:b", "build:d", status=31)
    assert "1 done, 2 failed; " in done.out
    assert shop.artifact("d").exists()
    assert done.err.index("the build did not make c") < done.err.index("ended with status 3")
    done = shop.doit("-n", "2", "-c", "build", status=None)
    assert done.status in (30, 31)
    assert "2 failed" in done.out
    assert "broken" in done.err
    assert "the build did not make c" in done.err


def test_what_needs_a_failure_is_not_tried(shop: Workshop) -> None:
    shop.small("a", ["tool", "fail", "broken"])
    shop.small("b", ["tool", "copy", "a", "out/b"], more='[[input]]\ncomponent = "a"\noutput = "a"\nto = "a"\n')
    shop.doit("lock:a", "lock:b")
    done = shop.doit("-c", "build:b", status=30)
    assert "broken" in done.err
    assert "1 failed, 1 not tried for want of what failed; " in done.out
    assert "build:b: sources" not in done.out


def test_a_change_below_is_built_above(shop: Workshop) -> None:
    shop.small("a", ["tool", "write", "out/a", "one"])
    shop.small("b", ["tool", "copy", "a", "out/b"], more='[[input]]\ncomponent = "a"\noutput = "a"\nto = "a"\n')
    shop.doit("lock:a", "lock:b")
    shop.doit("build:b")
    shop.edit("recipes/a/recipe.toml", '"one"', '"two"')
    assert "2 done; " in shop.doit("build:b").out
    assert shop.artifact("b").read_text() == "two\n"
    shop.edit("recipes/a/recipe.toml", '"two"', '"one"')
    said = shop.doit("build:b").out
    assert "2 done; " in said
    assert "sources" not in said, "both are in the store"
    assert shop.artifact("b").read_text() == "one\n"


def test_the_menu(shop: Workshop) -> None:
    several(shop, kubectl=WRITE, etcd=WRITE)
    menu = shop.doit("list").out
    for group in ("build[:NAME]", "rebuild[:NAME]", "accept[:NAME]", "fetch[:NAME]", "lock[:NAME]", "gc", "outdated", "test"):
        assert re.search(rf"^  {re.escape(group)} +\S", menu, re.MULTILINE), group
    assert len(menu.splitlines()) < 25
    assert "build:kubectl" in shop.doit("list", "--all").out
    help_text = shop.doit("help", "build").out
    assert "./doit build:etcd@linux-arm64" in help_text
    assert "NAME is one of: " in help_text
    assert "kubectl" in help_text
    assert shop.doit("help", "build:kubectl").out == help_text
    assert "Did you mean rebuild?" in shop.doit("help", "rebild", status=None).text


@pytest.mark.parametrize(
    ("typed", "meant"), [("biuld", "build"), ("build:kubectk", "build:kubectl"), ("rebuild:etcdd", "rebuild:etcd")]
)
def test_a_task_that_is_misspelt(shop: Workshop, typed: str, meant: str) -> None:
    several(shop, kubectl=WRITE, etcd=WRITE)
    done = shop.doit(typed, status=3)
    assert f"there is no task '{typed}'. Did you mean {meant}" in done.err
    assert "Traceback" not in done.err


def test_fetch_brings_everything(shop: Workshop) -> None:
    several(shop, x="tool copy src/src/a out/x")
    assert "every input is here and verified" in shop.doit("fetch:x").out
    (shop.folder / "origins").rename(shop.folder / "gone")
    shop.write("settings.toml", 'debian_archives = ["file:///nowhere"]\n')
    shop.doit("build:x")


def test_gc_keeps_what_the_lock_needs(shop: Workshop) -> None:
    several(shop, x="tool copy src/src/a out/x")
    shop.doit("build:x")
    shop.edit("recipes/x/recipe.toml", '"src/src/a"', '"/usr/bin/tool"')
    shop.doit("build:x")
    for link in [path for path in shop.store.rglob("*") if path.is_symlink()]:
        link.unlink()  # what is shared is not this test's to collect
    old = shop.doit("gc").out
    assert "removed: " in old
    shop.doit("clean")
    (shop.folder / "origins").rename(shop.folder / "gone")
    assert "sources" not in shop.doit("build:x").out
    assert shop.artifact("x").stat().st_size > 1000
