"""Mirrors that somebody tampered with, and servers that misbehave: nothing of theirs gets in, and nobody waits for ever."""

from __future__ import annotations

import json
import socket
import time
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_world import QUIET, Site

from kubewright.errors import IntegrityError, KubewrightError, MirrorIndexError, MirrorLacksError, NetworkError
from kubewright.fetch import http
from kubewright.fetch.gomodule import Module, module_cache
from kubewright.fetch.mirror import Mirror, bring_modules
from kubewright.fetch.mirrorindex import Index, dump, parse
from kubewright.mirror.check import check_mirror
from kubewright.mirror.errors import MirrorDamagedError
from kubewright.project import Project
from kubewright.store import Store
from kubewright.verify.errors import UnsafeSetError

ServeHandler = Callable[[type[BaseHTTPRequestHandler]], str]
TOOL, DEPENDENCY = "go/example.org/tool/@v/v1.0.0.zip", "go/example.org/dependency/@v/v1.1.0.zip"


def swap_modules(root: Path) -> None:
    (root / TOOL).replace(root / "x")
    (root / DEPENDENCY).replace(root / TOOL)
    (root / "x").replace(root / DEPENDENCY)


def other_go_mod(root: Path) -> None:
    path = root / "go/example.org/dependency/@v/v1.1.0.mod"
    path.write_text("module example.org/dependency\n\ngo 1.20\n\nrequire example.org/evil v1.0.0\n")


def other_deb(root: Path) -> None:
    [path] = root.glob("deb/**/*.deb")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def truncate_zip(root: Path) -> None:
    (root / TOOL).write_bytes((root / TOOL).read_bytes()[:-30])


def no_zip_at_all(root: Path) -> None:
    (root / TOOL).write_bytes(b"<html>Please log in</html>")


def bomb(root: Path) -> None:
    with zipfile.ZipFile(root / TOOL, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(6):
            archive.writestr(f"example.org/tool@v1.0.0/{number}", b"\0" * (100 << 20))


def other_archive(root: Path) -> None:
    [path] = root.glob("archives/*/*.tar")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def other_toolchain(root: Path) -> None:
    [path] = root.glob("go/golang.org/toolchain/@v/*.zip")
    version = path.name.removesuffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"golang.org/toolchain@{version}/bin/go", "#!/bin/sh\ntouch /tmp/evil\n")


def link_out(root: Path) -> None:
    (root.parent / "secret").write_bytes((root / TOOL).read_bytes())
    (root / TOOL).unlink()
    (root / TOOL).symlink_to(root.parent / "secret")


def holes(root: Path) -> None:
    (root / TOOL).unlink()
    with (root / TOOL).open("wb") as file:
        file.truncate(1 << 42)


TAMPERED = [
    swap_modules,
    other_go_mod,
    other_deb,
    truncate_zip,
    no_zip_at_all,
    bomb,
    other_archive,
    other_toolchain,
    link_out,
]


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda function: function.__name__)
def test_other_bytes_do_not_get_in(mirrored: Site, tamper: Callable[[Path], None]) -> None:
    root = mirrored.copy()
    tamper(root)
    with pytest.raises(IntegrityError) as caught:
        mirrored.inputs(str(root), "tampered")
    assert caught.value.remedy
    store = mirrored.folder / "tampered"
    wrong = {path.read_bytes() for path in root.rglob("*") if path.is_file()} - original_bytes(mirrored)
    assert not wrong & {path.read_bytes() for path in store.rglob("*") if path.is_file()}, "it is in the store"
    assert not list((store / "work").glob("*"))


def original_bytes(site: Site) -> set[bytes]:
    return {path.read_bytes() for path in (site.folder / "mirror").rglob("*") if path.is_file()}


@pytest.mark.parametrize("tamper", [*TAMPERED, holes], ids=lambda function: function.__name__)
def test_check_finds_all_of_it(mirrored: Site, tamper: Callable[[Path], None]) -> None:
    root = mirrored.copy()
    tamper(root)
    with pytest.raises((MirrorDamagedError, UnsafeSetError)) as caught:
        check_mirror(root, QUIET)
    assert caught.value.remedy


