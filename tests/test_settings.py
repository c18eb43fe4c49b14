from __future__ import annotations

import platform
from pathlib import Path

import pytest

from kubewright.errors import RecipeError
from kubewright.model.settings import Settings, host_platform, load_settings

FIXTURES = Path(__file__).parent / "data" / "project"
HOME = {"HOME": "/home/someone"}


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_settings(tmp_path, HOME) == Settings(
        root=tmp_path,
        store=Path("/home/someone/.cache/kubewright"),
        platform=host_platform(),
        mirror_to=tmp_path / "artifacts/mirror",
    )


def test_the_file_says_everything() -> None:
    assert load_settings(FIXTURES, HOME) == Settings(
        root=FIXTURES,
        store=FIXTURES / "../store",
        sandbox="docker",
        stack="edge",
        platform="linux/arm64",
        debian_archives=("https://archive.example.org/debian", "file:///srv/debian"),
        git_mirrors={"https://git.example.org/": "file:///srv/git/"},
        mirror="https://mirror.example.org/kubewright",
        mirror_only=False,
        mirror_to=Path("/media/usb/mirror"),
        memory=4294967296,
        time_limit=600,
        retries=1,
    )


def test_the_environment_wins() -> None:
    environ = {
        "KUBEWRIGHT_SANDBOX": "bubblewrap",
        "KUBEWRIGHT_STORE": "/srv/store",
        "KUBEWRIGHT_STACK": "other",
        "KUBEWRIGHT_PLATFORM": "linux/amd64",
    }
    settings = load_settings(FIXTURES, environ)
    assert (settings.sandbox, settings.store) == ("bubblewrap", Path("/srv/store"))
    assert (settings.stack, settings.platform) == ("other", "linux/amd64")


def test_the_signing_key_is_relative_to_the_project(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('signing_key = "keys/site.key"\n')
    assert load_settings(tmp_path, HOME).signing_key == tmp_path / "keys/site.key"
    elsewhere = {**HOME, "KUBEWRIGHT_SIGNING_KEY": "/run/keys/second.key"}
    assert load_settings(tmp_path, elsewhere).signing_key == Path("/run/keys/second.key")
    (tmp_path / "settings.toml").unlink()
    assert load_settings(tmp_path, HOME).signing_key is None


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("", ""),
        ("/media/usb", "file:///media/usb"),
        ("/media/usb/", "file:///media/usb"),
        ("../mirror", "file:///srv/mirror"),
        ("/a folder", "file:///a%20folder"),
        ("http://mirror.example.org/k/", "http://mirror.example.org/k"),
        ("file:///media/usb/", "file:///media/usb"),
    ],
)
def test_a_mirror_is_a_folder_or_a_url(written: str, url: str) -> None:
    assert load_settings(Path("/srv/checkout"), {**HOME, "KUBEWRIGHT_MIRROR": written}).mirror == url


@pytest.mark.parametrize("written", ["ssh://host/x", "file://host/x", "ftp://host"])
def test_a_mirror_that_is_neither(written: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a mirror is a folder, or an http, https or file URL"):
        load_settings(tmp_path, {**HOME, "KUBEWRIGHT_MIRROR": written})


def test_an_empty_variable_is_none() -> None:
    assert load_settings(FIXTURES, {**HOME, "KUBEWRIGHT_SANDBOX": ""}).sandbox == "docker"


@pytest.mark.parametrize(
    ("environ", "store"),
    [
        ({**HOME, "XDG_CACHE_HOME": "/var/cache/me"}, Path("/var/cache/me/kubewright")),
        ({**HOME, "XDG_CACHE_HOME": "relative"}, Path("/home/someone/.cache/kubewright")),
        ({**HOME, "XDG_CACHE_HOME": ""}, Path("/home/someone/.cache/kubewright")),
        ({"KUBEWRIGHT_STORE": "here"}, Path("here")),
    ],
)
def test_where_the_store_is(environ: dict[str, str], store: Path, tmp_path: Path) -> None:
    assert load_settings(tmp_path, environ).store == tmp_path / store


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("KUBEWRIGHT_SANDBOX", "dokcer", 'environment variable KUBEWRIGHT_SANDBOX: expected "bubblewrap" or "docker"'),
        ("KUBEWRIGHT_PLATFORM", "amd64", "environment variable KUBEWRIGHT_PLATFORM: 'amd64' is not a platform"),
        ("KUBEWRIGHT_STACK", "a b", "environment variable KUBEWRIGHT_STACK: 'a b' is not a name"),
        ("KUBEWRIGHT_STORE", " ", "environment variable KUBEWRIGHT_STORE: is empty"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        load_settings(tmp_path, {**HOME, variable: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sandbx = "docker"', r"settings\.toml:1: sandbx: unknown key"),
        ('sandbox = "podman"', r"settings\.toml:1: sandbox: expected"),
        ("\nmemory = 1024", r"settings\.toml:2: memory: 1024 is less than 16777216"),
        ("time_limit = 0", r"settings\.toml:1: time_limit: 0 is less than 1"),
        ('time_limit = "1h"', r"settings\.toml:1: time_limit: expected an integer, found a string: '1h'"),
        ('[git_mirrors]\n"github.com" = "x"', r"settings\.toml:2: git_mirrors\.\"github\.com\": 'github\.com' is not"),
    ],
)
def test_a_wrong_file_is_an_error_with_line_and_key(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_settings(tmp_path, HOME)
    if "sandbx" in text:
        assert caught.value.remedy.startswith("did you mean 'sandbox'?")


def test_a_machine_that_nothing_is_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(RecipeError, match="linux/riscv64"):
        host_platform()


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("arm64", "linux/arm64")])
def test_machines_are_named_as_go_names_them(machine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert host_platform() == name
