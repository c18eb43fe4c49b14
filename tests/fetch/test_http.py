from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import free_port

from kubewright.errors import IntegrityError, NetworkError, OriginError
from kubewright.fetch.http import download, redact

DATA = os.urandom(1_500_000)
SHA256 = hashlib.sha256(DATA).hexdigest()

Serve = Callable[[type[BaseHTTPRequestHandler]], str]


class Server(BaseHTTPRequestHandler):
    """Gives out DATA. ``script`` says what each request gets: a status, ``cut`` or ``stall`` after half, ``good``."""

    protocol_version = "HTTP/1.1"
    script: ClassVar[list[str]] = []
    seen: ClassVar[list[str]] = []
    data: ClassVar[bytes] = DATA
    ranges: ClassVar[bool] = True

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Range") or "all")
        step = self.script.pop(0) if self.script else "good"
        if step.isdigit():
            self._head(int(step), 0)
            return
        start = self._start()
        if start >= len(self.data):
            self._head(416, 0)
            return
        body = self.data[start:]
        self._head(206 if start else 200, len(body), start)
        if step == "good":
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if step == "stall":
            time.sleep(5)
        self.close_connection = True

    def _start(self) -> int:
        wanted = self.headers.get("Range")
        return int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0

    def _head(self, status: int, length: int, start: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{start + length - 1}/{start + length}")
        if status == 302:
            self.send_header("Location", "/again")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def server(**changes: object) -> type[Server]:
    """A Server of its own: what it saw and what it has to do is not shared."""
    return type("Mine", (Server,), {"script": [], "seen": [], **changes})


def get(urls: str | list[str], target: Path, **options: object) -> Path:
    options = {"sha256": SHA256, "pause": 0.01, "timeout": 5.0, "retries": 2, **options}
    return download([urls] if isinstance(urls, str) else urls, target=target, **options)  # type: ignore[arg-type]


def test_a_file_is_in_place_once_its_digest_is_right(serve: Serve, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = get(serve(server()) + "/x", tmp_path / "in" / "x", progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == DATA
    assert [each.name for each in path.parent.iterdir()] == ["x"]
    assert told[0] == (0, len(DATA))
    assert told[-1] == (len(DATA), len(DATA))


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    assert get([], tmp_path / "x") == tmp_path / "x"


def test_a_connection_that_breaks_off_goes_on_where_it_was(serve: Serve, tmp_path: Path) -> None:
    mine = server(script=["cut", "cut"])
    assert get(serve(mine) + "/x", tmp_path / "x").read_bytes() == DATA
    half = len(DATA) // 2
    assert mine.seen == ["all", f"bytes={half}-", f"bytes={half + (len(DATA) - half) // 2}-"]


def test_a_silent_connection_is_given_up_and_goes_on(serve: Serve, tmp_path: Path) -> None:
    mine = server(script=["stall"])
    started = time.monotonic()
    get(serve(mine) + "/x", tmp_path / "x", timeout=0.5)
    assert time.monotonic() - started < 4
    assert mine.seen[1].startswith("bytes=")


def test_the_next_run_goes_on_where_the_last_one_ended(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"/x cannot be fetched: the connection broke off .* \(1 attempts\)"):
        get(serve(server(script=["cut"])) + "/x", tmp_path / "x", retries=0)
    assert (tmp_path / "x.part").stat().st_size == len(DATA) // 2
    mine = server()
    get(serve(mine) + "/x", tmp_path / "x")
    assert mine.seen == [f"bytes={len(DATA) // 2}-"]


def test_a_server_without_ranges_starts_again(serve: Serve, tmp_path: Path) -> None:
    mine = server(script=["cut"], ranges=False)
    assert get(serve(mine) + "/x", tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("left", [b"of another file", DATA + b"more", DATA, DATA[:-1] + b"?"])
def test_a_part_of_another_file_is_dropped(serve: Serve, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "x.part").write_bytes(left)
    assert get(serve(server()) + "/x", tmp_path / "x", size=len(DATA)).read_bytes() == DATA


@pytest.mark.parametrize("status", ["500", "502", "503", "429"])
def test_a_server_in_trouble_is_asked_again(serve: Serve, tmp_path: Path, status: str) -> None:
    assert get(serve(server(script=[status, status])) + "/x", tmp_path / "x").read_bytes() == DATA


def test_a_server_that_stays_in_trouble_is_given_up(serve: Serve, tmp_path: Path) -> None:
    mine = server(script=["503"] * 9)
    with pytest.raises(NetworkError, match=r"HTTP 503 \(3 attempts\)"):
        get(serve(mine) + "/x", tmp_path / "x")
    assert len(mine.seen) == 3


@pytest.mark.parametrize(("status", "words"), [("404", "is not there"), ("410", "is not there"), ("403", "was not given out")])
def test_a_file_that_is_not_there_is_asked_for_once(serve: Serve, tmp_path: Path, status: str, words: str) -> None:
    mine = server(script=[status])
    with pytest.raises(OriginError, match=f"/x {words}: HTTP {status}"):
        get(serve(mine) + "/x", tmp_path / "x")
    assert mine.seen == ["all"]


def test_wrong_bytes_show_both_digests_and_are_not_kept(serve: Serve, tmp_path: Path) -> None:
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    with pytest.raises(IntegrityError) as caught:
        get(serve(server(data=wrong)) + "/x", tmp_path / "x")
    assert SHA256 in caught.value.message
    assert hashlib.sha256(wrong).hexdigest() in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_locked_are_not_even_stored(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="more than the 1000 bytes"):
        get(serve(server()) + "/x", tmp_path / "x", size=1000)
    assert list(tmp_path.iterdir()) == []


def test_mirrors_are_tried_in_order(serve: Serve, tmp_path: Path) -> None:
    gone, wrong, good = server(script=["404"]), server(data=b"wrong"), server()
    nobody = f"http://127.0.0.1:{free_port()}"
    urls = [nobody + "/a", serve(gone) + "/b", serve(wrong) + "/c", serve(good) + "/d"]
    assert get(urls, tmp_path / "x", retries=0).read_bytes() == DATA
    assert good.seen == ["all"]


def test_the_failure_of_most_weight_is_raised_and_the_others_told(serve: Serve, tmp_path: Path) -> None:
    urls = [
        serve(server(script=["404"] * 9)) + "/gone",
        f"http://127.0.0.1:{free_port()}/dead",
        serve(server(data=b"?")) + "/wrong",
    ]
    with pytest.raises(IntegrityError, match="/wrong") as caught:
        get(urls, tmp_path / "x", retries=0)
    assert "/gone" in caught.value.details
    assert "/dead" in caught.value.details
    with pytest.raises(NetworkError, match="/dead"):
        get(urls[:2], tmp_path / "x", retries=0)


def test_without_a_pin_the_file_is_taken_as_it_is(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"never goes on from an unpinned part")
    assert get(serve(server(script=["cut"])) + "/x", tmp_path / "x", sha256=None).read_bytes() == DATA


def test_a_local_mirror_is_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(DATA)
    assert get(f"file://{tmp_path}/a%20b", tmp_path / "x").read_bytes() == DATA
    with pytest.raises(OriginError, match="is not there"):
        get(f"file://{tmp_path}/none", tmp_path / "y")


@pytest.mark.parametrize("url", ["ftp://h/x", "h/x", "http://", "http://[::1/x"])
def test_a_url_that_is_none_is_said_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(OriginError, match="not a usable"):
        get(url, tmp_path / "x")


def test_a_full_disk_is_not_taken_for_the_network(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "x.part").mkdir()
    with pytest.raises(IsADirectoryError):
        get(serve(server()) + "/x", tmp_path / "x")


def test_garbage_instead_of_http_is_the_network_s_fault(tcp: Callable[..., int], tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"SSH-2.0-x\r\n\r\n")
        connection.close()

    with pytest.raises(NetworkError):
        get(f"http://127.0.0.1:{tcp(talk)}/x", tmp_path / "x", retries=0)


# -- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [["404"], ["503"], ["cut"], ["302"] * 40, ["good"]])
def test_no_failure_shows_a_secret(serve: Serve, tmp_path: Path, script: list[str]) -> None:
    url = serve(server(script=script, data=b"wrong")).replace("//", "//user:hunter2@") + "/x?token=hunter3#hunter4"
    with pytest.raises((OriginError, NetworkError, IntegrityError)) as caught:
        get(url, tmp_path / "x", retries=0)
    chain: BaseException | None = caught.value
    while chain is not None:
        told = str(chain) + str(getattr(chain, "details", "")) + str(getattr(chain, "remedy", ""))
        assert "hunter" not in told
        chain = chain.__cause__
    assert "/x" in caught.value.message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h:8443/a/b?t=s#f", "https://h:8443/a/b"),
        ("https://h/a", "https://h/a"),
        ("http://u:p@[::1]:80/a", "http://[::1]:80/a"),
        ("git@h.example:a/b.git", "h.example:a/b.git"),
        ("ssh://git@h/a", "ssh://h/a"),
        ("file:///a/b", "file:///a/b"),
        ("https://u:p@h:port/a", "<unreadable URL>"),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(st.text("abSECRET:/@?#%[].", max_size=20), st.sampled_from(["https://", "ssh://", "git://"]))
def test_no_password_is_ever_shown(path: str, scheme: str) -> None:
    assert "hunter" not in redact(f"{scheme}user:hunter2@host/{path}")
    assert "hunter" not in redact(f"{scheme}host/{path.partition('#')[0]}?token=hunter3")
