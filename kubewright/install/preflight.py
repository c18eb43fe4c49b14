"""What this host lacks, before anything is changed: every finding with what to do. Reads only."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from kubewright.install.errors import PreflightError
from kubewright.install.host import Host
from kubewright.install.journal import Journal
from kubewright.install.place import has_module
from kubewright.install.plan import HOME, Facts, Plan
from kubewright.install.registry import CONFIG, PORT

Level = Literal["refuse", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it has to be (``refuse``) or should be (``warn``)."""

    level: Level
    name: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What checks look at. ``allowed``: names of findings that the user has decided to live with. ``built``: seconds since
    1970 of the last build in the bundle."""

    host: Host
    plan: Plan
    facts: Facts
    journal: Journal
    now: float
    allowed: frozenset[str] = frozenset()
    built: int = 0


#: findings that an option may allow; the others have no way round
ALLOWABLE: Final = {"cgroup-v1": "--allow-cgroup-v1", "memory": "--allow-little-memory"}

_MIB: Final = 1 << 20
_PORTS: Final = {
    "kubernetes": {"control-plane": (2379, 2380, 6443, 10250, 10256, 10257, 10259), "worker": (10250, 10256)},
    "k3s": {"control-plane": (6443, 10250), "worker": (10250,)},
}
#: a containerd or kubelet that is there already is somebody's: ours would take over its data, and uninstalling would remove it
_LEFT_OVERS: Final = {
    "kubernetes": (
        "/etc/kubernetes/manifests",
        "/etc/kubernetes/kubelet.conf",
        "/usr/lib/systemd/system/containerd.service",
        "/usr/lib/systemd/system/kubelet.service",
        "/var/lib/containerd",
        "/var/lib/etcd",
        "/var/lib/kubelet",
    ),
    "k3s": ("/etc/rancher/k3s", "/var/lib/rancher/k3s/server"),
}
_KERNEL: Final = {
    "overlay": "CONFIG_OVERLAY_FS",
    "br_netfilter": "CONFIG_BRIDGE_NETFILTER",
    "vxlan": "CONFIG_VXLAN",
    "nf_tables": "CONFIG_NF_TABLES",
}
#: a release is never installed before it was built; a clock that says so is wrong, and certificates would be too. The builder's
#: clock and this one may differ by a little
_CLOCKS_DIFFER: Final = 600


def examine(seen: Examined) -> list[Finding]:
    """Every finding, those that refuse first."""
    found = [finding for check in _CHECKS for finding in check(seen) if finding.name not in seen.allowed]
    return sorted(found, key=lambda finding: (finding.level != "refuse", finding.name))


def require(findings: list[Finding]) -> None:
    """PreflightError when one of them refuses."""
    refused = [finding for finding in findings if finding.level == "refuse"]
    if refused:
        first, *others = refused
        details = "\n".join(f"{each.name}: {each.message}\n    {each.remedy}" for each in others)
        raise PreflightError(f"{first.name}: {first.message}", remedy=first.remedy, details=details)


def as_text(findings: list[Finding]) -> str:
    """For people."""
    if not findings:
        return "this host is ready\n"
    return "".join(f"{each.level}: {each.name}: {each.message}\n    {each.remedy}\n" for each in findings)


# -- checks --------------------------------------------------------------------------------------------------------------


def _architecture(seen: Examined) -> Iterator[Finding]:
    if seen.facts.platform != seen.plan.platform:
        message = f"the bundle is for {seen.plan.platform}, this machine is {seen.facts.platform}"
        yield Finding("refuse", "architecture", message, f"take the bundle for {seen.facts.platform}")


def _systemd(seen: Examined) -> Iterator[Finding]:
    if not seen.host.path("/run/systemd/system").is_dir():
        yield Finding("refuse", "systemd", "systemd does not run here", "boot the machine with systemd: services are its units")


def _programs(seen: Examined) -> Iterator[Finding]:
    wanted = {"python3": "python3", "mount": "mount", "umount": "mount", "ip": "iproute2", "systemctl": "systemd"}
    for name, package in sorted(wanted.items()):
        if seen.host.program(name) is None:
            yield Finding("refuse", f"program-{name}", f"{name} is not there", f"install it (Debian: {package})")


def _swap(seen: Examined) -> Iterator[Finding]:
    path = seen.host.path("/proc/swaps")
    devices = [line.split()[0] for line in path.read_text().splitlines()[1:]] if path.exists() else []
    if devices:
        remedy = "swapoff -a, and take it out of /etc/fstab (the kubelet refuses to start with swap)"
        yield Finding("refuse", "swap", f"swap is on: {', '.join(devices)}", remedy)


def _ports(seen: Examined) -> Iterator[Finding]:
    if seen.journal.exists:
        return  # our own programs listen there
    used = listening(seen.host)
    serves = any(file.path == CONFIG for file in seen.plan.files)
    for port in (*_PORTS[seen.plan.stack][seen.plan.node.role], *([PORT] if serves else [])):
        if port in used:
            yield Finding("refuse", f"port-{port}", f"port {port} is in use", f"ss -ltnp sport = :{port} says by whom; end it")


def listening(host: Host) -> set[int]:
    """TCP ports on which something listens."""
    found = set()
    for name in ("tcp", "tcp6"):
        path = host.path(f"/proc/net/{name}")
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if len(fields) > 3 and fields[3] == "0A":
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def _left_overs(seen: Examined) -> Iterator[Finding]:
    if seen.journal.exists:
        return
    for path in _LEFT_OVERS[seen.plan.stack]:
        found = seen.host.path(path)
        if found.is_file() or (found.is_dir() and any(found.iterdir())):
            remedy = "kubeadm reset, or remove the package that it is of; then remove what is left"
            yield Finding("refuse", "left-overs", f"{path} is of another install", remedy)
    for link in seen.plan.links:
        found = seen.host.path(link.path)
        if found.exists() and not found.is_symlink():
            yield Finding("refuse", "left-overs", f"{link.path} is there already", "remove the package or file that it is of")
    for file in seen.plan.outside:
        if seen.host.path(file.path).exists():
            yield Finding("refuse", "left-overs", f"{file.path} is there already", "remove it, if nobody needs it")
    folder = seen.host.path("/etc/cni/net.d")
    for other in sorted(folder.iterdir()) if folder.is_dir() else ():
        message = f"/etc/cni/net.d/{other.name} is another pod network's"
        yield Finding("refuse", "left-overs", message, "remove it; containerd takes the first configuration that it finds")


def _other_install(seen: Examined) -> Iterator[Finding]:
    before = seen.journal.plan
    if not seen.journal.exists or not before:
        return
    node = before.get("node", {})
    if (before.get("stack"), node.get("name"), node.get("role")) != (
        seen.plan.stack,
        seen.plan.node.name,
        seen.plan.node.role,
    ):
        message = f"this host is {node.get('name')}, {node.get('role')} of {before.get('stack')}"
        yield Finding("refuse", "other-install", message, "kubewright uninstall first")


def _cgroup(seen: Examined) -> Iterator[Finding]:
    if seen.facts.cgroup == 1:
        message = (
            "this kernel runs with cgroup v1: Kubernetes, containerd and systemd have deprecated it; a coming release "
            "does not start, and memory limits are weaker"
        )
        remedy = f"boot with systemd.unified_cgroup_hierarchy=1, or accept it for now: {ALLOWABLE['cgroup-v1']}"
        yield Finding("refuse", "cgroup-v1", message, remedy)
    wanted = ("cpu", "cpuset", "memory", "pids")
    lacking = [name for name in wanted if name not in _controllers(seen)]
    if lacking:
        remedy = "turn them on (kernel command line, systemd's DefaultControllers)"
        yield Finding("refuse", "cgroup-controllers", f"cgroup controllers are missing: {', '.join(lacking)}", remedy)


def _controllers(seen: Examined) -> set[str]:
    if seen.facts.cgroup == 2:
        return set(seen.host.path("/sys/fs/cgroup/cgroup.controllers").read_text().split())
    path = seen.host.path("/proc/cgroups")
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    return {fields[0] for line in lines if (fields := line.split()) and fields[-1] == "1"}


def _kernel(seen: Examined) -> Iterator[Finding]:
    for name in seen.plan.modules:
        if not (has_module(seen.host, name) or _configured(seen.host, name) or _loadable(seen.host, name)):
            message = f"the kernel has no {name}, neither built in nor as a module"
            yield Finding("refuse", f"kernel-{name}", message, f"boot a kernel with {_KERNEL.get(name, name)}")


def _configured(host: Host, name: str) -> bool:
    option, release = _KERNEL.get(name, ""), os.uname().release
    for path in (host.path("/proc/config.gz"), host.path(f"/boot/config-{release}")):
        if path.is_file():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            if f"\n{option}=y\n".encode() in data:
                return True
    return False


def _loadable(host: Host, name: str) -> bool:
    if host.program("modprobe") is None:
        return False
    return host.run(("modprobe", "--dry-run", "--quiet", name), timeout=30).status == 0


def _clock(seen: Examined) -> Iterator[Finding]:
    if seen.now < seen.built - _CLOCKS_DIFFER:
        now, built = (time.strftime("%Y-%m-%d %H:%M", time.gmtime(each)) for each in (seen.now, seen.built))
        message = f"the clock says {now} UTC, and what is to be installed was built at {built} UTC"
        yield Finding("refuse", "clock", message, "set it (certificates are made with it, and all nodes have to agree)")


def _disk(seen: Examined) -> Iterator[Finding]:
    needed = sum(file.size for file in seen.plan.files) + 2 * sum(image.size for image in seen.plan.images) + 512 * _MIB
    folder = seen.host.path(HOME)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if not seen.journal.exists and free < needed:
        message = f"{free // _MIB} MiB are free below {folder}, {needed // _MIB} MiB are needed"
        yield Finding("refuse", "disk", message, "free some space, or put /var/lib on a larger disk")


def _memory(seen: Examined) -> Iterator[Finding]:
    path = seen.host.path("/proc/meminfo")
    lines = path.read_text().splitlines() if path.exists() else []
    total = next((int(line.split()[1]) // 1024 for line in lines if line.startswith("MemTotal:")), 0)
    least = 1700 if seen.plan.node.role == "control-plane" else 700
    if lines and total < least:
        message = f"{total} MiB of memory; a {seen.plan.node.role} needs {least}"
        yield Finding("refuse", "memory", message, f"give it more, or {ALLOWABLE['memory']}")


def _address(seen: Examined) -> Iterator[Finding]:
    if not seen.plan.node.address:
        remedy = "name it in the site settings ([[node]]), or give the host a default route"
        yield Finding("refuse", "address", "this host's address is not known", remedy)


_CHECKS: Final[tuple[Callable[[Examined], Iterator[Finding]], ...]] = (
    _architecture,
    _systemd,
    _programs,
    _swap,
    _ports,
    _left_overs,
    _other_install,
    _cgroup,
    _kernel,
    _clock,
    _disk,
    _memory,
    _address,
)
