"""``./doit mirror``: what it writes, what it leaves alone, what a kill and a second run do to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from site_world import QUIET, Site, run, tree

from kubewright.errors import IntegrityError, MirrorIndexError, OriginError, TagMovedError
from kubewright.fetch.mirrorindex import parse
from kubewright.mirror.check import check_mirror
from kubewright.mirror.errors import MirrorTargetError, UncommittedError
from kubewright.mirror.place import opened
from kubewright.mirror.plan import Needs, Pinned
from kubewright.mirror.prune import prune
from kubewright.mirror.repositories import write_repositories


def test_it_holds_what_the_lock_names(site: Site) -> None:
    written = site.write()
    there = tree(site.mirror)
    assert {path for path in there if path.startswith("go/")} == {
        *(f"go/example.org/tool/@v/v1.0.0.{kind}" for kind in ("info", "mod", "zip")),
        *(f"go/example.org/dependency/@v/v1.1.0.{kind}" for kind in ("info", "mod", "zip")),
        *(f"go/example.org/!patched/@v/v1.0.0.{kind}" for kind in ("info", "mod", "zip")),
        *(f"go/golang.org/toolchain/@v/v0.0.1-go1.26.8.linux-amd64.{kind}" for kind in ("info", "mod", "zip")),
        *(f"go/{name}/@v/list" for name in ("example.org/tool", "example.org/dependency", "example.org/!patched")),
        "go/golang.org/toolchain/@v/list",
    }
    assert there["deb/pool/main/t/tools/tools_1.0+b1~rc1_amd64.deb"] == next(site.origins.rglob("*.deb")).read_bytes()
    assert next(data for path, data in there.items() if path.startswith("archives/")) == site.archive.read_bytes()
    assert there["release/lockfile.toml"] == (site.root / "lockfile.toml").read_bytes()
    assert there["release/digests.toml"] == (site.root / "digests.toml").read_bytes()
    assert len(there["README"].decode().strip().split("\n\n")[1].splitlines()) == 3
    index = parse(there.pop("index.json"), "index.json")
    assert index == written.index
    assert {path: file.size for path, file in index.files.items()} == {path: len(data) for path, data in there.items()}
    assert index.releases[0].commit == run(site.root, "rev-parse", "HEAD")
    assert index.releases[0].sequence == 1
    checked = check_mirror(site.mirror, QUIET)
    assert (checked.modules, checked.packages, checked.by) == (4, 1, ())


def test_a_second_run_writes_nothing(site: Site) -> None:
    site.write()

    def state() -> dict[str, tuple[int, int]]:
        files = [path for path in site.mirror.rglob("*") if path.is_file() and path.name != ".lock"]
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    before = state()
    again = site.write()
    assert (again.new, again.bytes) == (0, 0)
    assert state() == before


def test_files_of_the_store_are_links(site: Site) -> None:
    written = site.write()
    assert written.linked > 0
    assert site.file("deb/**/*.deb").stat().st_nlink == 2


def test_an_update_writes_what_changed_and_keeps_the_release_before(site: Site) -> None:
    site.write()
    first = tree(site.mirror)
    old_lock = (site.root / "lockfile.toml").read_bytes()
    site.lock("v1.1.0")
    update = site.write()
    second = tree(site.mirror)
    new = {path for path in second.keys() - first.keys() if path.endswith((".zip", ".deb", ".tar", ".whl"))}
    assert new == {"go/example.org/tool/@v/v1.1.0.zip", "go/example.org/dependency/@v/v1.2.0.zip"}
    assert {path for path in first if first[path] != second.get(path)} <= {
        "index.json", "release/lockfile.toml", "kubewright.git/refs/heads/main", "kubewright.git/info/refs",
        "kubewright.git/objects/info/packs", "go/example.org/tool/@v/list", "go/example.org/dependency/@v/list",
    }  # fmt: skip
    assert second["go/example.org/tool/@v/list"] == b"v1.0.0\nv1.1.0\n"
    current, kept = update.index.releases
    assert second[f"{kept.folder}/lockfile.toml"] == old_lock
    assert (current.folder, kept.folder.split("/")[0]) == ("release", "kept")
    check_mirror(site.mirror, QUIET)


def test_prune_drops_what_no_kept_release_names(site: Site) -> None:
    site.write()
    site.lock("v1.1.0")
    site.write()
    both = tree(site.mirror)
    assert prune(site.project(), site.mirror, 2, QUIET).files == 0
    assert tree(site.mirror) == both
    done = prune(site.project(), site.mirror, 1, QUIET)
    assert done.files > 0
    left = tree(site.mirror)
    gone = both.keys() - left.keys()
    assert {path for path in gone if path.endswith(".zip")} == {
        "go/example.org/tool/@v/v1.0.0.zip",
        "go/example.org/dependency/@v/v1.1.0.zip",
    }
    assert not any(path.startswith("kept/") for path in left)
    assert left["go/example.org/tool/@v/list"] == b"v1.1.0\n"
    check_mirror(site.mirror, QUIET)
    site.close_origins()
    site.inputs(str(site.mirror))


def test_prune_takes_away_what_is_not_in_the_index(site: Site) -> None:
    site.write()
    before = tree(site.mirror)
    (site.mirror / "go/left/over").mkdir(parents=True)
    (site.mirror / "go/left/over/x").write_text("x")
    prune(site.project(), site.mirror, 1, QUIET)
    assert tree(site.mirror) == before
    assert not (site.mirror / "go/left").exists()


# -- what it refuses ----------------------------------------------------------------------------------------------


def test_a_checkout_with_changes(site: Site) -> None:
    site.builder.write("stacks/kubernetes.toml", (site.root / "stacks/kubernetes.toml").read_text() + "\n")
    with pytest.raises(UncommittedError, match=r"stacks/kubernetes\.toml changed since commit"):
        site.write()
    run(site.root, "checkout", "-q", ".")
    site.builder.write("recipes/other/file", "new")
    with pytest.raises(UncommittedError, match="recipes/other"):
        site.write()


def test_a_folder_that_is_no_checkout(site: Site) -> None:
    (site.root / ".git").rename(site.folder / "git")
    with pytest.raises(UncommittedError, match="no git checkout"):
        site.write()


def test_a_folder_with_other_things_in_it(site: Site) -> None:
    site.mirror.mkdir()
    (site.mirror / "diary").write_text("dear diary")
    with pytest.raises(MirrorTargetError, match="holds something that is no mirror"):
        site.write()
    assert tree(site.mirror) == {"diary": b"dear diary"}


def test_a_module_of_the_store_that_was_changed(site: Site) -> None:
    site.write()
    path = site.folder / "store/go/mod/cache/download/example.org/tool/@v/v1.0.0.zip"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.unlink()
    path.write_bytes(data)
    site.environ["KUBEWRIGHT_MIRROR_TO"] = str(site.folder / "other")
    with pytest.raises(IntegrityError, match="its pin is h1:"):
        site.write()
    site.write()  # it has been taken out of the store, and fetched again
    check_mirror(site.folder / "other", QUIET)


# -- an index that somebody else wrote ----------------------------------------------------------------------------


def test_what_an_index_of_somebody_else_says_is_compared_anew(site: Site) -> None:
    """A file with as many bytes, and an index that fits it: nothing of that is carried on, let alone signed."""
    site.write()
    good = tree(site.mirror)
    evil = site.file("deb/**/*.deb")
    data = evil.read_bytes()
    evil.unlink()
    evil.write_bytes(data[:-1] + b"x")
    import hashlib

    index = site.mirror / "index.json"
    index.write_bytes(
        index.read_bytes().replace(site.package.sha256.encode(), hashlib.sha256(evil.read_bytes()).hexdigest().encode())
    )
    site.write()
    assert tree(site.mirror) == good


def test_a_mirror_that_another_machine_made_is_taken_on_file_by_file(site: Site) -> None:
    site.write()
    first = tree(site.mirror)
    site.copy()
    site.environ |= {"KUBEWRIGHT_STORE": str(site.folder / "another"), "KUBEWRIGHT_MIRROR_TO": str(site.mirror)}
    again = site.write()
    assert tree(site.mirror) == first
    assert again.bytes < 1000  # the .info files, which have no pin to compare with


def test_an_index_that_cannot_be_read(site: Site) -> None:
    site.write()
    (site.mirror / "index.json").write_text("{")
    with pytest.raises(MirrorIndexError):
        check_mirror(site.mirror, QUIET)
    site.write()
    check_mirror(site.mirror, QUIET)


# -- kills, and two at once ---------------------------------------------------------------------------------------


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

    for name in ("rename", "unlink", "rmdir", "replace", "link"):
        setattr(os, name, counting(getattr(os, name)))


@pytest.mark.parametrize("after", [0, 5, 20, 45, 70, 100, 130, 150])
def test_killed_at_any_moment_the_next_run_finishes_with_the_same_files(site: Site, after: int) -> None:
    site.write()
    whole = tree(site.mirror)
    site.environ["KUBEWRIGHT_MIRROR_TO"] = str(site.folder / "again")
    child = os.fork()
    if child == 0:
        _die_after(after)
        site.write()
        os._exit(0)
    os.waitpid(child, 0)
    left = tree(site.folder / "again") if (site.folder / "again").exists() else {}
    for path, data in left.items():
        if path in whole and "/.git" not in path and not path.startswith(("kubewright.git", "git/")):
            assert data == whole[path], f"{path} is not whole"
    site.write()
    found = tree(site.folder / "again")
    assert found.keys() == whole.keys()
    assert {path for path in whole if whole[path] != found[path]} <= {"index.json"}  # packs have the same objects, and names
    check_mirror(site.folder / "again", QUIET)


def _write(folder: Path, environ: dict[str, str]) -> None:
    site = Site.__new__(Site)
    site.root, site.environ = folder / "checkout", environ
    site.write()


def test_two_at_once(site: Site) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_write, args=(site.folder, site.environ)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(120)
    assert [each.exitcode for each in both] == [0, 0]
    check_mirror(site.mirror, QUIET)


# -- commits that no tag names --------------------------------------------------------------------------------------


def test_commits_of_branches_and_submodules_get_a_name_of_their_own(site: Site, tmp_path: Path) -> None:
    """A branch has moved on, and a submodule's commit was never at the tip of anything: both can be cloned from the mirror."""

    older = run(site.git, "rev-parse", "v1~1")
    url = f"file://{site.git}"
    needs = Needs(commits={Pinned(url, "refs/heads/main", older, "data"), Pinned(url, "", older, "data, sub")})
    with opened(site.mirror, QUIET, lambda root, data: True) as target:
        write_repositories(site.project(), needs, target, QUIET)
    [repository] = site.mirror.glob("git/**/*.git")
    run(tmp_path, "clone", "-q", "--branch", f"pinned-{older}", f"file://{repository}", "clone")
    assert run(tmp_path / "clone", "rev-parse", "HEAD") == older
    assert run(repository, "for-each-ref", "refs/all") == ""


def test_a_commit_that_an_origin_does_not_have(site: Site) -> None:

    needs = Needs(commits={Pinned(f"file://{site.git}", "refs/heads/main", "a" * 40, "data")})
    with opened(site.mirror, QUIET, lambda root, data: True) as target, pytest.raises(OriginError, match="a" * 40):
        write_repositories(site.project(), needs, target, QUIET)


def test_a_tag_that_moved(site: Site) -> None:
    run(site.git, "tag", "-f", "v1", "v1~1")
    with pytest.raises(TagMovedError, match="refs/tags/v1 of"):
        site.write()
