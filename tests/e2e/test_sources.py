"""Sources of real projects: forks named by a go.mod, branches, submodules, signed tags; facts that a recipe repeats; and
what is laid into a build beside sources."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable

import pytest
from loopback import GitRepository, free_port
from workshop import Workshop, listed

from kubewright.errors import (
    FactError,
    LockOutdatedError,
    NetworkError,
    OriginError,
    OutputError,
    RecipeError,
    SignatureMissingError,
)

GO_MOD = "module example.org/big\n\nrequire example.org/lib v1.2.0\n\nreplace example.org/lib => example.net/fork v1.2.3-k3s1\n"
MAIN = "package main\n\nfunc main() {}\n"
COPY = ["tool", "copy", "src/fork/name", "out/x"]


def source(repository: GitRepository, name: str = "src", more: str = "") -> str:
    return f'[[source]]\nname = "{name}"\nform = "tree"\ngit = "{repository.url}"\n{more}'


def body(sources: str, *steps: Iterable[str], more: str = "", kind: str = "file") -> str:
    runs = "".join(f"[[step]]\nrun = {listed(step)}\n" for step in steps)
    return f'{sources}{runs}[[output]]\npath = "x"\nkind = "{kind}"\n{more}'


# -- versions that the main source's go.mod names -----------------------------------------------------------------


@pytest.fixture
def forked(shop: Workshop) -> Workshop:
    """A source whose go.mod names the version of a fork, which is a source as well."""
    big = shop.git("big", {"go.mod": GO_MOD})
    fork = shop.git("fork", {"name": "the fork"}, "v1.2.3-k3s1")
    fork.commit({"name": "newer"}, "v1.2.4-k3s1")
    shop.recipe("x", body(source(big) + source(fork, "fork", 'tag = "{module:example.org/lib}"\n'), COPY))
    return shop


def test_a_fork_at_the_version_that_go_mod_names(forked: Workshop) -> None:
    forked.doit("lock:x")
    assert forked.pin("x", 1).tag == "v1.2.3-k3s1"
    forked.doit("build:x")
    assert forked.artifact("x").read_text() == "the fork"


def test_a_new_version_of_upstream_takes_the_fork_along(forked: Workshop) -> None:
    forked.doit("lock:x")
    forked.git("big", {}).commit({"go.mod": GO_MOD.replace("v1.2.3", "v1.2.4")}, "v1.1.0")
    forked.edit("recipes/x/recipe.toml", 'version = "1.0.0"', 'version = "1.1.0"')
    forked.doit("lock:x")
    forked.doit("build:x")
    assert forked.artifact("x", version="1.1.0").read_text() == "newer"


def test_a_module_that_go_mod_lacks(forked: Workshop) -> None:
    forked.edit("recipes/x/recipe.toml", "{module:example.org/lib}", "{module:example.org/lob}")
    done = forked.doit("lock:x", status=FactError.exit_code)
    assert "recipes/x/recipe.toml: {module:example.org/lob}: go.mod of source src names no such module" in done.err
    assert "write the module's path as go.mod has it" in done.err
    assert "x" not in forked.project().lock.components


def test_a_lock_that_names_another_version_than_the_source(forked: Workshop) -> None:
    forked.doit("lock:x")
    forked.edit("lockfile.toml", '"example.org/lib" = "v1.2.3-k3s1"', '"example.org/lib" = "v1.2.4-k3s1"')
    forked.edit("lockfile.toml", 'tag = "v1.2.3-k3s1"', 'tag = "v1.2.4-k3s1"')
    forked.doit("build:x", status=LockOutdatedError.exit_code)
    forked.built_nothing("x")


# -- facts --------------------------------------------------------------------------------------------------------


def test_facts_that_no_longer_hold(shop: Workshop) -> None:
    big = shop.git("big", {"scripts/version.sh": 'PLUGINS="v1.0"\n', "a": "a"})
    facts = '[source.facts]\n"scripts/version.sh" = [\'PLUGINS="v{major}.{minor}"\']\n'
    shop.recipe("x", body(source(big, more=facts), ["tool", "copy", "src/src/a", "out/x"]))
    shop.doit("lock:x")
    shop.doit("build:x")
    big.commit({}, "v1.1.0")
    shop.edit("recipes/x/recipe.toml", 'version = "1.0.0"', 'version = "1.1.0"')
    done = shop.doit("lock:x", status=FactError.exit_code)
    assert "source src: facts: scripts/version.sh: it does not hold 'PLUGINS=\"v1.1\"'" in done.err
    shop.edit("recipes/x/recipe.toml", '"scripts/version.sh"', '"scripts/gone.sh"')
    assert "scripts/gone.sh: there is no such file" in shop.doit("lock:x", status=FactError.exit_code).err


# -- branches -----------------------------------------------------------------------------------------------------


def test_a_branch_stays_locked_until_the_version_changes(shop: Workshop) -> None:
    charts = shop.git("charts", {"a": "one"}, "")
    shop.recipe("x", body(source(charts, more='branch = "main"\n'), ["tool", "copy", "src/src/a", "out/x"]))
    first = charts.git("rev-parse", "HEAD")
    shop.doit("lock:x")
    assert (shop.pin("x").branch, shop.pin("x").tag, shop.pin("x").commit) == ("main", "", first)
    second = charts.commit({"a": "two"})
    assert f"src: stays at {first[:12]} of branch main" in shop.doit("lock:x").text
    assert shop.pin("x").commit == first
    shutil.rmtree(shop.store / "git")
    shop.doit("build:x")
    assert shop.artifact("x").read_text() == "one"
    shop.edit("recipes/x/recipe.toml", 'version = "1.0.0"', 'version = "1.0.1"')
    shop.doit("lock:x")
    assert shop.pin("x").commit == second
    assert "branch main" in shop.kubewright("why", "x").out


def test_a_branch_that_is_not_there(shop: Workshop) -> None:
    shop.recipe("x", body(source(shop.git("charts", {"a": "a"}), more='branch = "gone"\n'), ["tool", "write", "out/x", "x"]))
    assert "has no branch gone" in shop.doit("lock:x", status=None).err


# -- submodules ---------------------------------------------------------------------------------------------------


def test_submodules_are_pinned_fetched_and_built_from(shop: Workshop) -> None:
    library = shop.git("library", {"lib": "of the library"})
    big = shop.git("big", {".gitmodules": '[submodule "l"]\n\tpath = third/lib\n\turl = ../library\n', "a": "a"}, "")
    big.git("update-index", "--add", "--cacheinfo", f"160000,{library.git('rev-parse', 'HEAD')},third/lib")
    big.git("commit", "-q", "-m", "submodule")
    big.git("tag", "v1.0.0")
    shop.recipe("x", body(source(big, more="submodules = true\n"), ["tool", "copy", "src/src/third/lib/lib", "out/x"]))
    shop.doit("lock:x")
    (pin,) = shop.pin("x").submodules
    assert (pin.path, pin.git, pin.commit) == ("third/lib", library.url, library.git("rev-parse", "HEAD"))
    for name in ("git", "trees/" + f"source-tree-{shop.pin('x').sha256}"):
        shutil.rmtree(shop.store / name, ignore_errors=True)
    shop.doit("build:x")
    assert shop.artifact("x").read_text() == "of the library"
    shop.edit("recipes/x/recipe.toml", "submodules = true\n", "")
    assert "set submodules = true" in shop.doit("lock:x", status=None).err


def test_a_submodule_on_a_dead_host(shop: Workshop) -> None:
    """While locking, and for who has the lock and no store: in seconds, with the submodule's name and the way out."""
    library, port = shop.git("library", {"lib": "of the library"}), free_port()
    url = f"http://127.0.0.1:{port}/somebody/library"
    big = shop.git("big", {".gitmodules": f'[submodule "l"]\n\tpath = third/lib\n\turl = {url}\n', "a": "a"}, "")
    big.git("update-index", "--add", "--cacheinfo", f"160000,{library.git('rev-parse', 'HEAD')},third/lib")
    big.git("commit", "-q", "-m", "submodule")
    big.git("tag", "v1.0.0")
    shop.recipe("x", body(source(big, more="submodules = true\n"), ["tool", "copy", "src/src/third/lib/lib", "out/x"]))
    settings = (shop.root / "settings.toml").read_text()
    mirror = f'git_mirrors = {{ "http://127.0.0.1:{port}/somebody/" = "file://{library.path.parent}/" }}\n'

    def refused(command: str) -> None:
        started = time.monotonic()
        done = shop.doit(command, status=NetworkError.exit_code)
        assert time.monotonic() - started < 15
        where = f"recipes/x/recipe.toml: source src: submodule third/lib of {big.url}: {url} cannot be reached"
        assert where in done.err
        assert f'name a mirror in settings.toml: git_mirrors = {{ "http://127.0.0.1:{port}/somebody/"' in done.err

    refused("lock:x")
    shop.write("settings.toml", settings + mirror)
    shop.doit("lock:x")
    for name in ("git", f"trees/source-tree-{shop.pin('x').sha256}"):
        shutil.rmtree(shop.store / name, ignore_errors=True)
    shop.write("settings.toml", settings)
    refused("build:x")
    shop.built_nothing("x")
    shop.write("settings.toml", settings + mirror)
    shop.doit("build:x")
    assert shop.artifact("x").read_text() == "of the library"


