"""Ends in the middle: kills in every stage, Ctrl-C, two runs at once, a server and a daemon that go away."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import goproxy
import pytest
from dockerd import Daemon, NoDaemonError
from workshop import Workshop, until

from kubewright.errors import NetworkError, SandboxError

Serve = Callable[[type[BaseHTTPRequestHandler]], str]
PR_SET_CHILD_SUBREAPER = 36


class Children:
    """Orphans of what a test starts become ours, so that none can hide."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.before = self._now()

    def _now(self) -> set[int]:
        found = set()
        for task in Path("/proc/self/task").iterdir():
            found |= {int(pid) for pid in (task / "children").read_text().split()}
        return found

    def left(self) -> list[str]:
        """Command lines of the processes that are still there, without those that have ended by now."""
        names = []
        for pid in self._now() - self.before:
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    names.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        return names

    def none_left(self, seconds: float = 20) -> None:
        until(lambda: not self.left(), "the end of every process", seconds)


@pytest.fixture
def children() -> Iterator[Children]:
    found = Children()
    yield found
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def slow(content: bytes, seconds: float) -> type[BaseHTTPRequestHandler]:
    """A file that comes in twenty pieces, in so many seconds."""

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            piece = len(content) // 20 + 1
            for start in range(0, len(content), piece):
                self.wfile.write(content[start : start + piece])
                time.sleep(seconds / 20)

        def log_message(self, *_: object) -> None:
            pass

    return Slow


