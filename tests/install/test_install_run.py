"""A whole install on a host in a directory, and what can go wrong in it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from contents import CLUSTER, JOIN, Shelf, content

from kubewright.install import preflight, run, status
from kubewright.install.content import Content
from kubewright.install.errors import (
    CommandError,
    InstallError,
    JournalError,
    PreflightError,
    RollbackError,
    UnhealthyError,
)
from kubewright.install.host import Host
from kubewright.install.journal import opened, read
from kubewright.install.plan import Await
from kubewright.install.settings import Cluster, Network
from kubewright.install.start import _await
from kubewright.install.uninstall import uninstall


def install(host: Host, source: Shelf, *, made: Content | None = None, **options: object) -> None:
    chosen = run.Options(node="one", **options)  # type: ignore[arg-type]
    run.install(host, made or content(source), source, CLUSTER, chosen)


def calls(host: Host) -> list[str]:
    return (host.root / "calls").read_text().splitlines()


def test_a_control_plane(host: Host, source: Shelf) -> None:
    install(host, source)
    found = calls(host)
    assert found.index("ctr import") < found.index("kubeadm init")
    assert [line for line in found if line.startswith("systemctl")][:2] == [
        "systemctl daemon-reload",
        "systemctl restart containerd.service",
    ]
    assert read(host).phase == "installed"
    assert status.drift(host, read(host)) == []


def test_a_worker(host: Host, source: Shelf) -> None:
    run.install(host, content(source), source, CLUSTER, run.Options(node="two", join=JOIN))
    given = json.loads((host.root / "given-to-kubeadm").read_text())
    assert given["discovery"]["bootstrapToken"] == {
        "apiServerEndpoint": "192.0.2.10:6443",
        "caCertHashes": ["sha256:" + "0" * 64],
        "token": "zyxwvu.9876543210zyxwvu",
    }


def test_a_worker_needs_join_material(host: Host, source: Shelf) -> None:
    with pytest.raises(InstallError, match="joining needs join material"):
        run.install(host, content(source), source, CLUSTER, run.Options(node="two"))


def test_no_token_stays_anywhere_and_none_is_in_an_argument(host: Host, source: Shelf) -> None:
    run.install(host, content(source), source, CLUSTER, run.Options(node="two", join=JOIN))
    assert "join --config " in (host.root / "arguments").read_text()
    (host.root / "given-to-kubeadm").unlink()  # the fake program's own note
    for path in host.root.rglob("*"):
        assert not path.is_file() or b"9876543210zyxwvu" not in path.read_bytes(), path


def test_again_does_nothing(host: Host, source: Shelf) -> None:
    install(host, source)
    before = calls(host)
    install(host, source)
    assert {line.split()[0] for line in calls(host)[len(before) :]} <= {"kubectl"}
    assert source.exports == 1


def test_the_same_content_is_known_to_be_installed(host: Host, source: Shelf) -> None:
    """Only then may a bundle's blobs go unread: the same plan, to its end."""

    def known(made: Content | None = None, cluster: Cluster = CLUSTER) -> bool:
        return run.is_installed(host, made or content(source), cluster, run.Options(node="one"))

    assert not known()
    (host.root / "fail-import-once").touch()
    with pytest.raises(CommandError):
        install(host, source)
    assert not known()
    install(host, source)
    assert known()
    assert not known(replace(content(source), policy="version = 1 # another\n"))
    assert not known(content(source, sequence=4))
    assert not known(cluster=replace(CLUSTER, name="other"))


def test_files_that_changed_are_put_right_and_services_start_anew(host: Host, source: Shelf) -> None:
    install(host, source)
    host.path("/etc/systemd/system/kubelet.service").write_text("[Service]\nExecStart=/bin/evil\n")
    (host.root / "calls").unlink()
    install(host, source)
    assert "systemctl daemon-reload" in calls(host)
    assert "kubeadm init" not in calls(host)
    assert status.drift(host, read(host)) == []


def test_an_import_that_fails_once_is_taken_up_again(host: Host, source: Shelf) -> None:
    (host.root / "fail-import-once").touch()
    with pytest.raises(CommandError, match="images import"):
        install(host, source)
    install(host, source)
    assert calls(host).count("kubeadm init") == 1


