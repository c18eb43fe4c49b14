"""The sandbox contract, held against each back end: kernel, devices, privileges, other processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from bench import ORDINARY, Bench

from kubewright.sandbox import Mount


@pytest.mark.parametrize("name", ["kernel/core_pattern", "kernel/panic", "vm/overcommit_memory", "fs/file-max"])
def test_settings_of_the_kernel_cannot_be_changed(bench: Bench, name: str) -> None:
    if bench.ordinary:
        assert bench.run("open", f"/proc/sys/{name}").status == 1
    else:
        bench.refused("open", f"/proc/sys/{name}")


def test_devices_are_the_harmless_ones(bench: Bench) -> None:
    listed = set(bench.run("list", "/dev").lines)
    harmless = {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm"}
    assert harmless <= listed <= harmless | {"core", "mqueue"}
    for name in ("null", "zero", "urandom"):
        assert bench.run("open", f"/dev/{name}").status == 0


@pytest.mark.parametrize("kind", [("c", "1", "11"), ("b", "254", "0"), ("c", "1", "3")], ids=["kmsg", "disk", "null"])
@pytest.mark.parametrize("where", ["/build", "/tmp"])
def test_devices_cannot_be_made(bench: Bench, kind: tuple[str, ...], where: str) -> None:
    if bench.ordinary:
        assert bench.run("mknod", f"{where}/node", *kind).status == 1
    else:
        assert bench.outside("mknod", str(bench.folder / "node"), *kind).status == 0
        assert bench.run("mknod", f"{where}/node", *kind).status == 1


def test_a_device_of_the_host_in_a_mount_does_not_open(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a device")
    node = bench.folder / "devices" / "zero"
    node.parent.mkdir()
    os.mknod(node, 0o20666, os.makedev(1, 11))  # kmsg: docker permits zero and null anywhere
    node.chmod(0o666)
    assert subprocess.run([bench.probe, "read", node], check=False).returncode == 0
    assert bench.run("read", "/devices/zero", mounts=(Mount(node.parent, "/devices"),)).status == 1


def test_no_capabilities_and_no_way_to_new_privileges(bench: Bench) -> None:
    status = dict(line.split(":\t", 1) for line in bench.run("show", "/proc/self/status").lines if ":\t" in line)
    assert {status[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Uid"].split() == [str(bench.uid)] * 4


def test_a_setuid_program_gains_nothing(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a setuid root program")
    owned = bench.folder / "owned" / "probe"
    owned.parent.mkdir()
    shutil.copy(bench.probe, owned)
    owned.chmod(0o4755)
    control = subprocess.run([owned, "euid"], user=ORDINARY, capture_output=True, text=True, check=True)
    assert control.stdout == "0\n"
    inside = bench.run("-", argv=("/owned/probe", "euid"), mounts=(Mount(owned.parent, "/owned"),))
    assert inside.text == f"{bench.uid}\n"
    assert bench.run("setuid").status == 1


@pytest.mark.parametrize("word", ["userns", "capability", "addkey"])
def test_namespaces_and_keys_of_the_kernel_are_refused(bench: Bench, word: str) -> None:
    bench.refused(word)


@pytest.mark.parametrize("argv", [("mount",), ("remount", "/probe")], ids=["mount", "remount"])
def test_mounts_cannot_be_made_or_changed(bench: Bench, argv: tuple[str, ...]) -> None:
    assert bench.run(*argv).status == 1
    if not bench.ordinary:
        script = f"mount --bind {bench.probe} {bench.probe} && {bench.probe} " + " ".join(argv).replace(
            "/probe", str(bench.probe)
        )
        assert subprocess.run(["unshare", "--mount", "sh", "-c", script], check=False).returncode == 0


@pytest.fixture
def stranger(bench: Bench) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the host, of the user that runs the sandbox, with something to hide."""
    ids = {"user": ORDINARY, "group": ORDINARY} if bench.kind == "bubblewrap-ordinary" else {}
    with subprocess.Popen([bench.probe, "linger", "60"], env={"TOKEN": "s3cr3t"}, stdout=subprocess.DEVNULL, **ids) as process:
        time.sleep(0.1)
        yield process
        process.kill()


def test_other_processes_are_neither_seen_nor_reached(bench: Bench, stranger: subprocess.Popen[bytes]) -> None:
    bench.refused("environs", "s3cr3t")
    for word in ("kill", "ptrace"):
        assert "No such process" in bench.refused(word, str(stranger.pid))
    seen = [name for name in bench.run("list", "/proc").lines if name.isdigit()]
    assert 1 <= len(seen) <= 2
    bench.refused("killany")