def tar_of(content: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("top/file")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


HELLO = 'package main\n\nimport "example.org/helper"\n\nfunc main() { println(helper.Word) }\n'

EVERYTHING = """
[[source]]
name = "repository"
form = "tree"
git = "{git}"
[[source]]
name = "archive"
form = "archive"
url = "{url}/x.tar"
[[source]]
name = "module"
form = "module"
module = "example.org/module"
unpack = true
[[overlay]]
from = "tool"
to = "tool"
[[step]]
run = ["{{build}}/tool", "sleep", "1"]
[[step]]
run = ["{{build}}/tool", "folder", "out/tree"]
[[step]]
run = ["{{build}}/tool", "copy", "src/archive/file", "out/tree/file"]
[[step]]
run = ["{{build}}/tool", "copy", "src/module/file", "out/module"]
[[step]]
run = ["{{build}}/tool", "copy", "tool", "out/x"]
[[output]]
path = "x"
[[output]]
path = "tree"
kind = "tree"
[[output]]
path = "module"
kind = "file"
[[smoke]]
run = ["x", "sleep", "1"]
expect = ["asleep"]
"""


@pytest.fixture
def everything(shop: Workshop, serve: Serve) -> Workshop:
    """A component x that goes through every stage; locked, and then its inputs dropped from the store."""
    origin = shop.git("repository", {f"{number}": os.urandom(50_000) for number in range(20)})
    files = {"go.mod": "module example.org/module\n\ngo 1.26.0\n", "file": "m" * 500_000}
    goproxy.publish(shop.folder / "origins/go", "example.org/module", "v1.0.0", files)
    url = serve(slow(tar_of(os.urandom(2_000_000)), 0.4))
    shop.recipe("x", EVERYTHING.format(git=origin.url, url=url), builder="go")
    shop.write("recipes/x/tool", (shop.tools[0].parent / "tool").read_bytes(), 0o755)
    shop.doit("lock:x")
    shop.empty_store()
    return shop


STAGES = ["toolchain", "source repository", "source archive", "modules", "sources", "build 1/5", "build 4/5"]
STAGES += ["outputs", "smoke", "record", "artifacts/"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_in_each_stage(everything: Workshop, children: Children, stage: str) -> None:
    shop = everything
    process = shop.start("build:x")
    assert process.stdout is not None
    while line := process.stdout.readline():
        if line.startswith(f"build:x: {stage}"):
            break
    assert line, "it ended without that stage"
    time.sleep({"source archive": 0.3, "build 1/5": 0.5, "smoke": 0.5}.get(stage, 0.0))
    process.kill()
    process.wait()
    process.stdout.close()
    if stage != "artifacts/":
        assert not shop.artifact("x").exists()
        assert not shop.artifact("x", "tree").exists()
    shop.doit("build:x")
    children.none_left()
    shop.tidy()
    assert shop.artifact("x", "module").read_text() == "m" * 500_000
    assert len(shop.artifact("x", "tree/file").read_bytes()) == 2_000_000
    assert "1 cached" in shop.doit("build:x").out


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_any_moment(everything: Workshop, children: Children, seed: int) -> None:
    """Again and again, each run going on from what the one before it left."""
    shop = everything
    for number in range(4):
        process = shop.start("build:x")
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.25 + 0.37 * number + 0.11 * seed)
        process.kill()
        process.communicate()
    shop.doit("build:x")
    children.none_left()
    shop.tidy()
    assert shop.artifact("x", "module").read_text() == "m" * 500_000


@pytest.mark.parametrize("name", ["module", "helper"])
def test_a_module_that_go_had_not_finished_to_unpack(everything: Workshop, name: str) -> None:
    """go dies as well when the machine does: it marks what it unpacks until it is whole."""
    shop = everything
    proxy = shop.folder / "origins/go"
    for module, other in (("helper", ""), ("hello", "helper")):
        text = "package helper\n\nconst Word = 1\n" if module == "helper" else HELLO
        require = f"\nrequire example.org/{other} v1.0.0\n" if other else ""
        files = {"go.mod": f"module example.org/{module}\n\ngo 1.26.0\n{require}", "x.go": text}
        goproxy.publish(proxy, f"example.org/{module}", "v1.0.0", files)
    body = (
        '[[source]]\nform = "module"\nmodule = "example.org/hello"\n[[step]]\ngo.commands = { hello = "example.org/hello" }\n'
    )
    shop.recipe("hello", body + '[[output]]\npath = "hello"\n', builder="go")
    shop.doit("lock:hello")
    component = "x" if name == "module" else "hello"
    shop.doit(f"fetch:{component}")
    unpacked = shop.store / f"go/mod/example.org/{name}@v1.0.0"
    (unpacked / "go.mod").unlink()
    (shop.store / f"go/mod/cache/download/example.org/{name}/@v/v1.0.0.partial").touch()
    shop.doit(f"build:{component}")
    assert (unpacked / "go.mod").exists()


def test_a_kill_while_locking(everything: Workshop, children: Children) -> None:
    shop = everything
    before = (shop.root / "lockfile.toml").read_bytes()
    for delay in (0.3, 0.6, 0.9, 1.2):
        process = shop.start("lock:x")
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        process.kill()
        process.communicate()
        assert (shop.root / "lockfile.toml").read_bytes() == before
    assert "nothing changes" in shop.doit("lock:x").out
    children.none_left()
    assert list(shop.root.rglob("*.tmp")) == []


# -- Ctrl-C -------------------------------------------------------------------------------------------------------


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    while line := process.stdout.readline():
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.parametrize("stage", ["source archive", "build 1/5", "smoke"])
@pytest.mark.parametrize("how", ["terminal", "process", "terminate"])
def test_an_interrupt_ends_everything(everything: Workshop, children: Children, how: str, stage: str) -> None:
    """A terminal tells the whole group of processes; ``kill -INT`` and ``kill`` tell the first one."""
    shop = everything
    process = shop.start("build:x")
    wait_for(process, f"build:x: {stage}")
    time.sleep(0.2)
    if how == "terminal":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT if how == "process" else signal.SIGTERM)
    done = shop.finished(process, 130)
    assert "interrupted; what is finished is kept" in done.err
    assert done.err.count("\n") <= 3, done.err
    children.none_left(5)
    shop.built_nothing("x")


def test_an_interrupt_ends_parallel_builds(everything: Workshop, children: Children) -> None:
    shop = everything
    shop.small("y", ["tool", "sleep", "60"])
    shop.doit("lock:y")
    shop.stack("x", "y")
    process = shop.start("-n", "2", "build")
    wait_for(process, "build:x: build 1/5")
    os.killpg(process.pid, signal.SIGINT)
    done = shop.finished(process, 130)
    assert "interrupted; what is finished is kept" in done.err
    children.none_left(5)
    shop.built_nothing("x")


