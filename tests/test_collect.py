"""gc keeps what lock and recipes name, and nothing else; a store after it builds everything without origins."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from goproxy import borrowed_goroot, environment, publish
from project_builder import ProjectBuilder, hexadecimal

from kubewright import record
from kubewright.building.execution import Execution, Setting, run_steps
from kubewright.building.inputs import ensure_inputs, keys_name
from kubewright.building.log import Log
from kubewright.building.steps import Layout
from kubewright.errors import LockError, LockOutdatedError, UsageError
from kubewright.fetch.git import repository_name
from kubewright.fetch.gomodule import GoClient, download, module_cache, toolchain_version
from kubewright.files.digest import dirhash_dir, sha256_hex, tree_digest
from kubewright.gc import collect
from kubewright.gc.collect import clean, gc
from kubewright.keys import builder_digest
from kubewright.model.lockfile import Lock, LockedToolchain, dump_lock, load_lock
from kubewright.model.settings import host_platform
from kubewright.project import Component, Project
from kubewright.report import Progress
from kubewright.sandbox import Result, Spec
from kubewright.store import IN_USE

QUIET = Progress("gc")


@pytest.fixture
def built(tmp_path: Path) -> ProjectBuilder:
    """Two components, built and rebuilt; what the store holds beside that belongs to nobody."""
    made = ProjectBuilder(tmp_path / "project").component("runc").component("containerd", inputs=["runc"]).lock()
    for name in ("runc", "containerd"):
        made.rebuilt(made.record(name))
    return made


def files(root: Path) -> set[str]:
    """Every file that is not a lock."""
    found = (path.relative_to(root) for path in root.rglob("*") if not path.is_dir())
    return {str(path) for path in found if path.parts[0] != "locks"}


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# -- builds -------------------------------------------------------------------------------------------------------


def test_a_store_of_current_builds_stays_as_it_is(built: ProjectBuilder) -> None:
    project = built.project()
    before = files(project.store.root)
    assert gc(project, QUIET) == []
    assert files(project.store.root) == before


def test_what_an_older_lock_built_goes(built: ProjectBuilder) -> None:
    before = files(built.project().store.root)
    old = {name: built.project().component(name).key for name in ("runc", "containerd")}
    built.component("runc", "1.1.0").lock()  # containerd takes runc's output, so its key changes as well
    built.record("runc")
    project = built.project()

    removed = gc(project, QUIET)

    assert {each.what for each in removed} == {"build records and lists", "outputs, logs and packages"}
    assert not files(project.store.root) & {path for path in before if path.startswith("refs/")}
    assert all(record.load(project.store, key) is None for key in old.values())
    found = record.load(project.store, project.component("runc").key)
    assert found is not None
    assert all(project.store.has(digest) for digest in (*found.digests().values(), found.log))


def test_bytes_and_counts_are_those_of_the_files(built: ProjectBuilder) -> None:
    project = built.project()
    put(project.store.root / "trees/git-abc/a", "12345")
    put(project.store.root / "trees/git-abc/b/c", "12345")
    assert [str(each) for each in gc(project, QUIET)] == ["unpacked trees: 1, 0.0 MB"]
    assert not (project.store.root / "trees/git-abc").exists()


def test_a_dry_run_says_the_same_and_removes_nothing(built: ProjectBuilder) -> None:
    built.component("runc", "1.1.0").lock()
    put(built.project().store.root / "damaged" / f"{hexadecimal('d')}-1795000000")
    project = built.project()
    before = files(project.store.root)
    said = gc(project, QUIET, dry_run=True)
    assert files(project.store.root) == before
    assert said == gc(project, QUIET)
    assert said
    assert gc(project, QUIET) == []


def test_other_platforms_of_a_recipe_are_needed(tmp_path: Path) -> None:
    made = ProjectBuilder(tmp_path).component("etcd", platforms=["linux/amd64", "linux/arm64"]).lock()
    arm = made.record("etcd", platform="linux/arm64")
    assert gc(made.project(), QUIET) == []
    assert record.load(made.project().store, arm.key) == arm


def test_a_component_newer_than_its_lock_keeps_its_builds(built: ProjectBuilder) -> None:
    key = built.project().component("runc").key
    built.component("runc", "1.1.0")
    project = built.project()
    gc(project, QUIET)
    found = record.load(project.store, key)
    assert found is not None
    assert project.store.has(found.log)
    assert project.store.get_json("modules", record.key_name(key)) is not None


def test_a_recipe_that_is_gone_needs_nothing(built: ProjectBuilder) -> None:
    key = built.project().component("containerd").key
    shutil.rmtree(built.root / "recipes/containerd")
    project = built.project()
    gc(project, QUIET)
    assert record.load(project.store, key) is None
    assert record.load(project.store, project.component("runc").key) is not None


def test_refs_of_kinds_that_it_does_not_know_stay(built: ProjectBuilder) -> None:
    project = built.project()
    project.store.put_json("attestation", "x", {"a": 1})
    assert gc(project, QUIET) == []
    assert project.store.get_json("attestation", "x") == {"a": 1}


def test_a_damaged_record_goes_with_what_it_named(built: ProjectBuilder) -> None:
    project = built.project()
    key = record.key_name(project.component("runc").key)
    found = record.load(project.store, key)
    assert found is not None
    path = project.store.path(project.store.ref("record", key) or "")
    path.chmod(0o644)
    path.write_text("{}")
    gc(project, QUIET)
    # the rebuild's record has the same outputs; its own log blob is the first build's
    assert project.store.has(next(iter(found.digests().values())))
    assert record.load(project.store, key) is None
    assert not list((project.store.root / "damaged").glob("*"))


# -- what it must not touch ---------------------------------------------------------------------------------------


def test_without_a_lock_nothing_is_removed(built: ProjectBuilder) -> None:
    (built.root / "lockfile.toml").unlink()
    project = built.project()
    before = files(project.store.root)
    with pytest.raises(LockOutdatedError, match=r"no lockfile\.toml"):
        gc(project, QUIET)
    assert files(project.store.root) == before


def test_with_an_unreadable_lock_nothing_is_removed(built: ProjectBuilder) -> None:
    built.write("lockfile.toml", "version = 1\n<<<<<<< ours\n")
    project = built.project()
    before = files(project.store.root)
    with pytest.raises(LockError):
        gc(project, QUIET)
    assert files(project.store.root) == before


def test_what_has_not_the_form_of_ours_stays(built: ProjectBuilder) -> None:
    """KUBEWRIGHT_STORE may name a folder that has other things in it."""
    root = built.project().store.root
    others = ["git/my-project/HEAD", "trees/oak/leaf", "logs/diary.txt", "go/src/main.go", "blobs/ab/photo.jpg", "damaged/car"]
    for path in others:
        put(root / path)
    gc(built.project(), QUIET)
    assert set(others) <= files(root)


# -- inputs -------------------------------------------------------------------------------------------------------


def test_inputs_that_the_lock_names_stay_and_others_go(built: ProjectBuilder) -> None:
    built.confirmed("runc", "a" * 40).lock()
    built.record("runc")
    project = built.project()
    root, cache = project.store.root, module_cache(project.store)
    toolchain = f"golang.org/toolchain@{toolchain_version('1.26.8', 'linux/amd64')}/bin/go"
    stays = [
        f"go/mod/{toolchain}",
        "go/mod/example.org/runc@v1.0.0/main.go",
        "go/mod/example.org/dependency@v0.3.1/x.go",
        *(f"go/mod/cache/download/example.org/runc/@v/v1.0.0.{kind}" for kind in ("zip", "ziphash", "mod", "info", "lock")),
        "go/mod/cache/download/sumdb/sum.example.org/latest",
        "git/" + repository_name("https://git.example.org/runc") + "/HEAD",
        "go/build-cache/" + builder_digest(project.lock.builders["go"]).removeprefix("sha256:")[:24] + "/aa/bb",
    ]
    goes = [
        "go/mod/example.org/runc@v0.9.0/main.go",
        "go/mod/github.com/!azure/thing@v1.0.0/deep/er/main.go",
        "go/mod/cache/download/example.org/runc/@v/v0.9.0.zip",
        "go/mod/cache/download/github.com/!azure/thing/@v/v1.0.0.mod",
        "go/mod/cache/vcs/abc/HEAD",
        "go/list-cache/aa/bb",
        "go/cgo-cache/aaaaaaaaaaaaaaaaaaaaaaaa/runc-1/bb/cc",
        "go/build-cache/aaaaaaaaaaaaaaaaaaaaaaaa/bb/cc",
        f"trees/source-tree-{hexadecimal('x')}/file",
        "trees/root-aaaaaaaaaaaaaaaaaaaaaaaa/bin/sh",
        "git/old-0123456789ab.git/HEAD",
        "incoming/123-abc",
        f"damaged/{hexadecimal('d')}-1795000000",
    ]
    for path in (*stays, *goes):
        put(root / path)
    put(cache / "cache/download/example.org/runc/@v/list", "v0.9.0\nv1.0.0\n")
    gc(project, QUIET)
    there = files(root)
    assert set(stays) <= there
    assert not there & set(goes)
    assert (cache / "cache/download/example.org/runc/@v/list").read_text() == "v1.0.0\n"
    assert not (cache / "github.com").exists()
    assert not (cache / "cache/download/github.com").exists()


def test_modules_that_nobody_listed_yet_stay_as_far_as_go_sum_has_them(tmp_path: Path) -> None:
    made = ProjectBuilder(tmp_path).component("runc", requires={"example.org/later": "v2.0.0"}).lock()
    project = made.project()
    kept = put(module_cache(project.store) / "example.org/later@v2.0.0/x.go")
    gone = put(module_cache(project.store) / "example.org/later@v1.9.0/x.go")
    gc(project, QUIET)
    assert kept.exists()
    assert not gone.exists()


def test_go_mod_files_of_go_sum_stay_without_their_modules(built: ProjectBuilder) -> None:
    built.component("runc", requires={"example.org/only/mod": "v1.0.0"}).lock()
    built.record("runc")  # lists the modules that are used: this one is not
    folder = module_cache(built.project().store) / "cache/download/example.org/only/mod/@v"
    mod, info, whole = (put(folder / f"v1.0.0.{kind}") for kind in ("mod", "info", "zip"))
    gc(built.project(), QUIET)
    assert mod.exists()
    assert info.exists()
    assert not whole.exists()


def test_logs_of_failed_builds_stay_for_a_week(built: ProjectBuilder) -> None:
    root = built.project().store.root
    new, old = put(root / "logs/runc-1.log"), put(root / "logs/runc-0.log")
    week_ago = time.time() - collect.LOGS_KEPT - 10
    os.utime(old, (week_ago, week_ago))
    gc(built.project(), QUIET)
    assert new.exists()
    assert not old.exists()


# -- other processes ----------------------------------------------------------------------------------------------


def _hold(root: Path, ready: multiprocessing.synchronize.Event, go_on: multiprocessing.synchronize.Event) -> None:
    with ProjectBuilder(root).project().store.lock(IN_USE, "building", shared=True):
        ready.set()
        go_on.wait(30)


def test_it_waits_for_builds(built: ProjectBuilder) -> None:
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    build = context.Process(target=_hold, args=(built.root, ready, go_on))
    build.start()
    assert ready.wait(30)
    garbage = put(built.project().store.root / "trees/git-abc/file")
    collector = context.Process(target=_collect, args=(built.root,))
    collector.start()
    time.sleep(1.5)
    assert garbage.exists()
    go_on.set()
    collector.join(30)
    build.join(30)
    assert collector.exitcode == 0
    assert not garbage.exists()


def _collect(root: Path) -> None:
    gc(Project(root, {"KUBEWRIGHT_STORE": str(root / "store"), "KUBEWRIGHT_PLATFORM": "linux/amd64"}), QUIET)


@pytest.mark.parametrize("after", range(0, 40, 3))
def test_killed_at_any_moment_it_leaves_what_is_needed_and_the_next_run_finishes(built: ProjectBuilder, after: int) -> None:
    project = built.project()
    store = project.store.root
    needed = files(store)
    for number in range(8):
        put(store / f"trees/git-{number}/deep/file")
        put(store / f"trees/git-{number}/file")
        put(module_cache(project.store) / f"example.org/m@v1.{number}.0/x.go")
        project.store.put_json("record", hexadecimal(f"old{number}"), {"component": "runc", "key": f"sha256:{number}"})
    child = os.fork()
    if child == 0:
        _die_after(after)
        gc(project, QUIET)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or after > 30
    assert needed <= files(store)
    for path in (store / "trees").glob("git-*"):
        assert {each.name for each in path.rglob("*")} == {"deep", "file"}, "a tree that looks whole and is not"
    gc(built.project(), QUIET)
    assert files(store) == needed


def _die_after(operations: int) -> None:
    """Let this process kill itself at its n-th change of the file system."""
    left = operations

    def counting(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    for name in ("rename", "unlink", "rmdir", "replace"):
        setattr(os, name, counting(getattr(os, name)))


# -- the proof: everything still builds, without origins -----------------------------------------------------------


@dataclasses.dataclass
class Host:
    """A back end that isolates nothing: the store is what is tested here."""

    name: str = "host"

    def usable(self) -> None:
        return None

    def run(self, spec: Spec, output: Callable[[bytes], None]) -> Result:
        done = subprocess.run(spec.argv, cwd=spec.cwd, env=dict(spec.env), capture_output=True)
        output(done.stdout + done.stderr)
        return Result(done.returncode, 0.1, ("time",))


DEPENDENCY = {"go.mod": "module example.org/dependency\n\ngo 1.20\n", "d.go": 'package dependency\n\nconst Text = "VERSION"\n'}
PROGRAM = {
    "go.mod": "module example.org/tool\n\ngo 1.20\n\nrequire example.org/dependency v1.1.0\n",
    "main.go": 'package main\n\nimport "example.org/dependency"\n\nfunc main() { println(dependency.Text) }\n',
}
GO_MOD = "module kubewright.local/tool\n\ngo 1.24\n\nrequire example.org/tool v1.0.0\n\ntool example.org/tool\n"
RECIPE = """\
name = "tool"
version = "1.0.0"
summary = "A Go program"
licence = "Apache-2.0"
builder = "go"
[[source]]
form = "module"
module = "example.org/tool"
[[source]]
name = "data"
form = "tree"
git = "file://REPOSITORY"
tag = "v1"
[[step]]
go.commands = { tool = "example.org/tool" }
[[step]]
run = ["cp", "src/data/file", "out/file"]
[[output]]
path = "tool"
[[output]]
path = "file"
kind = "file"
"""


@pytest.fixture
def origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A proxy with a program, its dependency and an older one, and a git repository."""
    folder = tmp_path / "origins"
    for version in ("v1.0.0", "v1.1.0"):
        dependency = {name: text.replace("VERSION", version) for name, text in DEPENDENCY.items()}
        publish(folder / "proxy", "example.org/dependency", version, dependency)
    publish(folder / "proxy", "example.org/tool", "v1.0.0", PROGRAM)
    repository = folder / "repository"
    put(repository / "file", "data\n")
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x")
    git(repository, "tag", "v1")
    for name, value in environment(folder / "proxy").items():
        monkeypatch.setenv(name, value)
    return folder


