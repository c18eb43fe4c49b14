"""The newest release of a source, from real origins: a GOPROXY in a folder, git repositories on disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from goproxy import environment, publish
from project_builder import ProjectBuilder

from kubewright.lock.outdated import Release, newest_of, order, outdated, releases
from kubewright.report import Progress

QUIET = Progress("outdated")


# -- ordering -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "candidates", "newest"),
    [
        ("v1.2.3", ["v1.2.9", "v1.2.10", "v1.2.4"], "v1.2.10"),
        ("v1.2.3", ["v1.2.2", "v0.9.0"], "v1.2.3"),
        ("v1.37.1+k3s1", ["v1.37.1+k3s2", "v1.37.0+k3s9"], "v1.37.1+k3s2"),
        ("v1.37.1+k3s9", ["v1.37.1+k3s10", "v1.37.1+k3s2"], "v1.37.1+k3s10"),
        ("v1.37.1+k3s1", ["v1.37.1-rc1+k3s1", "v1.38.0-rc1+k3s1"], "v1.37.1+k3s1"),
        ("1.28.0+rke2r1", ["1.28.0+rke2r2"], "1.28.0+rke2r2"),
        ("v2.0.0", ["v2.1.0-rc.1", "v2.1.0-alpha.0"], "v2.0.0"),
        ("v2.0.0-rc.1", ["v2.0.0-rc.2", "v2.0.0-beta.9"], "v2.0.0-rc.2"),
        ("v2.0.0-rc.1", ["v2.0.0-rc.2", "v2.0.0"], "v2.0.0"),
        ("v1.0.0", ["v2.0.0+incompatible", "v1.1.0"], "v1.1.0"),
        ("v2.0.0+incompatible", ["v2.1.0+incompatible"], "v2.1.0+incompatible"),
        ("v1.0.0", ["nightly", "v1.0.1-0.20240101000000-0123456789ab", "latest"], "v1.0.0"),
        ("v0.0.0-20240101000000-0123456789ab", ["v1.0.0"], None),
    ],
)
def test_the_newest_release(current: str, candidates: list[str], newest: str | None) -> None:
    assert newest_of(current, candidates) == newest


def test_what_is_no_version_has_no_order() -> None:
    assert order("release-1.2") is None
    assert order("v1.0.0-20240101000000-0123456789ab") is None


# -- origins ------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "proxy"
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    return folder


def go_module(proxy: Path, name: str, *versions: str) -> None:
    for version in versions:
        publish(proxy, f"example.org/{name}", version, {"go.mod": f"module example.org/{name}\n\ngo 1.20\n"})


def repository(path: Path, *tags: str) -> str:
    path.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "."], cwd=path, check=True)
    commit = ["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(["git", *commit], cwd=path, check=True)
    for tag in tags:
        subprocess.run(["git", "tag", tag], cwd=path, check=True)
    return f"file://{path}"


def tree_recipe(name: str, version: str, url: str, tag: str) -> str:
    return (
        f'name = "{name}"\nversion = "{version}"\nsummary = "A tree"\nlicence = "MIT"\nbuilder = "go"\n'
        f'[[source]]\nform = "tree"\ngit = "{url}"\ntag = "{tag}"\n'
        f'[[step]]\nrun = ["true"]\n[[output]]\npath = "{name}"\n'
    )


def test_modules_and_git_repositories(tmp_path: Path, proxy: Path) -> None:
    go_module(proxy, "old", "v1.0.0", "v1.2.0", "v1.3.0-rc.1")
    go_module(proxy, "current", "v1.0.0")
    made = ProjectBuilder(tmp_path / "project").component("current").component("old")
    k3s = repository(tmp_path / "k3s", "v1.37.1+k3s1", "v1.37.1+k3s2", "v1.38.0-rc1+k3s1", "other/v9.0.0")
    made.recipe("k3s", tree_recipe("k3s", "1.37.1+k3s1", k3s, "v{version}"))
    sub = repository(tmp_path / "sub", "sub/v0.1.0", "sub/v0.2.0", "v7.0.0")
    made.recipe("sub", tree_recipe("sub", "0.1.0", sub, "sub/v{version}"))

    found = {each.component: (each.current, each.newest, each.newer) for each in releases(made.project(), QUIET)}

    assert found == {
        "current": ("v1.0.0", "v1.0.0", False),
        "old": ("v1.0.0", "v1.2.0", True),
        "k3s": ("v1.37.1+k3s1", "v1.37.1+k3s2", True),
        "sub": ("sub/v0.1.0", "sub/v0.2.0", True),
    }


def test_a_tag_that_is_not_of_the_components_version(tmp_path: Path, proxy: Path) -> None:
    """pause 3.10.2 is built from Kubernetes v1.37.2."""
    url = repository(tmp_path / "kubernetes", "v1.37.2", "v1.38.0")
    made = ProjectBuilder(tmp_path / "project").recipe("pause", tree_recipe("pause", "3.10.2", url, "v1.37.2"))
    (found,) = releases(made.project(), QUIET)
    assert (found.current, found.newest) == ("v1.37.2", "v1.38.0")


def test_origins_that_cannot_be_asked_are_said_and_not_fatal(tmp_path: Path, proxy: Path) -> None:
    go_module(proxy, "old", "v1.0.0", "v1.2.0")
    made = ProjectBuilder(tmp_path / "project").component("old").component("lost")
    made.recipe("gone", tree_recipe("gone", "1.0.0", f"file://{tmp_path}/nowhere", "v{version}"))
    found = outdated(made.project(), QUIET)
    assert [each.component for each in found] == ["old", "gone", "lost"]
    old, gone, lost = map(str, found)
    assert old == "old: v1.0.0 -> v1.2.0 (example.org/old)"
    assert gone.startswith(f"gone: v1.0.0 (file://{tmp_path}/nowhere) not reachable: ")
    assert lost.startswith("lost: v1.0.0 (example.org/lost) not reachable: ")


def test_a_mirror_is_asked_first(tmp_path: Path, proxy: Path) -> None:
    repository(tmp_path / "mirror/k3s", "v1.0.0", "v1.1.0")
    made = ProjectBuilder(tmp_path / "project")
    made.recipe("k3s", tree_recipe("k3s", "1.0.0", "https://git.example.org/k3s", "v{version}"))
    made.write("settings.toml", f'git_mirrors = {{ "https://git.example.org/" = "file://{tmp_path}/mirror/" }}\n')
    (found,) = releases(made.project(), QUIET)
    assert found.newest == "v1.1.0"


def test_archives_list_nothing(tmp_path: Path, proxy: Path) -> None:
    text = tree_recipe("x", "1.0.0", "https://git.example.org/x", "v{version}")
    text = text.replace(
        'form = "tree"\ngit = "https://git.example.org/x"\ntag = "v{version}"',
        'form = "archive"\nurl = "https://example.org/x.tar.gz"',
    )
    (found,) = outdated(ProjectBuilder(tmp_path / "project").recipe("x", text).project(), QUIET)
    assert found.newest == ""
    assert "archive" in found.reason


def test_one_origin_of_several_components_is_asked_once(tmp_path: Path, proxy: Path) -> None:
    go_module(proxy, "kubectl", "v1.0.0", "v1.1.0")
    made = ProjectBuilder(tmp_path / "project").component("kubectl")
    text = (made.root / "recipes/kubectl/recipe.toml").read_text()
    made.recipe("kubelet", text.replace('name = "kubectl"', 'name = "kubelet"'))
    found = outdated(made.project(), QUIET)
    assert [(each.component, each.newest) for each in found] == [("kubectl", "v1.1.0"), ("kubelet", "v1.1.0")]


def test_everything_current_is_an_empty_list(tmp_path: Path, proxy: Path) -> None:
    go_module(proxy, "current", "v1.0.0")
    assert outdated(ProjectBuilder(tmp_path / "project").component("current").project(), QUIET) == []


def test_how_a_release_reads() -> None:
    assert str(Release("a", "a", "example.org/a", "v1", "v1")) == "a: v1 (example.org/a) is the newest"
