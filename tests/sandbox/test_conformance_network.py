"""The sandbox contract, held against each back end: no way out."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench import Bench

AF_PACKET, AF_VSOCK, AF_XDP = 17, 40, 44
RAW, STREAM = 3, 1


@contextmanager
def listener(family: socket.AddressFamily, kind: socket.SocketKind, address: str) -> Iterator[int]:
    """Answers every client with a byte; yields the port."""
    with socket.socket(family, kind) as server:
        server.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            server.listen()
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    if kind == socket.SOCK_STREAM:
                        with server.accept()[0] as client:
                            client.sendall(b"!")
                            client.recv(1)
                    else:
                        server.sendto(b"!", server.recvfrom(64)[1])
                except OSError:
                    pass

        server.settimeout(0.2)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_the_loopback_of_the_host_is_out_of_reach(bench: Bench, family: socket.AddressFamily, address: str, kind: str) -> None:
    with listener(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM, address) as port:
        bench.refused(kind, address, str(port))


@pytest.fixture(scope="module")
def neighbour() -> Iterator[dict[str, str]]:
    """A machine beside this one: a network namespace at the other end of a veth pair, with an echo server in it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2")
    name, number = f"kw{os.getpid()}", os.getpid() % 64
    here, there = f"{name}a"[:15], f"{name}b"[:15]
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name], check=True)
        for command, link, end in ((["ip"], here, 1), (["ip", "-n", name], there, 2)):
            for address in (f"198.51.100.{4 * number + end}/30", f"fd00:6b77:{number:x}::{end}/64"):
                subprocess.run([*command, "address", "add", address, "dev", link, *["nodad"][: ":" in address]], check=True)
            subprocess.run([*command, "link", "set", link, "up"], check=True)
        command = ["ip", "netns", "exec", name, sys.executable, str(Path(__file__).with_name("echo.py"))]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield {"IPv4": f"198.51.100.{4 * number + 2}", "IPv6": f"fd00:6b77:{number:x}::2"}
            server.kill()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_other_machines_are_out_of_reach(bench: Bench, neighbour: dict[str, str], kind: str, family: str) -> None:
    said = bench.refused(kind, neighbour[family], "4711")
    assert "Network is unreachable" in said or "Cannot assign requested address" in said


def test_the_only_interface_is_a_loopback_of_its_own(bench: Bench) -> None:
    listed = [line.split(":")[0].strip() for line in bench.run("show", "/proc/net/dev").lines if ":" in line]
    assert listed == ["lo"]
    assert bench.run("loopback4").status == 0


@pytest.mark.parametrize(("family", "kind"), [(AF_VSOCK, STREAM), (AF_PACKET, RAW), (AF_XDP, RAW)])
def test_sockets_that_network_namespaces_do_not_confine_are_refused(bench: Bench, family: int, kind: int) -> None:
    try:
        socket.socket(family, kind).close()
    except OSError as error:
        pytest.skip(f"this kernel has no such sockets: {error}")
    if bench.outside("socket", str(family), str(kind)).status:  # packet sockets are root's
        assert bench.run("socket", str(family), str(kind)).status == 1
    else:
        bench.refused("socket", str(family), str(kind))


def test_io_uring_cannot_go_round_the_filter(bench: Bench) -> None:
    if bench.outside("uring").status:
        pytest.skip("this kernel has no io_uring, or forbids it")
    bench.refused("uring")


def test_an_abstract_unix_socket_of_the_host_is_out_of_reach(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0kubewright-{bench.folder.name}")
        server.listen()
        bench.refused("unix", f"@kubewright-{bench.folder.name}")


def test_a_unix_socket_in_the_file_system_of_the_host_is_out_of_reach(bench: Bench) -> None:
    path = bench.folder / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o777)
        server.listen()
        assert "No such file or directory" in bench.refused("unix", str(path))
