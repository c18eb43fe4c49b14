"""Take an install off a host: processes, mounts, links, files. What was written by pods in volumes of the host stays.

The audit log and the highest sequence stay too: an older release is refused afterwards as before.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from kubewright.install.errors import InstallError
from kubewright.install.host import Host
from kubewright.install.journal import Journal
from kubewright.install.plan import CURRENT, RELEASES, current
from kubewright.install.pulls import HOSTS
from kubewright.install.registry import STORAGE
from kubewright.install.runtime import SOCKET

Watch = Callable[[str], None]

#: what Kubernetes and containerd write themselves
_STATE: Final = (
    "/etc/kubernetes",
    "/etc/cni/net.d",
    "/run/containerd",
    "/run/flannel",
    "/run/kubewright",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/kubernetes",
    "/var/log/pods",
)
_INTERFACES: Final = ("cni0", "flannel.1", "kube-ipvs0")


def uninstall(host: Host, journal: Journal, watch: Watch) -> None:
    """Undo an install, however far it got. Can be run again when it was cut off."""
    plan = journal.plan
    journal.phase = "uninstalling"
    journal.save()
    journal.audit("uninstall", stack=plan.get("stack"), sequence=plan.get("sequence"))
    if host.path(current("bin/kubeadm")).is_file() and host.path(SOCKET).exists():
        watch("kubeadm reset")
        host.run((current("bin/kubeadm"), "reset", "--force", "--cri-socket", f"unix://{SOCKET}"), timeout=300)
    for service in reversed(plan.get("services", [])):
        watch(f"stopping {service}")
        host.run(("systemctl", "stop", service), timeout=120)
    watch("ending what is left of containers")
    _end_shims(host, plan)
    _unmount(host)
    _remove(host, plan, watch)
    host.run(("systemctl", "daemon-reload"), timeout=60)
    journal.forget()
    journal.audit("uninstalled")


def _end_shims(host: Host, plan: dict[str, Any]) -> None:
    """Shims live longer than containerd; with them end their containers. Known by their executable, not by name."""
    shim = os.fspath(host.path(f"{plan['directory']}/bin/containerd-shim-runc-v2")) if "directory" in plan else ""
    for attempt in range(50):
        found = [pid for pid in _processes(host) if shim and _exe(host, pid) == shim]
        if not found:
            return
        for pid in found:
            for child in [*_children(host, pid), pid]:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL if attempt > 20 else signal.SIGTERM)
        time.sleep(0.1)


def _processes(host: Host) -> list[int]:
    return [int(path.name) for path in host.path("/proc").glob("[0-9]*")]


def _exe(host: Host, pid: int) -> str:
    with suppress(OSError):
        return str(host.path(f"/proc/{pid}/exe").readlink())
    return ""


def _children(host: Host, pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in host.path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _unmount(host: Host) -> None:
    """What is mounted below our directories, the deepest first."""
    path = host.path("/proc/self/mountinfo")
    points = [line.split(" ")[4] for line in path.read_text().splitlines()] if path.is_file() else []
    for point in sorted(points, key=len, reverse=True):
        if any(point.startswith(f"{state}/") for state in _STATE):
            host.run(("umount", "--lazy", point), timeout=30)


def _remove(host: Host, plan: dict[str, Any], watch: Watch) -> None:
    for name in _INTERFACES:
        if host.path(f"/sys/class/net/{name}").exists():
            host.run(("ip", "link", "delete", name), timeout=30)
    for path in [*plan.get("links", {}), *(file["path"] for file in plan.get("outside", [])), CURRENT]:
        host.path(path).unlink(missing_ok=True)
    for path in (*_STATE, HOSTS, STORAGE, RELEASES):
        found = host.path(path)
        if found.exists():
            watch(f"removing {path}")
            _remove_tree(found)


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except OSError as reason:
        raise InstallError(
            f"{reason.filename}: {reason.strerror}", remedy="something still uses it (fuser -vm); run the same command again"
        ) from None