@pytest.mark.parametrize("tamper", TAMPERED[:-1], ids=lambda function: function.__name__)
def test_check_finds_it_even_with_an_index_that_fits(mirrored: Site, tamper: Callable[[Path], None]) -> None:
    """Without a policy the index is anybody's word; the pins of the lock are not."""
    root = mirrored.copy()
    tamper(root)
    rewrite_index(root)
    with pytest.raises(MirrorDamagedError, match="its pin is"):
        check_mirror(root, QUIET)


def rewrite_index(root: Path, change: Callable[[Index], Index] = lambda index: index) -> None:
    """An index that lists what is there."""
    from kubewright.mirror.place import measured

    index = parse((root / "index.json").read_bytes(), "index.json")
    files = {path: measured(root / path, file.kind) for path, file in index.files.items() if (root / path).exists()}
    (root / "index.json").write_bytes(dump(change(Index(1, index.releases, files))))


def test_a_file_that_is_missing_from_folder_and_index(mirrored: Site) -> None:
    root = mirrored.copy()
    (root / DEPENDENCY).unlink()

    def forget(index: Index) -> Index:
        import dataclasses

        release = index.releases[0]
        files = tuple(path for path in release.files if path != DEPENDENCY)
        return dataclasses.replace(index, releases=(dataclasses.replace(release, files=files),))

    rewrite_index(root, forget)
    with pytest.raises(MirrorLacksError, match=DEPENDENCY):
        check_mirror(root, QUIET)


def test_a_lock_of_somebody_else(mirrored: Site) -> None:
    root = mirrored.copy()
    path = root / "release/lockfile.toml"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("source_date = ", "source_date = 1"))
    rewrite_index(root)
    with pytest.raises(MirrorDamagedError, match=r"release/lockfile\.toml is not that of commit"):
        check_mirror(root, QUIET)


def test_a_file_too_many(mirrored: Site) -> None:
    root = mirrored.copy()
    (root / "go/evil.zip").write_text("x")
    with pytest.raises(MirrorDamagedError, match=r"go/evil\.zip is not in index\.json"):
        check_mirror(root, QUIET)


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "a/../../b", "a//b", "./a", "a/.git/config", "a\\b", "a\nb"]
)
def test_paths_in_an_index_that_lead_elsewhere(mirrored: Site, path: str) -> None:
    root = mirrored.copy()
    data = json.loads((root / "index.json").read_bytes())
    data["files"][path] = {"kind": "repository", "sha256": "0" * 64, "size": 1}
    (root / "index.json").write_text(json.dumps(data))
    for use in (lambda: check_mirror(root, QUIET), lambda: mirrored.inputs(str(root))):
        with pytest.raises(MirrorIndexError):
            use()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "\xff", "[" * 100_000, '{"version": 1, "version": 1}'])
def test_an_index_that_is_none(mirrored: Site, text: str) -> None:
    root = mirrored.copy()
    (root / "index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(MirrorIndexError):
        check_mirror(root, QUIET)


WORDS = st.text("a./\\\n\0-", max_size=6) | st.sampled_from(["release", "go/a.zip", "0" * 64, "kubernetes", "module", "0" * 40])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    *((name,) for name in ("version", "releases", "files", "other")),
    *(("releases", 0, name) for name in ("folder", "stack", "commit", "sequence", "lock", "files", "other")),
    *(("files", "go/a.zip", name) for name in ("sha256", "size", "kind", "other")),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KEYS), VALUES)
def test_an_index_with_one_other_value_is_refused_or_comes_back_as_it_was(key: tuple[str | int, ...], value: object) -> None:
    file = {"sha256": "0" * 64, "size": 1, "kind": "module"}
    release = {
        "folder": "release",
        "stack": "kubernetes",
        "commit": "0" * 40,
        "sequence": 1,
        "lock": "0" * 64,
        "files": ["go/a.zip"],
    }
    data: Any = {"version": 1, "releases": [release], "files": {"go/a.zip": file}}
    assert json.loads(dump(parse(json.dumps(data).encode(), "x"))) == data
    inner = data
    for name in key[:-1]:
        inner = inner[name]
    inner[key[-1]] = value
    try:
        index = parse(json.dumps(data).encode(), "x")
    except MirrorIndexError:
        return
    assert json.loads(dump(index)) == data
    assert not [path for path in index.files if path.startswith("/") or ".." in path.split("/")]


