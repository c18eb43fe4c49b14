"""A docker daemon for tests: the machine's own where one answers, else Debian's dockerd, started in a temporary directory.

python tests/sandbox/dockerd.py COMMAND...     runs COMMAND with DOCKER_HOST set, and ends the daemon after it
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SOCKET = Path("/var/run/docker.sock")
_QUIET = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


class NoDaemonError(Exception):
    """No daemon answers and none can be started; the message says why."""


class Daemon:
    """dockerd with everything of its own below one temporary directory."""

    def __init__(self) -> None:
        if shutil.which("dockerd") is None:
            raise NoDaemonError("dockerd is not installed (apt-get install docker.io)")
        if os.geteuid() != 0:
            raise NoDaemonError("only root can start dockerd")
        self.folder = Path(tempfile.mkdtemp(prefix="kubewright-dockerd-"))
        self.host = f"unix://{self.folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folder = self.folder
        command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--host", self.host]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--pidfile", f"{folder}/pid", *_QUIET], stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(600):
            if _answers(folder / "docker.sock"):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        last = (folder / "log").read_text(errors="replace").splitlines()[-3:]
        raise NoDaemonError("dockerd does not start: " + " | ".join(last))

    def kill(self) -> None:
        """As if it crashed: containers stay behind until it is started again."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        containerd = self.folder / "exec" / "containerd" / "containerd.pid"
        with suppress(ProcessLookupError):
            os.kill(int(containerd.read_text()), signal.SIGKILL)
        for path in (self.folder / "pid", containerd):  # nobody else removes them, and the next daemon believes them
            path.unlink()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._process.kill()
            self._process.wait()
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            point = line.split(" ")[4]
            if point.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def daemon() -> Iterator[str]:
    """The DOCKER_HOST of a daemon to test with. Raises NoDaemonError."""
    if os.environ.get("DOCKER_HOST"):
        yield os.environ["DOCKER_HOST"]
    elif _answers(_SOCKET):
        yield f"unix://{_SOCKET}"
    else:
        started = Daemon()
        try:
            started.start()
            yield started.host
        finally:
            started.stop()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in client.recv(4096)
        except OSError:
            return False


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with daemon() as address:
        return subprocess.run(sys.argv[1:], env={**os.environ, "DOCKER_HOST": address}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