def locked(tmp_path: Path, origins: Path) -> Project:
    """The project with a lock that was made by hand: what ``./doit lock`` finds at these origins."""
    made = ProjectBuilder(tmp_path / "project").recipe("tool", RECIPE.replace("REPOSITORY", str(origins / "repository")))
    made.write("recipes/tool/go.mod", GO_MOD)
    project = Project(made.root, {"KUBEWRIGHT_STORE": str(tmp_path / "store")})
    toolchain_module = f"golang.org/toolchain@{toolchain_version('1.26.8', host_platform())}"
    goroot = borrowed_goroot(module_cache(project.store) / toolchain_module)
    client = GoClient(goroot, project.store)
    assert client(["mod", "tidy"], made.root / "recipes/tool").returncode == 0

    lock = load_lock(made.lock().root / "lockfile.toml")
    toolchain = LockedToolchain(host_platform(), "1.26.8", dirhash_dir(goroot, toolchain_module))
    program, data = lock.components["tool"].sources
    program = dataclasses.replace(program, h1=download(client, program.module, program.version).h1)
    commit, tree = (git(origins / "repository", "rev-parse", name) for name in ("v1", "v1^{tree}"))
    put(tmp_path / "plain/file", "data\n")
    data = dataclasses.replace(data, commit=commit, tree=tree, sha256=sha256_hex(tree_digest(tmp_path / "plain")))
    component = dataclasses.replace(lock.components["tool"], sources=(program, data))
    builder = dataclasses.replace(lock.builders["go"], toolchains=(toolchain,))
    made.write("lockfile.toml", dump_lock(Lock(components={"tool": component}, builders={"go": builder})))
    return Project(made.root, {"KUBEWRIGHT_STORE": str(tmp_path / "store")})


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=True).stdout.strip()


