"""Files on the host: what the plan says, whoever interferes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from contents import CLUSTER, CONTROL_PLANE, FACTS, Shelf, content

from kubewright.install.errors import ContentError, PlaceError
from kubewright.install.host import Host
from kubewright.install.kubernetes import plan_kubernetes
from kubewright.install.place import place
from kubewright.install.plan import Plan


@pytest.fixture
def plan(source: Shelf) -> Plan:
    return plan_kubernetes(content(source), CLUSTER, CONTROL_PLANE, FACTS)


def put(host: Host, plan: Plan, source: Shelf) -> bool:
    return place(host, plan, source, lambda what: None)


def test_everything_is_where_the_plan_says(host: Host, plan: Plan, source: Shelf) -> None:
    assert put(host, plan, source)
    assert host.path("/var/lib/kubewright/current/bin/runc").read_bytes() == b"runc/runc\n"
    assert os.access(host.path("/var/lib/kubewright/current/bin/kubelet"), os.X_OK)
    assert str(host.path("/usr/local/bin/kubectl").readlink()) == "/var/lib/kubewright/current/bin/kubectl"
    assert host.path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"


def test_nothing_is_writable_by_others(host: Host, plan: Plan, source: Shelf) -> None:
    put(host, plan, source)
    for path in host.path("/").rglob("*"):
        assert path.is_symlink() or not path.stat().st_mode & 0o022, path
    secret = host.path("/etc/kubernetes/kubewright/encryption.json")
    assert (secret.stat().st_mode & 0o777, secret.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_strict_umask_makes_nothing_unreadable(host: Host, plan: Plan, source: Shelf) -> None:
    before = os.umask(0o077)
    try:
        put(host, plan, source)
    finally:
        os.umask(before)
    for path in host.path("/var/lib/kubewright/releases").glob("*/**"):
        assert path.stat().st_mode & 0o777 == 0o755, path


def test_again_changes_nothing(host: Host, plan: Plan, source: Shelf) -> None:
    put(host, plan, source)
    secret = host.path("/etc/kubernetes/kubewright/encryption.json").read_text()
    assert not put(host, plan, source)
    assert host.path("/etc/kubernetes/kubewright/encryption.json").read_text() == secret


DAMAGE = {
    "other bytes": lambda path: path.write_bytes(b"x" * path.stat().st_size),
    "another mode": lambda path: path.chmod(0o777),
    "missing": lambda path: path.unlink(),
    "a directory": lambda path: (path.unlink(), path.mkdir(), (path / "x").write_text("")),
    "a link": lambda path: (path.unlink(), path.symlink_to("/bin/true")),
    "one too many": lambda path: (path.parent / "extra").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_drift_is_put_right(host: Host, plan: Plan, source: Shelf, damage: object) -> None:
    put(host, plan, source)
    path = host.path(f"{plan.directory}/bin/runc")
    damage(path)  # type: ignore[operator]
    assert put(host, plan, source)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"runc/runc\n", 0o755)
    assert not path.with_name("extra").exists()


@pytest.mark.parametrize("data", [b"runc/runC\n", b"runc/runc\nmore", b"runc/"])
def test_other_bytes_than_verified_do_not_get_in(host: Host, plan: Plan, source: Shelf, data: bytes) -> None:
    source.files["runc", "runc"] = data
    with pytest.raises(ContentError, match="not the verified"):
        put(host, plan, source)
    assert not host.path("/var/lib/kubewright/current").exists()
    assert not list(host.path("/var/lib/kubewright").rglob("runc*"))


def test_what_is_in_the_way_is_named(host: Host, plan: Plan, source: Shelf) -> None:
    host.path("/usr/local/bin").mkdir(parents=True)
    host.path("/usr/local/bin/kubectl").write_text("mine")
    with pytest.raises(PlaceError, match="kubectl is there and is no link"):
        put(host, plan, source)
    assert host.path("/usr/local/bin/kubectl").read_text() == "mine"


@pytest.fixture
def small_disk(host: Host) -> Iterator[Path]:
    folder = host.path("/var/lib/kubewright")
    folder.mkdir(parents=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]).returncode:
        pytest.skip("a small file system takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_said_and_left_behind(host: Host, small_disk: Path, source: Shelf) -> None:
    source.files["runc", "runc"] = b"r" * 300_000
    plan = plan_kubernetes(content(source), CLUSTER, CONTROL_PLANE, FACTS)
    with pytest.raises(PlaceError, match="no space left"):
        put(host, plan, source)
    assert not (small_disk / "current").exists()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert put(host, plan, source)
    assert not put(host, plan, source)