# -- signed tags --------------------------------------------------------------------------------------------------


def test_a_recipe_that_names_keys_takes_no_unsigned_tag(shop: Workshop) -> None:
    big = shop.git("big", {"a": "a"})
    shop.write(
        "recipes/x/signers",
        "upstream@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEgkCHTTHzPHUJWNxXSfCKW4h0zCXgvDbEBsZ0j2Yx5M\n",
    )
    shop.recipe("x", body(source(big, more='signed_by = "signers"\n'), ["tool", "copy", "src/src/a", "out/x"]))
    done = shop.doit("lock:x", status=SignatureMissingError.exit_code)
    assert "tag v1.0.0" in done.err
    assert "not annotated" in done.err
    assert "x" not in shop.project().lock.components


def test_an_annotated_tag_is_recorded(shop: Workshop) -> None:
    big = GitRepository(shop.folder / "origins/big")
    big.commit({"a": "a"}, "v1.0.0", annotated=True)
    shop.recipe("x", body(source(big), ["tool", "copy", "src/src/a", "out/x"]))
    shop.doit("lock:x")
    tag_object = big.git("rev-parse", "refs/tags/v1.0.0")
    assert shop.pin("x").tag_object == tag_object != shop.pin("x").commit
    shop.doit("build:x")
    assert f"annotated, object {tag_object}" in shop.kubewright("why", "x").out