def build(project: Project, directory: Path) -> dict[str, bytes]:
    """Fetch and build with the functions of real builds."""
    component: Component = project.component("tool", host_platform())
    inputs = ensure_inputs(project, component, QUIET)
    assert inputs.goroot is not None
    layout = Layout(str(directory), str(module_cache(project.store)), str(inputs.goroot), str(directory) + "-cache")
    log = Log.create(directory.parent, "log", QUIET)
    run_steps(Execution(project, component, inputs, Host(), Setting(layout=layout), directory, log), {})
    return {path.name: path.read_bytes() for path in (directory / "out").iterdir()}


def test_after_it_everything_builds_without_origins(tmp_path: Path, origins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = locked(tmp_path, origins)
    first = build(project, tmp_path / "first")
    cache = module_cache(project.store)
    client = GoClient(cache / f"golang.org/toolchain@{toolchain_version('1.26.8', host_platform())}", project.store)
    download(client, "example.org/dependency", "v1.0.0", check_sumdb=False)
    assert (cache / "example.org/dependency@v1.0.0").is_dir()

    gone = {each.what for each in gc(project, QUIET)}
    assert {"Go modules", "Go downloads"} <= gone
    assert not (cache / "example.org/dependency@v1.0.0").exists()
    assert list((project.store.root / "trees").glob("source-tree-*"))
    assert (cache / "cache/download/example.org/dependency/@v/list").read_text() == "v1.1.0\n"

    shutil.rmtree(origins)
    monkeypatch.setenv("GOPROXY", "off")
    again = Project(project.root, {"KUBEWRIGHT_STORE": str(project.store.root)})
    assert build(again, tmp_path / "second").keys() == first.keys()
    # a changed recipe has another key, and so no module list yet: go has to resolve anew from what was kept
    again.store.drop_ref("modules", keys_name(again.component("tool", host_platform())))
    assert build(again, tmp_path / "third")["file"] == first["file"]


# -- clean --------------------------------------------------------------------------------------------------------


def test_clean_removes_artifacts_of_the_named_or_of_all(built: ProjectBuilder) -> None:
    put(built.root / "artifacts/runc/1.0.0/linux-amd64/runc")
    put(built.root / ".kubewright/seen/runc-1.0.0-linux-amd64.json")
    put(built.root / "artifacts/containerd/1.0.0/linux-amd64/containerd")
    project = built.project()
    assert clean(project, ["runc"]) == [built.root / "artifacts/runc"]
    assert files(built.root / "artifacts") == {"containerd/1.0.0/linux-amd64/containerd"}
    assert clean(project, []) == [built.root / "artifacts"]
    assert clean(project, []) == []
    assert files(built.root / ".kubewright") == set()


def test_clean_leaves_what_was_signed_unless_it_is_named(built: ProjectBuilder) -> None:
    for name in ("runc/1.0.0/linux-amd64/runc", "attestations/runc/1.0.0/linux-amd64/x", "release/lockfile.toml"):
        put(built.root / "artifacts" / name)
    project = built.project()
    assert clean(project, []) == [built.root / "artifacts/runc"]
    assert clean(project, ["attestations", "release"]) == [
        built.root / "artifacts/attestations",
        built.root / "artifacts/release",
    ]


@pytest.mark.parametrize("name", ["runk", "..", ".seen", "../recipes", ""])
def test_clean_refuses_what_is_no_component(built: ProjectBuilder, name: str) -> None:
    put(built.root / "artifacts/.seen/x.json")
    with pytest.raises(UsageError):
        clean(built.project(), [name])
    assert (built.root / "recipes").is_dir()
    assert (built.root / "artifacts/.seen/x.json").exists()


def test_clean_takes_artifacts_of_a_recipe_that_is_gone(built: ProjectBuilder) -> None:
    put(built.root / "artifacts/old/1.0.0/linux-amd64/old")
    assert clean(built.project(), ["old"]) == [built.root / "artifacts/old"]
