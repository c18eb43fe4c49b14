"""The plan for upstream Kubernetes: containerd and the kubelet as units, kubeadm for the rest, images and objects by digest.

What kubeadm would make itself and name by tag is taken out of its hands: static pods get digests through patches, and
kube-proxy and CoreDNS come from the content's manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubewright.install import kubeadm, pulls, registry, runtime
from kubewright.install.content import Content, Image
from kubewright.install.plan import (
    CURRENT,
    Apply,
    Await,
    Directory,
    Facts,
    File,
    Import,
    Kubeadm,
    Link,
    NewSecret,
    Plan,
    Run,
    Secret,
    Step,
    current,
)
from kubewright.install.render import json_text
from kubewright.install.settings import Cluster, Node

STACK: Final = "kubernetes"
ADMIN: Final = "/etc/kubernetes/admin.conf"
KUBELET: Final = "/etc/kubernetes/kubelet.conf"
_CONTROL_PLANE: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
#: component -> programs. etcd's clients are in its image, flannel's CNI plugin in that of its manifest
_PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "runc": ("runc",),
    "kubernetes": ("kubelet", "kubeadm"),
    "kubectl": ("kubectl",),
}
#: what people type
_COMMANDS: Final = ("kubectl", "kubeadm", "ctr")
#: where MetalLB's speakers look for the password that they share. Its controller makes one, but runs only on workers: the
#: speaker of a control plane without any would wait
_MEMBERLIST: Final = ("metallb-system", "memberlist", "secretkey")
#: what the content's manifests are called, in the order in which they are given to the API server
MANIFESTS: Final = ("kube-proxy", "flannel", "coredns", "local-path-provisioner", "metrics-server", "metallb")


def plan_kubernetes(content: Content, cluster: Cluster, node: Node, facts: Facts) -> Plan:
    """The plan for one node. Raises ContentError where something that it needs is missing."""
    leads = node.role == "control-plane"
    return Plan(
        stack=content.stack,
        sequence=content.sequence,
        platform=content.platform,
        node=node,
        files=tuple(sorted(_files(content, cluster, node, facts), key=lambda file: file.path)),
        outside=(*runtime.units(facts), *runtime.kernel_files(), *_hosts_files(content, cluster, node)),
        directories=_directories(leads),
        secrets=(Secret(kubeadm.ENCRYPTION, "encryption-key"),) if leads else (),
        modules=runtime.MODULES,
        settings=runtime.SETTINGS,
        archives=(),
        links=_links(),
        steps=tuple(_steps(content, cluster, node, facts)),
        services=runtime.SERVICES,
    )


def _hosts_files(content: Content, cluster: Cluster, node: Node) -> tuple[File, ...]:
    return (*pulls.hosts_files(), *registry.serving_hosts(content, cluster, node))


def images_for(content: Content, node: Node) -> tuple[Image, ...]:
    """The images that a node may have to run."""
    wanted = [image for image in content.images if node.role == "control-plane" or image.name not in _CONTROL_PLANE]
    return tuple(sorted(wanted, key=lambda image: image.name))


def _files(content: Content, cluster: Cluster, node: Node, facts: Facts) -> list[File]:
    outputs = [content.file(component, name) for component, names in _PROGRAMS.items() for name in names]
    found = [File(f"bin/{file.name}", file, 0o755) for file in outputs]
    found += [File(f"cni/{file.name}", file, 0o755) for file in content.component("cni-plugins")]
    found += pulls.pull_files(content)
    found += registry.registry_files(cluster, node)
    found.append(File("etc/containerd.toml", runtime.containerd_toml(content, facts)))
    found.append(File("etc/resolv.conf", runtime.resolv_conf(cluster)))
    found.append(File("etc/patches/kubeletconfiguration0+strategic.json", json_text(kubeadm.kubelet_patch(facts))))
    if node.role == "control-plane":
        found += [
            File(f"etc/patches/{name}0+strategic.json", json_text(kubeadm.image_patch(name, content.image(name))))
            for name in _CONTROL_PLANE
        ]
        found.append(File("etc/apiserver/audit-policy.yaml", json_text(kubeadm.AUDIT_POLICY)))
        found.append(File("etc/apiserver/authentication.yaml", json_text(kubeadm.AUTHENTICATION)))
    return found


def _directories(leads: bool) -> tuple[Directory, ...]:
    common = (Directory("/etc/cni/net.d"), Directory("/etc/kubernetes"))
    return (*common, Directory(kubeadm.SECRETS, 0o700), Directory(kubeadm.AUDIT_LOGS, 0o700)) if leads else common


def _links() -> tuple[Link, ...]:
    wants = [
        Link(f"/etc/systemd/system/multi-user.target.wants/{service}", f"/etc/systemd/system/{service}")
        for service in runtime.SERVICES
    ]
    return (*(Link(f"/usr/local/bin/{name}", f"{CURRENT}/bin/{name}") for name in _COMMANDS), *wants)


def _steps(content: Content, cluster: Cluster, node: Node, facts: Facts) -> list[Step]:
    ctr = current("bin/ctr")
    steps: list[Step] = [
        Run("systemd reads its units", ("systemctl", "daemon-reload")),
        Run("containerd starts", ("systemctl", "restart", "containerd.service")),
        Await("containerd answers", (ctr, "version"), timeout=60),
        Import("images", images_for(content, node)),
        pulls.check_step(),
        Run("a kubelet that runs starts anew", ("systemctl", "try-restart", "kubelet.service")),
    ]
    if node.role == "worker":
        join = kubeadm.join_documents(node, facts)
        return [*steps, Kubeadm("kubeadm join", "join", join), _node_ready(node, KUBELET)]
    init = kubeadm.init_documents(content, cluster, node, facts)
    return [
        *steps,
        Kubeadm("kubeadm init", "init", init),
        Await("the API server is ready", _kubectl(ADMIN, "get", "--raw", "/readyz"), "ok"),
        *(_apply(content, cluster, node, name) for name in MANIFESTS),
        NewSecret("the password of MetalLB's speakers", *_MEMBERLIST),
        *registry.registry_steps(content, cluster, node),
        _node_ready(node, ADMIN),
    ]


def _apply(content: Content, cluster: Cluster, node: Node, name: str) -> Apply:
    return Apply(f"objects of {name}", name, content.manifest(name).digest, parameters(cluster, node))


def parameters(cluster: Cluster, node: Node) -> dict[str, Any]:
    """What manifests may ask of a site."""
    return {
        "endpoint": cluster.endpoint_for(node),
        "conntrack": cluster.network.conntrack,
        "pod_subnet": cluster.network.pods,
        "service_subnet": cluster.network.services,
        "dns_domain": cluster.network.domain,
        "dns_address": cluster.dns_address,
        "dns_upstream": list(cluster.dns.upstream),
        "proxy_mode": cluster.network.proxy,
        "load_balancer_addresses": list(cluster.load_balancer.addresses),
        "storage_path": cluster.storage.path,
    }


def _node_ready(node: Node, kubeconfig: str) -> Await:
    condition = '{.status.conditions[?(@.type=="Ready")].status}'
    argv = _kubectl(kubeconfig, "get", "node", node.name, "-o", f"jsonpath={condition}")
    return Await(f"node {node.name} is Ready", argv, "True", timeout=300)


def _kubectl(kubeconfig: str, *arguments: str) -> tuple[str, ...]:
    return (current("bin/kubectl"), "--kubeconfig", kubeconfig, *arguments)
