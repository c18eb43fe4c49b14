"""What people write wrong: recipes, builders, stacks, settings and the lock, met through ``./doit``."""

from __future__ import annotations

import pytest
from workshop import Workshop

from kubewright.errors import CycleError, LockError, LockOutdatedError, RecipeError, UsageError

WRITE = ["tool", "write", "out/x", "hello"]

RECIPES = {
    "unknown key": ('summary = "A test"', 'sumary = "A test"', "x/recipe.toml:3: sumary: unknown key", "summary"),
    "wrong type": ('licence = "MIT"', "licence = 7", "x/recipe.toml:4: licence: ", "7"),
    "bad version": ('version = "1.0.0"', 'version = "v1.0"', "x/recipe.toml:2: version: ", "without a leading v"),
    "unknown variable": ('"hello"', '"{vershion}"', "x/recipe.toml:11: step[0].run[3]: unknown variable {vershion}", ""),
    "a path that leaves": ('"x"\nkind', '"../x"\nkind', "x/recipe.toml:13: output[0].path: ", "'..'"),
    "no TOML": ('name = "x"', "name = x", "x/recipe.toml:1: not TOML", ""),
    "merge marker": (
        'name = "x"',
        '<<<<<<< ours\nname = "x"',
        "x/recipe.toml:1: git merge marker <<<<<<<",
        "resolve the merge",
    ),
}


@pytest.mark.parametrize(("old", "new", "where", "also"), RECIPES.values(), ids=RECIPES)
def test_a_recipe_that_is_wrong(shop: Workshop, old: str, new: str, where: str, also: str) -> None:
    shop.small("x", WRITE)
    shop.edit("recipes/x/recipe.toml", old, new)
    done = shop.doit("build:x", status=RecipeError.exit_code)
    assert where in done.err
    assert also in done.err
    for command in (["list"], ["help", "build"], ["lock:x"], ["info", "build:x"]):
        assert where in shop.doit(*command, status=RecipeError.exit_code).err
    shop.built_nothing("x")


def test_a_builder_that_is_not_there(shop: Workshop) -> None:
    shop.small("x", WRITE, builder="tool")
    done = shop.doit("build:x", status=RecipeError.exit_code)
    assert "recipes/x/recipe.toml: builder: there is no builders/tool.toml" in done.err
    assert "did you mean 'tools'?" in done.err


def test_recipes_in_a_circle(shop: Workshop) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        shop.small(name, WRITE, more=f'[[input]]\ncomponent = "{other}"\noutput = "{other}"\nto = "in"\n')
    done = shop.doit("build:a", status=CycleError.exit_code)
    assert "recipes/a/recipe.toml: input: recipes need each other's outputs: a -> b -> c -> a" in done.err
    assert "break the circle" in done.err
    done = shop.doit("lock:a", status=CycleError.exit_code)
    assert "a -> b -> c -> a" in done.err


def test_an_input_of_a_component_that_is_not_there(shop: Workshop) -> None:
    shop.small("x", WRITE, more='[[input]]\ncomponent = "nobody"\noutput = "y"\nto = "in"\n')
    done = shop.doit("build:x", status=RecipeError.exit_code)
    assert "recipes/x/recipe.toml" in done.err
    assert "there is no recipes/nobody" in done.err


def test_an_input_that_the_other_component_does_not_make(shop: Workshop) -> None:
    shop.small("a", ["tool", "write", "out/a", "hello"])
    shop.small("x", WRITE, more='[[input]]\ncomponent = "a"\noutput = "b"\nto = "in"\n')
    shop.doit("lock:a", "lock:x")
    done = shop.doit("build:x", status=31)
    assert "x 1.0.0 linux/amd64 takes b of a, which has no such output" in done.err
    assert "its outputs: a" in done.err


def test_an_overlay_and_a_patch_that_are_not_there(shop: Workshop) -> None:
    shop.small("x", WRITE, more='[[overlay]]\nfrom = "nothing"\nto = "y"\n')
    assert "recipes/x/nothing does not exist" in shop.doit("lock:x", status=RecipeError.exit_code).err
    patch = '[[source.patch]]\nfile = "0001-x.patch"\nreason = "r"\n[[step]]\nrun'
    shop.small("x", WRITE)
    shop.edit("recipes/x/recipe.toml", "[[step]]\nrun", patch)
    assert "patches/x/0001-x.patch does not exist" in shop.doit("lock:x", status=RecipeError.exit_code).err


