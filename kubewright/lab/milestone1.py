"""Milestone 1: one control plane and two workers from a bundle, and what such a cluster has to be able to do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubewright.errors import KubewrightError
from kubewright.lab import checks, support
from kubewright.lab.errors import LabError
from kubewright.lab.kube import Kube
from kubewright.lab.machines import Machines, end_rest, load_state
from kubewright.lab.results import Results
from kubewright.lab.subnet import Subnet, free_subnet

NODES: Final = ("leader", "worker-1", "worker-2")
#: why csi-driver-nfs, which belongs to the milestone, is not in it here
NFS: Final = "its source cannot be fetched where this is built, and the kernel of those machines has no NFS"

_CLUSTER: Final = """\
name = "milestone-1"
[network]
conntrack = "keep" # three nodes share one kernel
[load_balancer]
addresses = ["{pool}"]
[registry]
serve = true
[kubelet]
free_disk = "1Gi" # and one disk
"""


@dataclass(frozen=True, slots=True)
class Given:
    """What the lab is made from. ``folder`` is its own; ``node_tar`` with ``node_digest`` is a node's root."""

    folder: Path
    bundle: Path
    policy: Path
    installer: Path
    packages: Path
    node_tar: Path
    node_digest: str
    watch: Callable[[str], None]


def up(given: Given) -> Results:
    """Build the lab and check everything; what it is goes on running. Raises LabError, after writing a support bundle."""
    from docker.errors import DockerException

    down(given.folder)
    for old in ("results", "support"):
        shutil.rmtree(given.folder / old, ignore_errors=True)
    results = Results("lab:m1", given.watch)
    machines = Machines.begin(_state(given.folder), given.folder / "m1.docker")
    try:
        lab = _build(given, machines, results)
        _check(lab, results)
    except DockerException as error:
        support.collect(machines, given.folder / "support")
        raise LabError(f"docker: {error}", remedy="dockerd's log says more; ./doit lab:m1:down, then again") from None
    except KubewrightError:
        support.collect(machines, given.folder / "support")
        raise
    finally:
        results.write(given.folder / "results")
        given.watch("\n" + results.table())
    return results


def down(folder: Path) -> bool:
    """Take away what ``up`` made, by the ids that it wrote down; whether there was something."""
    state = load_state(_state(folder))
    if state is None:
        return False
    machines = Machines.again(state)
    if machines is not None:
        machines.end()
    else:
        end_rest(state)
    shutil.rmtree(folder / "shared", ignore_errors=True)
    return True


def _state(folder: Path) -> Path:
    return folder / "m1.json"


# -- building ------------------------------------------------------------------------------------------------------------


def _build(given: Given, machines: Machines, results: Results) -> checks.Lab:
    subnet = free_subnet()
    nodes = subnet.nodes(NODES)
    shared = _shared(given, subnet)
    with results.doing("three nodes boot systemd") as notes:
        machines.image(given.node_tar, given.node_digest)
        machines.make_network(str(subnet.network), subnet.gateway)
        mounts = {shared: "/kubewright", **_bundle_mount(given)}
        for name, address in nodes.items():
            machines.make_node(name, address, subnet.gateway, mounts)
        for name in NODES:
            machines.wait_for_boot(name)
        notes.append("locked Debian packages, no way out")
    begin = time.monotonic()
    leader, *workers = NODES
    _install(machines, results, leader, _bundle_path(given), [])
    with results.doing("join material"):
        _must(machines, leader, ["join-token", "--out", "/root/join.json"])
        # carried as a person would: through memory, into a file that only root reads
        material = machines.run(leader, ["cat", "/root/join.json"]).output
        for name in workers:
            machines.write(name, "/root/join.json", material.encode(), 0o600)
    with ThreadPoolExecutor(len(workers)) as pool:
        for each in [
            pool.submit(_install, machines, results, name, _bundle_path(given), ["--join", "/root/join.json"])
            for name in workers
        ]:
            each.result()
    results.watch(f"three nodes installed and Ready in {time.monotonic() - begin:.0f} s")
    return checks.Lab(machines, Kube(machines, leader), nodes, _image(machines, leader))


def _shared(given: Given, subnet: Subnet) -> Path:
    """What nodes see, read-only: installer, policy, site settings, the list of files of locked packages."""
    shared = given.folder / "shared"
    shared.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(given.installer, shared / "kubewright-install.pyz")
    shutil.copyfile(given.policy, shared / "policy.toml")
    shutil.copyfile(given.packages, shared / "packages.json")
    nodes = [
        f'[[node]]\nname = "{name}"\naddress = "{address}"\nrole = "{"worker" if number else "control-plane"}"\n'
        for number, (name, address) in enumerate(subnet.nodes(NODES).items())
    ]
    (shared / "cluster.toml").write_text(_CLUSTER.format(pool=subnet.pool) + "".join(nodes))
    return shared


def _bundle_mount(given: Given) -> dict[Path, str]:
    if not given.bundle.exists():
        raise LabError(f"{given.bundle} is not there", remedy="./doit bundle:kubernetes")
    return {given.bundle.resolve(): _bundle_path(given)}


def _bundle_path(given: Given) -> str:
    return "/bundle.oci" if given.bundle.is_dir() else "/bundle.oci.tar.zst"


def _install(machines: Machines, results: Results, node: str, bundle: str, more: list[str]) -> None:
    with results.doing(f"install {node}") as notes:
        # the policy's state is written beside it, so it gets a folder of the node's own
        machines.run(node, ["sh", "-c", "mkdir -p /etc/kubewright && cp /kubewright/policy.toml /etc/kubewright/"])
        words = ["install", bundle, "--policy", "/etc/kubewright/policy.toml", "--cluster", "/kubewright/cluster.toml"]
        said = _must(machines, node, [*words, "--allow-cgroup-v1", *more])
        times = [line.split(" s  ", 1) for line in said.splitlines() if " s  " in line]
        marks = ("images", "kubeadm init", "kubeadm join", f"node {node} is Ready")
        notes.append(", ".join(f"{what} at {at.strip()} s" for at, what in times if what in marks))


def _must(machines: Machines, node: str, words: list[str]) -> str:
    said = machines.run(node, [*checks.INSTALLER, *words])
    if said.status:
        raise LabError(f"{node}: {words[0]} ended with status {said.status}", details=said.output[-6000:])
    return said.output


def _image(machines: Machines, leader: str) -> str:
    """An image of the bundle with a shell and small tools, by digest."""
    plan = json.loads(machines.run(leader, ["cat", "/var/lib/kubewright/install.json"]).output)["plan"]
    images = [image for step in plan["steps"] for image in step.get("images", ())]
    found = next((image for image in images if image["name"] == "busybox"), None)
    if found is None:
        raise LabError("the bundle has no image busybox, which the checks run", remedy="bundle the stack kubernetes")
    return f"{found['reference'].rpartition(':')[0]}@{found['digest']}"


def _check(lab: checks.Lab, results: Results) -> None:
    for name, check in checks.CHECKS:
        with results.doing(name) as notes:
            notes.append(check(lab))
    results.leave_out("csi-driver-nfs", NFS)