# -- origins ------------------------------------------------------------------------------------------------------


def test_a_renamed_host_changes_no_key(shop: Workshop) -> None:
    """rancher/k3s became k3s-io/k3s: who locks again under the new name has the same pins but for the name."""
    old = shop.git("rancher", {"a": "a"})
    shop.recipe("x", body(source(old), ["tool", "copy", "src/src/a", "out/x"]))
    shop.doit("lock:x")
    key = shop.project().component("x").key
    old.path.rename(old.path.with_name("k3s-io"))
    shop.edit("recipes/x/recipe.toml", "origins/rancher", "origins/k3s-io")
    assert "git" in shop.doit("build:x", status=LockOutdatedError.exit_code).err
    shop.doit("lock:x")
    assert shop.project().component("x").key == key


def test_an_origin_out_of_reach_is_said_in_seconds_with_the_way_out(shop: Workshop) -> None:
    url = f"http://127.0.0.1:{free_port()}/k3s-io/k3s"
    shop.recipe("x", body(f'[[source]]\nname = "src"\nform = "tree"\ngit = "{url}"\n', ["tool", "write", "out/x", "x"]))
    started = time.monotonic()
    done = shop.doit("lock:x", status=NetworkError.exit_code)
    assert time.monotonic() - started < 15
    assert f"tried: {url}" in done.err
    assert f'git_mirrors = {{ "{url.rpartition("/")[0]}/" = "https://MIRROR/" }}' in done.err
    real = shop.git("k3s", {"a": "a"})
    mirrors = json.dumps(url.rpartition("/")[0] + "/") + " = " + json.dumps(f"file://{real.path.parent}/")
    settings = (shop.root / "settings.toml").read_text()
    shop.write("settings.toml", f"{settings}git_mirrors = {{ {mirrors} }}\n")
    shop.doit("lock:x")
    assert shop.pin("x").git == url


# -- laid beside sources ------------------------------------------------------------------------------------------

PACKAGE = '[[package]]\nto = "out/x/root"\nfiles = { tools = ["usr/bin/tool"] }\n'


def test_files_of_packages_and_links(shop: Workshop) -> None:
    links = '[links]\n"out/x/bin/run" = "../root/usr/bin/tool"\n"out/x/bin/later" = "made"\n'
    tiny = source(shop.git("tiny", {"a": "a"}))
    shop.recipe("x", body(tiny, ["tool", "write", "out/x/bin/made", "made"], more=PACKAGE + links, kind="tree"))
    shop.doit("lock:x")
    shop.doit("build:x")
    made = shop.artifact("x")
    assert (made / "bin/run").readlink().as_posix() == "../root/usr/bin/tool"
    assert (made / "bin/later").read_text() == "made\n"
    assert subprocess.run([made / "bin/run", "say", "hello"], capture_output=True, check=True).stdout == b"hello\n"
    said = shop.kubewright("why", "x").out
    assert re.search(r"^ *tools +1 +usr/bin/tool +[0-9a-f]{64}$", said, re.MULTILINE)