def test_kubeadm_that_fails_is_undone_before_it_runs_again(host: Host, source: Shelf) -> None:
    with pytest.raises(CommandError) as failure:
        install(Host(host.root, {"FAIL_KUBEADM": "1"}), source)
    assert "0123456789abcdef" not in failure.value.details
    install(host, source)
    assert [line for line in calls(host) if line.startswith("kubeadm")] == ["kubeadm init", "kubeadm reset", "kubeadm init"]


def test_a_running_cluster_is_never_reset_for_other_settings(host: Host, source: Shelf) -> None:
    install(host, source)
    other = replace(CLUSTER, network=Network(pods="10.9.0.0/16"))
    with pytest.raises(InstallError, match="other settings"):
        run.install(host, content(source), source, other, run.Options(node="one"))
    assert "kubeadm reset" not in calls(host)


def test_an_older_release_is_refused_unless_somebody_says_why(host: Host, source: Shelf) -> None:
    install(host, source)
    remove(host)
    older = content(source, sequence=2)
    with pytest.raises(RollbackError, match="older than 3"):
        install(host, source, made=older)
    install(host, source, made=older, older_because="3 does not boot")
    lines = [json.loads(line) for line in host.path("/var/lib/kubewright/audit.jsonl").read_text().splitlines()]
    assert "3 does not boot" in {line.get("older_because") for line in lines}


@pytest.mark.parametrize("said", ["true", "-1", "3.0", '"3"', "null"])
def test_what_is_no_sequence_does_not_make_room_for_an_older_release(host: Host, source: Shelf, said: str) -> None:
    install(host, source)
    remove(host)
    host.path("/var/lib/kubewright/sequence.json").write_text(f'{{"version": 1, "sequence": {said}}}')
    with pytest.raises(JournalError, match="damaged"):
        install(host, source, made=content(source, sequence=2))


def test_another_release_over_a_running_one_is_refused(host: Host, source: Shelf) -> None:
    install(host, source)
    with pytest.raises(InstallError, match="another release"):
        install(host, source, made=content(source, sequence=4))


def test_what_an_older_install_left_in_its_own_folders_is_cleared(host: Host, source: Shelf) -> None:
    """A record that is gone, releases that are not: of an install that somebody removed by hand."""
    older = ("releases/0123/bin/kubelet", "releases/.4567.partial/bin/runc", "certs.d/quay.io/hosts.toml")
    for path in older:
        leave(host, f"/var/lib/kubewright/{path}")
    install(host, source)
    for path in older:
        assert not host.path(f"/var/lib/kubewright/{path}").exists()
    assert status.drift(host, read(host)) == []


def test_what_is_no_record_of_an_install_is_refused(host: Host, source: Shelf) -> None:
    leave(host, "/var/lib/kubewright/install.json")
    with pytest.raises(JournalError):
        install(host, source)
    for version in ("2", "true"):
        host.path("/var/lib/kubewright/install.json").write_text(f'{{"version": {version}}}')
        with pytest.raises(JournalError, match="version 1"):
            install(host, source)


def test_the_audit_log_says_what_and_by_whom(host: Host, source: Shelf) -> None:
    install(host, source, evidence={"release_signed_by": ["site"]})
    first = json.loads(host.path("/var/lib/kubewright/audit.jsonl").read_text().splitlines()[0])
    assert (first["action"], first["sequence"], first["release_signed_by"]) == ("install", 3, ["site"])
    assert first["images"]["registry.k8s.io/pause:3.10.2"].startswith("sha256:")
    assert first["by"].startswith("uid ")


def test_the_password_of_the_speakers_is_made_once_and_nowhere_else(host: Host, source: Shelf) -> None:
    install(host, source)
    made = json.loads((host.root / "run/secret").read_text())
    assert (made["metadata"]["namespace"], made["metadata"]["name"]) == ("metallb-system", "memberlist")
    password = made["stringData"]["secretkey"]
    assert len(password) >= 128
    for path in host.root.rglob("*"):
        assert path.name == "secret" or not path.is_file() or password.encode() not in path.read_bytes(), path
    remove(host)
    install(host, source)  # the cluster's store, unlike this one, would be gone; what is there is never replaced
    assert json.loads((host.root / "run/secret").read_text()) == made