def test_a_repository_whose_configuration_names_programs(mirrored: Site) -> None:
    """git never runs where the mirror could have a say in how."""
    root = mirrored.copy()
    mark = mirrored.folder / "ran"
    evil = f'[core]\n\tfsmonitor = "touch {mark}"\n\tsshCommand = "touch {mark}"\n\thooksPath = hooks\n'
    evil += "[extensions]\n\tpartialClone = o\n"
    evil += f'[remote "o"]\n\turl = file:///nowhere\n\tpromisor = true\n\tuploadpack = "touch {mark};"\n'
    for config in root.glob("**/*.git/config"):
        config.chmod(0o644)
        config.write_text(evil)
        hook = config.parent / "hooks/post-checkout"
        hook.parent.mkdir()
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    rewrite_index(root)
    mirrored.inputs(str(root))
    with pytest.raises(MirrorDamagedError, match="hooks/post-checkout is not in"):
        check_mirror(root, QUIET)
    assert not mark.exists()


def test_another_commit_under_the_pinned_tag(mirrored: Site) -> None:
    root = mirrored.copy()
    [tag] = root.glob("git/**/refs/tags/v1")
    older = mirrored.folder / "origins-that-were/data"
    from site_world import run

    tag.write_text(run(older, "rev-parse", "v1~1") + "\n")
    rewrite_index(root)
    with pytest.raises(KubewrightError, match=r"tag v1 of .* names"):
        mirrored.inputs(str(root))


# -- servers ------------------------------------------------------------------------------------------------------


def fetch_one(url: str, folder: Path) -> Store:
    store = Store(folder / "store")
    bring_modules(store, Mirror(url, retries=0), {("example.org/m", "v1.0.0"): "h1:x"}, {})
    return store


def kept(store: Path) -> list[Path]:
    return list((store / "go").rglob("*.zip"))


def test_a_body_without_end(tmp_path: Path, serve: ServeHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubewright.fetch import mirror

    monkeypatch.setattr(mirror, "MAX_ZIP", 10 << 20)
    sent = [0]

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            if self.path.endswith(".info"):
                self.wfile.write(b"{}")
                return
            while True:
                sent[0] += self.wfile.write(b"\0" * (1 << 20))

        def log_message(self, *arguments: object) -> None:
            pass

    with pytest.raises(IntegrityError, match="sends more than the 10485760 bytes that it may have"):
        fetch_one(serve(Endless), tmp_path)
    assert sent[0] < 40 << 20
    assert kept(tmp_path / "store") == []


def test_a_server_that_trickles(tmp_path: Path, tcp_server: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps a connection alive, not our patience."""
    original = http.download
    monkeypatch.setattr("kubewright.fetch.mirror.download", lambda *args, **named: original(*args, **{**named, "timeout": 1.0}))

    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            pass

    started = time.monotonic()
    with pytest.raises(NetworkError, match="bytes in 1 seconds"):
        fetch_one(f"http://127.0.0.1:{tcp_server(talk)}", tmp_path)
    assert time.monotonic() - started < 10


def test_a_server_that_says_nothing(tmp_path: Path, tcp_server: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    original = http.download
    monkeypatch.setattr("kubewright.fetch.mirror.download", lambda *args, **named: original(*args, **{**named, "timeout": 0.5}))
    with pytest.raises(NetworkError, match="no answer in time"):
        fetch_one(f"http://127.0.0.1:{tcp_server(lambda connection: time.sleep(5))}", tmp_path)


def test_a_password_in_the_address_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(NetworkError) as caught:
        fetch_one("http://me:secret@127.0.0.1:1", tmp_path)
    assert "secret" not in caught.value.message + caught.value.details


def test_a_module_that_was_swapped_is_not_left_for_go(mirrored: Site) -> None:
    root = mirrored.copy()
    swap_modules(root)
    with pytest.raises(IntegrityError):
        mirrored.inputs(str(root), "swapped")
    cache = module_cache(Project(mirrored.root, {"KUBEWRIGHT_STORE": str(mirrored.folder / "swapped")}).store)
    assert not (cache / Module("example.org/tool", "v1.0.0", "").directory).exists()
