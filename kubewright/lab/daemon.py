"""The docker daemon of a lab: the one that answers, or Debian's dockerd with everything of its own below one folder.

Its sockets are in /run: a socket's path has 107 bytes at most, and where a checkout lies is not ours to say.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from kubewright.lab.errors import LabError

_SOCKET: Final = Path("/var/run/docker.sock")
_REMEDY: Final = "install docker.io and run this as root, or set DOCKER_HOST"


def connect(address: str) -> Any:
    """A client of the daemon at ``address`` that answers; None if there is none."""
    import docker

    with suppress(Exception):  # whatever keeps it from answering, it does not
        client = docker.DockerClient(base_url=address, timeout=120)
        client.ping()
        return client
    return None


def existing() -> tuple[str, Any] | None:
    """The daemon that the environment names, or the machine's own."""
    for address in (os.environ.get("DOCKER_HOST", ""), f"unix://{_SOCKET}" if _SOCKET.exists() else ""):
        client = connect(address) if address else None
        if client is not None:
            return address, client
    return None


def start(folder: Path) -> tuple[int, str, Any]:
    """Start dockerd with its data below ``folder``; its process, address and a client. Raises LabError."""
    program = shutil.which("dockerd")
    if program is None or os.geteuid() != 0:
        raise LabError("no docker daemon answers, and none can be started", remedy=_REMEDY)
    folder.mkdir(parents=True, exist_ok=True)
    sockets = sockets_of(folder)
    sockets.mkdir(mode=0o700, exist_ok=True)
    address = f"unix://{sockets}/docker.sock"
    places = ["--data-root", f"{folder}/data", "--exec-root", f"{sockets}/exec", "--pidfile", f"{folder}/pid"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [program, "--host", address, *places, "--bridge=none", "--ip6tables=false"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    for _ in range(300):
        client = connect(address)
        if client is not None:
            return process.pid, address, client
        if process.poll() is not None:
            break
        time.sleep(0.1)
    _end(process.pid)
    _unmount(folder)
    shutil.rmtree(sockets, ignore_errors=True)
    last = "\n".join((folder / "log").read_text(errors="replace").splitlines()[-5:])
    raise LabError("dockerd does not start", remedy=f"{folder}/log says more", details=last)


def sockets_of(folder: Path) -> Path:
    """Where the daemon with that folder has its sockets."""
    return Path("/run", "kubewright-lab-" + hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16])


def stop(process: int, folder: Path) -> None:
    """End a daemon that ``start`` started, and remove what it had."""
    _end(process)
    for place in (folder, sockets_of(folder)):
        _unmount(place)
        shutil.rmtree(place, ignore_errors=True)


def _end(process: int) -> None:
    if _is_dockerd(process):
        os.kill(process, signal.SIGTERM)
        for _ in range(300):
            if not _is_dockerd(process):
                break
            time.sleep(0.1)
        else:
            os.kill(process, signal.SIGKILL)


def _unmount(folder: Path) -> None:
    """What is mounted below the folder."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = line.split(" ")[4]
        if point.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", point], check=False)


def _is_dockerd(process: int) -> bool:
    with suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return Path(f"/proc/{process}/comm").read_text().strip() == "dockerd" and state != "Z"
    return False
