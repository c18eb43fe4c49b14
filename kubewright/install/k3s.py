"""The plan for k3s: one binary, its images as an archive that it imports itself, its configuration, one unit.

The layout is that of k3s' air-gap installation (docs.k3s.io, "Air-Gap Install"). Server and agent; images are pinned by
digest on the way into the archive, and k3s is told of no registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubewright.install.content import Content
from kubewright.install.kubeadm import AUDIT_POLICY
from kubewright.install.plan import Archive, Await, Directory, Facts, File, Link, Plan, Run, Secret, current
from kubewright.install.render import Section, json_text, unit
from kubewright.install.runtime import MODULES, SETTINGS, kernel_files, resolv_conf
from kubewright.install.settings import Cluster, Node

STACK: Final = "k3s"
TOKEN: Final = "/etc/rancher/k3s/token"  # noqa: S105 - where it is
KUBECONFIG: Final = "/etc/rancher/k3s/k3s.yaml"
IMAGES: Final = "/var/lib/rancher/k3s/agent/images/kubewright.tar"
#: part of k3s -> the images without which it is turned off (stacks/k3s.toml says which are not built)
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "coredns": ("coredns",),
    "gateway-api-crd": ("klipper-helm",),
    "local-storage": ("local-path-provisioner", "busybox"),
    "metrics-server": ("metrics-server",),
    "servicelb": ("klipper-lb",),
    "traefik": ("klipper-helm", "traefik"),
}


def plan_k3s(content: Content, cluster: Cluster, node: Node, facts: Facts) -> Plan:
    """The plan for one node. Raises ContentError where something that it needs is missing."""
    leads = node.role == "control-plane"
    service = "k3s.service" if leads else "k3s-agent.service"
    files = [
        File("bin/k3s", content.file("k3s", "k3s"), 0o755),
        File("etc/resolv.conf", resolv_conf(cluster)),
        File("etc/config.yaml", json_text(_server(content, cluster, node) if leads else _agent(content, cluster, node))),
        # no mirrors and no endpoints: nothing is ever pulled from anywhere
        File("etc/registries.yaml", json_text({"mirrors": {}, "configs": {}})),
    ]
    if leads:
        files.append(File("etc/audit-policy.yaml", json_text(AUDIT_POLICY)))
    return Plan(
        stack=content.stack,
        sequence=content.sequence,
        platform=content.platform,
        node=node,
        files=tuple(sorted(files, key=lambda file: file.path)),
        outside=(File(f"/etc/systemd/system/{service}", _unit(facts, leads)), *kernel_files()),
        directories=(Directory("/etc/rancher/k3s", 0o700), Directory("/var/log/kubernetes", 0o700)),
        secrets=() if leads else (Secret(TOKEN, "k3s-token"),),
        modules=MODULES,
        settings=SETTINGS,
        archives=(Archive(IMAGES, tuple(sorted(content.images, key=lambda image: image.name))),),
        links=_links(service, leads),
        steps=_steps(node, service, leads),
        services=(service,),
    )


def _server(content: Content, cluster: Cluster, node: Node) -> dict[str, Any]:
    arguments = {
        "audit-log-maxage": "30",
        "audit-log-path": "/var/log/kubernetes/audit.log",
        "audit-policy-file": current("etc/audit-policy.yaml"),
        "profiling": "false",
    }
    return {
        **_common(content, node),
        "advertise-address": node.address,
        "cluster-cidr": cluster.network.pods,
        "cluster-dns": cluster.dns_address,
        "cluster-domain": cluster.network.domain,
        "disable": [part for part, images in _NEEDS.items() if not all(map(content.has_image, images))],
        "disable-helm-controller": not content.has_image("klipper-helm"),
        "flannel-backend": "vxlan",
        "kube-apiserver-arg": [f"{name}={value}" for name, value in sorted(arguments.items())],
        "secrets-encryption": True,
        "service-cidr": cluster.network.services,
        "tls-san": sorted({node.address, cluster.endpoint_for(node).rpartition(":")[0]}),
        "write-kubeconfig-mode": "0600",
    }


def _agent(content: Content, cluster: Cluster, node: Node) -> dict[str, Any]:
    return {**_common(content, node), "server": f"https://{cluster.endpoint_for(node)}", "token-file": TOKEN}


def _common(content: Content, node: Node) -> dict[str, Any]:
    return {
        "node-ip": node.address,
        "node-name": node.name,
        "kubelet-arg": ["anonymous-auth=false", "read-only-port=0"],
        "pause-image": content.image("pause").pinned,
        "prefer-bundled-bin": True,
        "private-registry": current("etc/registries.yaml"),
        "protect-kernel-defaults": True,
        "resolv-conf": current("etc/resolv.conf"),
    }


def _unit(facts: Facts, leads: bool) -> str:
    service: Section = [
        ("Type", "notify" if leads else "exec"),
        ("ExecStart", f"{current('bin/k3s')} {'server' if leads else 'agent'} --config {current('etc/config.yaml')}"),
        ("Delegate", "yes"),
        ("KillMode", "process"),
        ("Restart", "always"),
        ("RestartSec", "5"),
        ("TasksMax", "infinity"),
        ("TimeoutStartSec", "0"),
        *([("LimitNOFILE", "1048576")] if facts.adjust_oom else []),
    ]
    what = "server" if leads else "agent"
    return unit(
        {
            "Unit": [("Description", f"k3s {what}"), ("Wants", "network-online.target"), ("After", "network-online.target")],
            "Service": service,
            "Install": [("WantedBy", "multi-user.target")],
        }
    )


def _links(service: str, leads: bool) -> tuple[Link, ...]:
    names = ("k3s", "kubectl", "crictl", "ctr") if leads else ("k3s", "crictl", "ctr")
    wants = Link(f"/etc/systemd/system/multi-user.target.wants/{service}", f"/etc/systemd/system/{service}")
    return (*(Link(f"/usr/local/bin/{name}", current("bin/k3s")) for name in names), wants)


def _steps(node: Node, service: str, leads: bool) -> tuple[Run | Await, ...]:
    steps = (
        Run("systemd reads its units", ("systemctl", "daemon-reload")),
        Run(f"{service} starts", ("systemctl", "restart", service), timeout=600),
    )
    if not leads:
        return (*steps, Await(f"{service} runs", ("systemctl", "is-active", service), "active"))
    condition = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    argv = (current("bin/k3s"), "kubectl", "--kubeconfig", KUBECONFIG, "get", "node", node.name, "-o", condition)
    return (*steps, Await(f"node {node.name} is Ready", argv, "True", timeout=300))