# -- two at once --------------------------------------------------------------------------------------------------


def test_two_runs_at_once(everything: Workshop) -> None:
    shop = everything
    first = shop.start("build:x")
    wait_for(first, "build:x: toolchain")
    second = shop.start("build:x")
    done = shop.finished(second)
    assert f"waiting for process {first.pid} (" in done.out
    assert "which is building x 1.0.0 linux/amd64" in done.out
    assert "build 1/5" not in done.out
    assert "1 done" in shop.finished(first).out
    shop.tidy()


def test_two_components_with_the_same_inputs_at_once(shop: Workshop, serve: Serve) -> None:
    source = f'[[source]]\nname = "src"\nform = "archive"\nurl = "{serve(slow(tar_of(b"content"), 0.6))}/x.tar"\n'
    for name in ("x", "y"):
        shop.small(name, ["tool", "copy", "src/src/file", f"out/{name}"], source=source)
    shop.doit("-n", "2", "lock:x", "lock:y")
    shop.empty_store()
    running = [shop.start(f"build:{name}") for name in ("x", "y", "x", "y")]
    for process in running:
        shop.finished(process)
    assert shop.artifact("x").read_text() == shop.artifact("y").read_text() == "content"
    shop.tidy()


# -- what goes away -----------------------------------------------------------------------------------------------


def test_the_network_goes_half_way(shop: Workshop) -> None:
    """A server that dies in the middle of a download; when it is back, the download goes through."""
    from http.server import ThreadingHTTPServer

    content = tar_of(os.urandom(1_000_000))
    broken = threading.Event()
    broken.clear()

    class Dying(slow(content, 0.1)):  # type: ignore[misc]
        def do_GET(self) -> None:  # noqa: N802
            if not broken.is_set():
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            server.server_close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dying)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    source = f'[[source]]\nname = "src"\nform = "archive"\nurl = "http://127.0.0.1:{server.server_port}/x.tar"\n'
    shop.small("x", ["tool", "copy", "src/src/file", "out/x"], source=source)
    shop.write("settings.toml", (shop.root / "settings.toml").read_text().replace("retries = 0", "retries = 1"))
    shop.doit("lock:x")
    shop.empty_store()
    broken.set()
    done = shop.doit("build:x", status=NetworkError.exit_code)
    assert f"http://127.0.0.1:{server.server_port}/x.tar cannot be fetched" in done.err
    assert "(2 attempts)" in done.err
    shop.built_nothing("x")
    server.shutdown()
    broken.clear()
    with ThreadingHTTPServer(("127.0.0.1", server.server_port), Dying) as back:
        threading.Thread(target=back.serve_forever, args=(0.01,), daemon=True).start()
        shop.doit("build:x")
        back.shutdown()


def test_the_docker_daemon_goes_half_way(shop: Workshop, children: Children) -> None:
    try:
        daemon = Daemon()
        daemon.start()
    except NoDaemonError as error:
        if os.environ.get("KUBEWRIGHT_TEST_DOCKER") == "required":
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        shop.small("x", ["tool", "sleep", "20"], ["tool", "write", "out/x", "hello"])
        shop.doit("lock:x")
        docker = {"KUBEWRIGHT_SANDBOX": "docker", "DOCKER_HOST": daemon.host}
        process = shop.start("build:x", **docker)
        wait_for(process, "build:x: build 1/2")
        time.sleep(1.5)
        daemon.kill()
        done = shop.finished(process, SandboxError.exit_code)
        assert f"the docker daemon at {daemon.host} went away" in done.err
        assert "start it again and repeat the command" in done.err
        shop.built_nothing("x")
        done = shop.doit("build:x", status=SandboxError.exit_code, **docker)
        assert f"no docker daemon answers at {daemon.host}" in done.err
        daemon.start()
        shop.edit("recipes/x/recipe.toml", '"sleep", "20"', '"sleep", "0"')
        shop.doit("build:x", **docker)
        import docker as engine

        client = engine.DockerClient(base_url=daemon.host)
        assert client.containers.list(all=True) == []
        client.close()
    finally:
        daemon.stop()
    shop.tidy()