def test_what_is_in_a_package_is_looked_up_once(shop: Workshop) -> None:
    """The list that the first build kept is what the next one goes by."""
    tiny = source(shop.git("tiny", {"a": "a"}))
    shop.recipe("x", body(tiny, ["tool", "write", "out/x/a", "a"], more=PACKAGE, kind="tree"))
    shop.doit("lock:x", "build:x")
    package = shop.tools[1].packages[0].sha256
    store = shop.project().store
    held = store.get_json("package-files", package)
    assert isinstance(held, list)
    assert "usr/bin/tool" in held
    store.put_json("package-files", package, ["usr/bin/other"])
    shop.edit("recipes/x/recipe.toml", '"out/x/root"', '"out/x/elsewhere"')
    assert "tools 1 has no usr/bin/tool" in shop.doit("build:x", status=RecipeError.exit_code).err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("usr/bin/tool", "usr/bin/gone", "package: tools 1 has no usr/bin/gone"),
        ("tools =", "toolz =", "the builder tools has no such package"),
        ('"out/x/root"', '"out/y"', "'out/y' would be an output"),
    ],
)
def test_files_that_no_package_has(shop: Workshop, old: str, new: str, said: str) -> None:
    tiny = source(shop.git("tiny", {"a": "a"}))
    shop.recipe("x", body(tiny, ["tool", "write", "out/x/a", "a"], more=PACKAGE, kind="tree"))
    shop.doit("lock:x")
    shop.edit("recipes/x/recipe.toml", old, new)
    assert said in shop.doit("build:x", status=RecipeError.exit_code).err
    shop.built_nothing("x")


def test_the_digest_of_what_a_step_made(shop: Workshop) -> None:
    tiny = source(shop.git("tiny", {"a": "a"}))
    steps = (["tool", "write", "made", "hello"], ["tool", "copy", "made", "out/x/{sha256:made}.txt"])
    shop.recipe("x", body(tiny, *steps, more='[links]\n"out/x/link" = "to"\n', kind="tree"))
    shop.doit("lock:x")
    assert "<SHA-256 of made>" in shop.kubewright("plan", "x").out
    shop.doit("build:x")
    digest = hashlib.sha256(b"hello\n").hexdigest()
    assert (shop.artifact("x") / f"{digest}.txt").read_text() == "hello\n"
    assert f"out/x/{digest}.txt" in shop.record("x").steps[1].argv[3]


def test_the_digest_of_what_no_step_made(shop: Workshop) -> None:
    shop.recipe("x", body(source(shop.git("tiny", {"a": "a"})), ["tool", "write", "out/x", "{sha256:made}"]))
    shop.doit("lock:x")
    assert "{sha256:made}: no step has made this file" in shop.doit("build:x", status=OutputError.exit_code).err
    shop.built_nothing("x")


# -- tags that are no versions --------------------------------------------------------------------------------------


def test_a_tag_that_is_no_version_is_a_tag(shop: Workshop) -> None:
    """Its commit is pinned like any other; nobody says which release is newer, and a bill of materials has the commit."""
    nightly = shop.git("nightly", {"go.mod": "module example.org/x\n\ngo 1.24\n", "main.go": MAIN}, "nightly")
    step = '[[step]]\ngo.dir = "src/src"\ngo.commands = { x = "example.org/x" }\n[[output]]\npath = "x"\n'
    shop.recipe("x", source(nightly, more='tag = "nightly"\n') + step, builder="go")
    shop.doit("lock:x", "build:x", "sbom:x")
    commit = nightly.git("rev-parse", "HEAD")
    assert (shop.pin("x").tag, shop.pin("x").commit) == ("nightly", commit)
    document = json.loads((shop.root / "artifacts/attestations/x/1.0.0/linux-amd64/sbom.cdx.json").read_text())
    assert [each["version"] for each in document["components"] if each["name"] == "example.org/x"] == [commit]


def test_a_fork_at_a_commit_has_no_tag(shop: Workshop) -> None:
    """go.mod may name a commit by a pseudo-version, which no repository has as a tag."""
    pseudo = "v0.0.0-20260102030405-abcdefabcdef"
    big = shop.git("big", {"go.mod": f"module example.org/big\n\nrequire example.org/lib {pseudo}\n"})
    fork = shop.git("fork", {"name": "the fork"}, "v1.2.3")
    shop.recipe("x", body(source(big) + source(fork, "fork", 'tag = "{module:example.org/lib}"\n'), COPY))
    done = shop.doit("lock:x", status=OriginError.exit_code)
    assert f"recipes/x/recipe.toml: source fork: {fork.url} has no tag {pseudo}" in done.err
    assert "correct `tag` (or `version`) in the recipe" in done.err
    assert "x" not in shop.project().lock.components


@pytest.mark.parametrize("version", ["nightly", "v1.2.3", "1.2.3_4", ""])
def test_a_component_s_version_has_to_be_one(shop: Workshop, version: str) -> None:
    shop.small("x", ["tool", "write", "out/x", "x"], version=version)
    done = shop.doit("lock:x", status=RecipeError.exit_code)
    assert f"recipes/x/recipe.toml:2: version: '{version}' is not a version such as" in done.err
