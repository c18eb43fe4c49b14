"""``kubewright mirror serve``: files of the mirror, and nothing else."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kubewright.mirror import serve
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


# -- clients that mean harm -----------------------------------------------------------------------------------------


def raw(url: str, *pieces: bytes, wait: float = 0, patience: float = 10) -> bytes:
    """What comes back until the server closes, for bytes that are sent piece by piece."""
    parts = urlsplit(url)
    answer = b""
    where = (parts.hostname or "", parts.port or 0)
    with socket.create_connection(where, timeout=patience) as connection, contextlib.suppress(ConnectionError):
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(wait)
        while data := connection.recv(65536):
            answer += data
    return answer


ESCAPES = [
    "/%2e%2e/%2e%2e/secret", "/.%2e/secret", "/%2E./secret", "/..%2fsecret", "/..%2Fsecret", "/..%5csecret", "/..\\secret",
    "/%252e%252e/secret", "/%c0%ae%c0%ae/secret", "/%e0%80%ae%e0%80%ae/secret", "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/go/..;/secret", "/./index.json", "/go/./example.org/!m/@v/list", "/;/../secret", "/%2f..%2fsecret", "/%00/../secret",
    "/linked", "/linked/", "/linked/mirror/index.json", "/link/", "/link%00", "/inner/index.json", "/inner/wheels/",
    "/pipe", "/device", "/" + "a/" * 2040 + "a", "/" + "a" * 5000, "/index.json/", "/index.json/..", "/%u002e%u002e/secret",
    "file:///etc/passwd", "/?/../secret", "/#/../secret", "?", "#",
]  # fmt: skip


@pytest.mark.parametrize("target", ESCAPES)
def test_nothing_leads_out(folder: Path, serve_folder: Serve, target: str) -> None:
    (folder / "inner").symlink_to(folder)  # a link is not followed, wherever it leads
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    answer = raw(serve_folder(folder), f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] in (b"400", b"404"), answer[:200]
    assert b"secret" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "value",
    ["bytes=0-0", "bytes=-1", "bytes=5-1", "bytes=0-99999999999999999999", "bytes=" + "0-0," * 5000, "x", "bytes=0-,1-"],
)
def test_a_range_is_not_asked_for_here(folder: Path, serve_folder: Serve, method: str, value: str) -> None:
    """The whole file, once, whatever the range: RFC 9110 lets a server leave ranges out."""
    answer = raw(
        serve_folder(folder),
        f"{method} /index.json HTTP/1.1\r\nHost: x\r\nRange: {value}\r\nConnection: close\r\n\r\n".encode(),
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 2" in head
    assert body == (b"{}" if method == "GET" else b"")


@pytest.mark.parametrize(
    "header", ["Content-Length: 45", "Transfer-Encoding: chunked", "content-length: x", "Content-Length: -1"]
)
def test_what_comes_with_a_question_is_no_further_question(folder: Path, serve_folder: Serve, header: str) -> None:
    smuggled = b"GET /deb/pool/a_1.0+b1~rc1.deb HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(serve_folder(folder), f"GET /index.json HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode() + smuggled)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"deb" not in answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % at for at in range(200)) + b"\r\n", b"431"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"<script>alert(1)</script> / HTTP/1.1\r\n\r\n", b"501"),
    ],
)
def test_giant_and_broken_requests_end_early(folder: Path, serve_folder: Serve, request_: bytes, status: bytes) -> None:
    answer = raw(serve_folder(folder), request_)
    assert answer == b"" or status in answer[:400]
    assert b"<script>" not in answer.partition(b"\r\n\r\n")[2]
    assert ask(serve_folder(folder), "/index.json")[0] == 200


def test_a_request_that_trickles_is_cut_off(folder: Path, serve_folder: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then, each well before a socket's patience ends: the request as a whole has to be there in time."""
    monkeypatch.setattr(serve._Handler, "patience", 1.0)
    url = serve_folder(folder)
    start = time.monotonic()
    answer = raw(url, *[b"GET /index.json HTTP/1.1\r\n", *[b"X-%d: a\r\n" % at for at in range(60)]], wait=0.25, patience=30)
    assert b" 200 " not in answer
    assert time.monotonic() - start < 12
    assert ask(url, "/index.json")[0] == 200


def test_more_connections_than_there_is_room_for_are_closed(
    folder: Path, serve_folder: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_CONNECTIONS", 8)
    url = serve_folder(folder)
    where = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(socket.create_connection(where, timeout=20))
        for _ in range(20):
            with contextlib.suppress(ConnectionError):
                assert stack.enter_context(socket.create_connection(where, timeout=20)).recv(1) == b""
        assert threading.active_count() - before <= 8
    deadline = time.monotonic() + 20
    while True:  # the first ones have gone away: there is room again
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            assert ask(url, "/index.json")[0] == 200
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_client_that_goes_away_leaves_no_traceback(
    folder: Path, serve_folder: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "large").write_bytes(bytes(20 << 20))
    url = serve_folder(folder)
    for target in ("/large", "/nothing"):
        with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0), timeout=20) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
    assert ask(url, "/index.json")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_loopback_unless_told_otherwise_and_no_name_server_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(name: str = "") -> str:
        raise AssertionError("a name server was asked")

    monkeypatch.setattr(socket, "getfqdn", asked)
    with make_server(folder, port=0) as server:
        assert server.server_address[0] == "127.0.0.1"
    with make_server(folder, "0.0.0.0", port=0) as server:
        assert server.server_address[0] == "0.0.0.0"