def test_uninstalled_is_gone(host: Host, source: Shelf) -> None:
    before = files(host)
    install(host, source)
    remove(host)
    after = files(host) - {"calls", "arguments", "applied", "given-to-kubeadm"}
    kept = {
        "var/lib/kubewright/audit.jsonl",
        "var/lib/kubewright/sequence.json",
        "var/lib/kubewright/lock",
        "run/images",
        "run/secret",
    }
    assert after - before <= kept
    with pytest.raises(JournalError):
        status.drift(host, read(host))


def remove(host: Host) -> None:
    with opened(host, "uninstalling") as journal:
        uninstall(host, journal, lambda what: None)


def files(host: Host) -> set[str]:
    return {str(path.relative_to(host.root)) for path in host.root.rglob("*") if path.is_symlink() or not path.is_dir()}


def test_a_node_that_does_not_become_ready_is_said(host: Host) -> None:
    with pytest.raises(UnhealthyError, match="it is Ready"):
        _await(host, Await("it is Ready", ("ip",), "True", timeout=0))


def test_k3s_is_planned_and_not_installed(host: Host, source: Shelf) -> None:
    with pytest.raises(InstallError, match="k3s"):
        install(host, source, made=content(source, stack="k3s"))
    assert not host.path("/var/lib/kubewright").exists()


# -- drift ---------------------------------------------------------------------------------------------------------------

DRIFTS: dict[str, tuple[Callable[[Host], object], str, str]] = {
    "changed": (lambda host: program(host, "runc").write_bytes(b"evil"), "changed", "runc"),
    "mode": (lambda host: program(host, "runc").chmod(0o777), "changed", "runc"),
    "missing": (lambda host: program(host, "runc").unlink(), "missing", "runc"),
    "extra": (lambda host: program(host, "more").write_text(""), "extra", "more"),
    "registry": (lambda host: leave(host, "/var/lib/kubewright/certs.d/docker.io/hosts.toml"), "extra", "docker.io/hosts.toml"),
    "unit": (lambda host: host.path("/etc/systemd/system/kubelet.service").write_text(""), "changed", "kubelet.service"),
    "link": (lambda host: host.path("/usr/local/bin/ctr").unlink(), "missing", "ctr"),
    "setting": (lambda host: host.path("/proc/sys/net/ipv4/ip_forward").write_text("0\n"), "changed", "ip_forward"),
    "service": (lambda host: (host.root / "run/units/kubelet.service").unlink(), "stopped", "kubelet.service"),
}


def program(host: Host, name: str) -> Path:
    return host.path("/var/lib/kubewright/current").resolve() / "bin" / name


@pytest.mark.parametrize(("change", "kind", "what"), DRIFTS.values(), ids=DRIFTS)
def test_drift_is_found(host: Host, source: Shelf, change: Callable[[Host], object], kind: str, what: str) -> None:
    install(host, source)
    change(host)
    (found,) = status.drift(host, read(host))
    assert found.kind == kind
    assert found.what.endswith(what)


# -- preflight -----------------------------------------------------------------------------------------------------------

