"""``kubewright mirror serve``: files of the mirror, and nothing else."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kubewright.mirror.errors import ServeError
from kubewright.mirror.serve import make_server

Serve = Callable[[Path], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mirror"
    for name, text in {
        "index.json": "{}", "go/example.org/!m/@v/list": "v1\n", "wheels/index.html": "<a>", ".lock": "x", "go/.x.tmp": "x",
        "deb/pool/a_1.0+b1~rc1.deb": "deb", "k.git/info/refs": "refs",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "linked").symlink_to(tmp_path)
    return root


def ask(url: str, target: str, method: str = "GET") -> tuple[int, bytes, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.putrequest(method, target, skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers.get("Content-Type", "")


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/index.json", b"{}"),
        ("/go/example.org/!m/@v/list", b"v1\n"),
        ("/go/example.org/%21m/%40v/list", b"v1\n"),
        ("/wheels/", b"<a>"),
        ("/wheels/index.html", b"<a>"),
        ("/deb/pool/a_1.0+b1~rc1.deb", b"deb"),
        ("/k.git/info/refs?service=git-upload-pack", b"refs"),
    ],
)
def test_files_are_given_out(folder: Path, serve_folder: Serve, target: str, body: bytes) -> None:
    assert ask(serve_folder(folder), target)[:2] == (200, body)


@pytest.mark.parametrize(
    "target",
    [
        "/", "/go", "/go/", "/nothing", "/wheels", "/link", "/linked/secret", "/.lock", "/go/.x.tmp", "/../secret",
        "/%2e%2e/secret", "/go/../index.json", "/go%2f..%2findex.json", "//etc/passwd", "/index.json%00", "/%ff", "index.json",
        "http://127.0.0.1/index.json", "*",
    ],
)  # fmt: skip
def test_nothing_else_is(folder: Path, serve_folder: Serve, target: str) -> None:
    status, body, _ = ask(serve_folder(folder), target)
    assert status == 404
    assert b"secret" not in body


def test_it_cannot_be_written_to(folder: Path, serve_folder: Serve) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(serve_folder(folder), "/index.json", method)[0] == 501


def test_head_has_no_body(folder: Path, serve_folder: Serve) -> None:
    assert ask(serve_folder(folder), "/index.json", "HEAD")[:2] == (200, b"")


def test_types(folder: Path, serve_folder: Serve) -> None:
    url = serve_folder(folder)
    found = {
        target: ask(url, target)[2] for target in ("/index.json", "/wheels/", "/k.git/info/refs", "/deb/pool/a_1.0+b1~rc1.deb")
    }
    assert list(found.values()) == [
        "application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/octet-stream",
    ]  # fmt: skip


def test_a_port_that_is_taken(folder: Path) -> None:
    with make_server(folder, port=0) as server:
        port = server.server_address[1]
        with pytest.raises(ServeError, match=f"cannot listen on 127.0.0.1 port {port}") as caught:
            make_server(folder, port=port)
    assert caught.value.exit_code == 156


def test_the_command_listens_on_loopback_until_it_is_ended(folder: Path) -> None:
    command = [sys.executable, "-m", "kubewright", "mirror", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        try:
            assert url.startswith("http://127.0.0.1:")
            assert ask(url, "/index.json")[:2] == (200, b"{}")
        finally:
            process.terminate()