def test_settings_and_stacks_that_are_wrong(shop: Workshop) -> None:
    shop.small("x", WRITE)
    shop.stack("x", "nobody")
    done = shop.doit("build", status=RecipeError.exit_code)
    assert "stacks/kubernetes.toml" in done.err
    assert "nobody" in done.err
    shop.stack("x")
    shop.write("settings.toml", 'sandbox = "chroot"\n')
    done = shop.doit("build", status=RecipeError.exit_code)
    assert "settings.toml:1: sandbox" in done.err
    shop.write("settings.toml", "")
    assert "KUBEWRIGHT_SANDBOX" in shop.doit("build", status=RecipeError.exit_code, KUBEWRIGHT_SANDBOX="jail").err


# -- the lock -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["version", "patch", "overlay", "mode", "never"])
def test_a_recipe_that_is_newer_than_its_lock(shop: Workshop, change: str) -> None:
    shop.small("x", WRITE, more='[[overlay]]\nfrom = "o"\nto = "y"\n')
    patch = '[[source.patch]]\nfile = "0001-x.patch"\nreason = "r"\n[[step]]\nrun'
    shop.edit("recipes/x/recipe.toml", "[[step]]\nrun", patch)
    shop.write("patches/x/0001-x.patch", "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n")
    shop.write("recipes/x/o", "text")
    if change != "never":
        shop.doit("lock:x")
    if change == "version":
        shop.edit("recipes/x/recipe.toml", 'version = "1.0.0"', 'version = "1.0.1"')
    elif change == "patch":
        shop.edit("patches/x/0001-x.patch", "+b", "+c")
    elif change == "overlay":
        shop.write("recipes/x/o", "other text")
    elif change == "mode":
        (shop.root / "recipes/x/o").chmod(0o755)
    for command in ("build:x", "fetch:x", "rebuild:x", "accept:x"):
        done = shop.doit(command, status=14 if change == "never" else LockOutdatedError.exit_code)
        assert "./doit lock:x" in done.err
    shop.built_nothing("x")
    if change == "version":
        assert "version is '1.0.1' here and '1.0.0' in lockfile.toml" in done.err
        shop.git("tiny", {}).commit({}, "v1.0.1")
    shop.doit("lock:x")
    shop.doit("build:x")


LOCKS = {
    "merge markers": (lambda text: text.replace("[component.x]", "<<<<<<< HEAD\n[component.x]\n=======\n"), "merge marker"),
    "duplicate keys": (lambda text: text.replace("[component.x]\n", "[component.x]\nversion = '1'\n"), "duplicate key"),
    "duplicate table": (lambda text: text + '[component.x]\nversion = "1"\n', "duplicate"),
    "cut in a line": (lambda text: text[: text.index("sha256 = ") + 40], "ends in the middle"),
    "cut between lines": (lambda text: text[: text.index("[[builder.cgo.package]]")], "end of lockfile.toml"),
    "not text": (lambda text: text.replace("linux", "lin\udcffux"), "not UTF-8"),
    "another format": (lambda text: text.replace("version = 1\n", "version = 2\n", 1), "format 2"),
    "wrong type": (lambda text: text.replace('version = "1.0.0"', "version = 1.0"), "component.x.version"),
    "a digest cut short": (lambda text: text.replace('commit = "', 'commit = "0'), "component.x.source[0].commit"),
}


@pytest.mark.parametrize(("damage", "said"), LOCKS.values(), ids=LOCKS)
def test_a_lock_that_cannot_be_read(shop: Workshop, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    shop.small("x", WRITE)
    shop.doit("lock:x")
    text = (shop.root / "lockfile.toml").read_text()
    broken = damage(text).encode("utf-8", "surrogateescape")
    shop.write("lockfile.toml", broken)
    done = shop.doit("build:x", status=LockError.exit_code)
    assert said in done.err
    assert "lockfile.toml:" in done.err
    assert "what to do: " in done.err
    shop.doit("lock:x", status=LockError.exit_code)
    assert (shop.root / "lockfile.toml").read_bytes() == broken, "a lock that cannot be read is not written over"
    shop.built_nothing("x")


def test_digests_toml_that_cannot_be_read(shop: Workshop) -> None:
    shop.small("x", WRITE)
    shop.doit("lock:x")
    shop.write("digests.toml", "version = 1\n=======\n")
    done = shop.doit("build:x", status=LockError.exit_code)
    assert "digests.toml:2: git merge marker =======" in done.err


def test_names_that_do_not_exist(shop: Workshop) -> None:
    shop.small("kubectl", WRITE)
    done = shop.doit("build:kubectx", status=3)
    assert "there is no task 'build:kubectx'. Did you mean build:kubectl" in done.err
    assert "did you mean 'kubectl'?" in shop.doit("clean", "kubectx", status=UsageError.exit_code).err
    shop.write("stacks/edge.toml", 'name = "edge"\nsummary = "x"\ncomponents = ["kubectl"]\n')
    assert "did you mean 'edge'?" in shop.doit("build", status=UsageError.exit_code, KUBEWRIGHT_STACK="edges").err