LACKS: dict[str, tuple[Callable[[Host], object], str]] = {
    "swap": (
        lambda host: host.path("/proc/swaps").write_text("Filename\n/dev/sda2 partition\n"),
        "swap is on: /dev/sda2",
    ),
    "port": (
        lambda host: host.path("/proc/net/tcp").write_text("sl\n 0: 00000000:192B 00000000:0000 0A 0\n"),
        "port 6443 is in use",
    ),
    "cgroup": (lambda host: host.path("/sys/fs/cgroup/cgroup.controllers").unlink(), "cgroup v1"),
    "controllers": (
        lambda host: host.path("/sys/fs/cgroup/cgroup.controllers").write_text("cpu io\n"),
        "missing: cpuset, memory, pids",
    ),
    "vxlan": (lambda host: host.path("/sys/module/vxlan").rmdir(), "the kernel has no vxlan"),
    "nf_tables": (lambda host: host.path("/sys/module/nf_tables").rmdir(), "the kernel has no nf_tables"),
    "bridge": (lambda host: host.path("/proc/sys/net/bridge").rmdir(), "the kernel has no br_netfilter"),
    "overlay": (lambda host: host.path("/proc/filesystems").write_text("nodev\ttmpfs\n"), "the kernel has no overlay"),
    "systemd": (lambda host: host.path("/run/systemd/system").rmdir(), "systemd does not run"),
    "program": (lambda host: host.path("/usr/bin/ip").unlink(), "ip is not there"),
    "left-overs": (lambda host: leave(host, "/var/lib/etcd/member"), "/var/lib/etcd is of another install"),
    "containerd": (lambda host: leave(host, "/var/lib/containerd/x"), "/var/lib/containerd is of another install"),
    "package": (
        lambda host: leave(host, "/usr/lib/systemd/system/containerd.service"),
        "containerd.service is of another install",
    ),
    "network": (lambda host: leave(host, "/etc/cni/net.d/10-other.conflist"), "another pod network's"),
    "command": (lambda host: leave(host, "/usr/local/bin/kubectl"), "/usr/local/bin/kubectl is there already"),
    "memory": (lambda host: host.path("/proc/meminfo").write_text("MemTotal: 500000 kB\n"), "488 MiB of memory"),
}


def leave(host: Host, path: str) -> None:
    host.path(path).parent.mkdir(parents=True, exist_ok=True)
    host.path(path).write_text("x")


@pytest.mark.parametrize(("change", "message"), LACKS.values(), ids=LACKS)
def test_what_a_host_lacks_is_said_before_anything_changes(
    host: Host, source: Shelf, change: Callable[[Host], object], message: str
) -> None:
    change(host)
    before = files(host)
    with pytest.raises(PreflightError) as failure:
        install(host, source)
    assert message in f"{failure.value.message}\n{failure.value.details}"
    assert failure.value.remedy
    assert files(host) - before <= {"var/lib/kubewright/lock"}


def test_what_listens_is_seen_on_a_real_machine() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert port not in preflight.listening(Host())
        server.listen()
        assert port in preflight.listening(Host())


def test_another_architecture_is_refused(host: Host, source: Shelf) -> None:
    with pytest.raises(PreflightError, match="the bundle is for linux/riscv64"):
        install(host, source, made=replace(content(source), platform="linux/riscv64"))


def test_a_clock_of_before_the_release_is_refused(host: Host, source: Shelf) -> None:
    with pytest.raises(PreflightError, match=r"the clock says 1970-01-02 .* was built at 2025-10-09"):
        install(host, source, now=lambda: 86_400.0)
    with pytest.raises(PreflightError, match="the clock says 2025-10-09"):
        install(host, source, now=lambda: 1_760_000_000.0 - 3600)
    install(host, source, now=lambda: 1_760_000_000.0 - 60)  # the builder's clock may be a little ahead


def test_a_disk_that_is_too_small_is_refused(host: Host, source: Shelf) -> None:
    made = content(source)
    with pytest.raises(PreflightError, match="MiB are needed"):
        install(host, source, made=replace(made, images=tuple(replace(each, size=1 << 50) for each in made.images)))


def test_what_may_be_allowed_goes_on(host: Host, source: Shelf) -> None:
    host.path("/sys/fs/cgroup/cgroup.controllers").unlink()
    host.path("/proc/cgroups").write_text("#\n" + "".join(f"{each} 1 1 1\n" for each in ("cpu", "cpuset", "memory", "pids")))
    install(host, source, allowed=frozenset({"cgroup-v1"}))
    assert (
        "SystemdCgroup = false"
        in host.path("/var/lib/kubewright/current").resolve().joinpath("etc/containerd.toml").read_text()
    )


def test_a_started_install_is_no_left_over(host: Host, source: Shelf) -> None:
    (host.root / "fail-import-once").touch()
    with pytest.raises(CommandError):
        install(host, source)
    host.path("/proc/net/tcp").write_text("sl\n 0: 00000000:192B 00000000:0000 0A 0\n")
    install(host, source)


def test_another_role_wants_an_uninstall_first(host: Host, source: Shelf) -> None:
    install(host, source)
    with pytest.raises(PreflightError, match="this host is one, control-plane"):
        run.install(host, content(source), source, CLUSTER, run.Options(node="two", join=JOIN))
