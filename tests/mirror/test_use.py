"""The other side: every input from the mirror, from a folder and over HTTP, with no origin left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from site_world import QUIET, Site, tree

from kubewright.errors import MirrorLacksError, NetworkError, OriginError, UsageError
from kubewright.files.digest import tree_digest
from kubewright.mirror.check import check_mirror
from kubewright.project import Project

Serve = Callable[[Path], str]
REPOSITORY = Path(__file__).parents[2]


def test_without_mirror_and_origins_there_is_nothing(mirrored: Site) -> None:
    """The control: the tests below do not find their inputs elsewhere."""
    with pytest.raises((OriginError, NetworkError)):
        mirrored.inputs("")


@pytest.mark.parametrize("over_http", [False, True], ids=["folder", "http"])
def test_every_input_comes_from_the_mirror(mirrored: Site, serve_folder: Serve, over_http: bool) -> None:
    mirrored.copy()
    found = mirrored.inputs(serve_folder(mirrored.mirror) if over_http else str(mirrored.mirror))
    assert [module.path for module in found.modules] == ["example.org/Patched", "example.org/dependency", "example.org/tool"]
    assert (found.trees["data"] / "file").read_text() == "data\n"
    assert (found.trees["headers"] / "a.h").read_text() == "#a\n\n"
    assert found.root is not None
    assert tree_digest(found.root) == tree_digest(mirrored.folder / "root")
    assert found.goroot is not None
    assert (found.goroot / "VERSION").read_text() == "x\n"


def test_go_asks_nobody_even_where_the_user_s_settings_would_let_it(mirrored: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOPROXY", "GOSUMDB", "GONOPROXY", "GOPRIVATE"):
        monkeypatch.setenv(
            name, "http://127.0.0.1:1/" if name == "GOPROXY" else "*" if name != "GOSUMDB" else "sum.example.org"
        )
    mirrored.inputs(str(mirrored.mirror))


def test_what_is_in_the_store_is_not_asked_for(mirrored: Site) -> None:
    mirrored.inputs(str(mirrored.mirror), "kept")
    mirrored.mirror.rename(mirrored.folder / "gone")
    mirrored.inputs(str(mirrored.mirror), "kept")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("go/example.org/dependency/@v/v1.1.0.zip", "module example.org/dependency v1.1.0"),
        ("go/example.org/dependency/@v/v1.1.0.mod", "module example.org/dependency v1.1.0"),
        ("go/golang.org/toolchain/@v/*.zip", "module golang.org/toolchain v0.0.1-go1.26.8"),
        ("deb/**/*.deb", "package tools 1.0+b1~rc1"),
        ("archives/*/*.tar", "archives/"),
        ("git/**/objects/pack/*.pack", "a git repository"),
        ("index.json", "index.json"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_adds_it(mirrored: Site, pattern: str, says: str) -> None:
    mirrored.file(pattern).unlink()
    with pytest.raises(MirrorLacksError) as caught:
        mirrored.inputs(str(mirrored.mirror))
    assert says in caught.value.message
    assert "./doit mirror:STACK" in caught.value.remedy
    assert caught.value.exit_code == 150


def test_several_missing_files_are_counted(mirrored: Site) -> None:
    for path in mirrored.mirror.glob("go/example.org/*/@v/*.zip"):
        path.unlink()
    with pytest.raises(MirrorLacksError, match=r"lacks go/example\.org/.*\.zip"):
        mirrored.inputs(str(mirrored.mirror))


def test_a_mirror_that_is_not_there(mirrored: Site) -> None:
    with pytest.raises(MirrorLacksError, match="there is no mirror at /nowhere") as caught:
        mirrored.inputs("/nowhere")
    assert "KUBEWRIGHT_MIRROR" in caught.value.remedy


def test_origins_for_what_it_lacks_where_that_is_allowed(site: Site) -> None:
    site.write()
    for pattern in ("go/example.org/dependency/@v/v1.1.0.zip", "deb/**/*.deb", "archives/*/*.tar", "git/**/*.pack"):
        site.file(pattern).unlink()
    with pytest.raises(MirrorLacksError):
        site.inputs(str(site.mirror))
    assert len(site.inputs(str(site.mirror), mirror_only=False).modules) == 3


def test_a_mirror_of_a_mirror(mirrored: Site) -> None:
    mirrored.write(
        KUBEWRIGHT_MIRROR=str(mirrored.mirror),
        KUBEWRIGHT_MIRROR_TO=str(mirrored.folder / "second"),
        KUBEWRIGHT_STORE=str(mirrored.folder / "empty"),
    )
    assert check_mirror(mirrored.folder / "second", QUIET).modules == 4
    first, second = tree(mirrored.mirror), tree(mirrored.folder / "second")
    same = {path for path in first if not path.startswith(("git/", "kubewright.git/", "index"))}
    assert {path: first[path] for path in same} == {path: second[path] for path in same}


@pytest.mark.parametrize("task", ["lock:tool", "outdated"])
def test_what_asks_origins_says_so(mirrored: Site, task: str) -> None:
    from kubewright.building.mirrored import require_origins

    project = Project(mirrored.root, {"KUBEWRIGHT_MIRROR": str(mirrored.mirror)})
    with pytest.raises(UsageError, match="asks origins") as caught:
        require_origins(project, f"./doit {task}")
    assert "mirror_only = false" in caught.value.remedy
    for name in ("dodo.py", "pyproject.toml"):
        (mirrored.root / name).write_bytes((REPOSITORY / name).read_bytes())
    import os

    env = {**os.environ, "KUBEWRIGHT_MIRROR": str(mirrored.mirror), "KUBEWRIGHT_STORE": "store", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-m", "doit", task], cwd=mirrored.root, env=env, capture_output=True, text=True)
    assert done.returncode == UsageError.exit_code, done.stdout + done.stderr
    assert "asks origins" in done.stderr
