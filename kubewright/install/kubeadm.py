"""kubeadm's configuration as data (kubeadm.k8s.io/v1beta4), and what hardens API server, etcd and kubelet.

Followed are Kubernetes' own documents: "Securing a cluster", "Kubelet authentication/authorization", "Encrypting confidential
data at rest", "Auditing". Anonymous requests are refused but for the health checks of static pods and the signed cluster-info
that a joining node reads before it trusts anybody (it compares the CA's hash).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubewright.install.content import Content, Image
from kubewright.install.plan import Facts, current
from kubewright.install.runtime import SOCKET
from kubewright.install.settings import Cluster, Node

API: Final = "kubeadm.k8s.io/v1beta4"
SECRETS: Final = "/etc/kubernetes/kubewright"
ENCRYPTION: Final = f"{SECRETS}/encryption.json"
AUDIT_LOGS: Final = "/var/log/kubernetes"
#: a token that kubeadm insists on making; long enough for init itself, too short for anybody
_FIRST_TOKEN: Final = {
    "ttl": "1m0s",
    "usages": ["signing", "authentication"],
    "groups": ["system:bootstrappers:kubeadm:default-node-token"],
}

AUTHENTICATION: Final[Mapping[str, Any]] = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AuthenticationConfiguration",
    "anonymous": {
        "enabled": True,
        "conditions": [
            {"path": "/livez"},
            {"path": "/readyz"},
            {"path": "/healthz"},
            {"path": "/api/v1/namespaces/kube-public/configmaps/cluster-info"},
        ],
    },
}

#: secrets and tokens never with their content; reads of the system's own controllers not at all; the rest as metadata
AUDIT_POLICY: Final[Mapping[str, Any]] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/livez*", "/readyz*", "/healthz*", "/version", "/openapi*"]},
        {
            "level": "None",
            "verbs": ["get", "list", "watch"],
            "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"],
        },
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "Metadata"},
    ],
}


def image_patch(container: str, image: Image) -> dict[str, Any]:
    """Names a static pod's image by digest."""
    return {"spec": {"containers": [{"name": container, "image": image.pinned, "imagePullPolicy": "Never"}]}}


def kubelet_patch(facts: Facts) -> dict[str, Any]:
    """What differs between the nodes of one cluster, over the configuration that they share."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd" if facts.cgroup == 2 else "cgroupfs",
        "failCgroupV1": facts.cgroup == 2,
        "resolvConf": current("etc/resolv.conf"),
    }


def init_documents(content: Content, cluster: Cluster, node: Node, facts: Facts) -> tuple[Mapping[str, Any], ...]:
    """For ``kubeadm init``, without the token."""
    init = {
        "apiVersion": API,
        "kind": "InitConfiguration",
        "bootstrapTokens": [_FIRST_TOKEN],
        "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": 6443},
        "nodeRegistration": _registration(node, facts),
        "patches": {"directory": current("etc/patches")},
        "skipPhases": ["addon/coredns", "addon/kube-proxy", "show-join-command"],
    }
    return init, _cluster_configuration(content, cluster, node), _kubelet_configuration(cluster)


def join_documents(node: Node, facts: Facts) -> tuple[Mapping[str, Any], ...]:
    """For ``kubeadm join``, without endpoint, token and CA hash: these come with the join material."""
    return (
        {
            "apiVersion": API,
            "kind": "JoinConfiguration",
            "discovery": {"bootstrapToken": {}},
            "nodeRegistration": _registration(node, facts),
            "patches": {"directory": current("etc/patches")},
        },
    )


def _registration(node: Node, facts: Facts) -> dict[str, Any]:
    return {
        "name": node.name,
        "criSocket": f"unix://{SOCKET}",
        "imagePullPolicy": "Never",
        # kubeadm refuses cgroup v1 here; our preflight has asked for the explicit option before
        "ignorePreflightErrors": ["SystemVerification"] if facts.cgroup == 1 else [],
        "kubeletExtraArgs": [{"name": "node-ip", "value": node.address}],
    }


def _cluster_configuration(content: Content, cluster: Cluster, node: Node) -> dict[str, Any]:
    endpoint = cluster.endpoint_for(node)
    return {
        "apiVersion": API,
        "kind": "ClusterConfiguration",
        "clusterName": cluster.name,
        "kubernetesVersion": f"v{content.version('kubernetes')}",
        "controlPlaneEndpoint": endpoint,
        "networking": {
            "podSubnet": cluster.network.pods,
            "serviceSubnet": cluster.network.services,
            "dnsDomain": cluster.network.domain,
        },
        "etcd": {"local": {"imageTag": content.image("etcd").reference.rpartition(":")[2]}},
        "apiServer": {
            "certSANs": sorted({"localhost", "127.0.0.1", node.address, endpoint.rpartition(":")[0]}),
            "extraArgs": _arguments(_API_SERVER),
            "extraVolumes": [
                _volume("kubewright-config", current("etc/apiserver"), "/etc/kubernetes/config", "Directory"),
                _volume("kubewright-secrets", SECRETS, SECRETS, "Directory"),
                _volume("kubewright-audit", AUDIT_LOGS, AUDIT_LOGS, "DirectoryOrCreate", writable=True),
            ],
        },
        "controllerManager": {"extraArgs": _arguments({"profiling": "false"})},
        "scheduler": {"extraArgs": _arguments({"profiling": "false"})},
    }


_API_SERVER: Final = {
    "audit-log-maxage": "30",
    "audit-log-maxbackup": "5",
    "audit-log-maxsize": "100",
    "audit-log-path": f"{AUDIT_LOGS}/audit.log",
    "audit-policy-file": "/etc/kubernetes/config/audit-policy.yaml",
    "authentication-config": "/etc/kubernetes/config/authentication.yaml",
    "encryption-provider-config": ENCRYPTION,
    "profiling": "false",
    "tls-min-version": "VersionTLS12",
}


def _arguments(arguments: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(arguments.items())]


def _volume(name: str, host: str, inside: str, kind: str, *, writable: bool = False) -> dict[str, Any]:
    return {"name": name, "hostPath": host, "mountPath": inside, "readOnly": not writable, "pathType": kind}


def _kubelet_configuration(cluster: Cluster) -> dict[str, Any]:
    """What all nodes share."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        # all of upstream's thresholds: naming one drops the others
        "evictionHard": {
            "imagefs.available": cluster.kubelet.free_disk,
            "imagefs.inodesFree": "5%",
            "memory.available": "100Mi",
            "nodefs.available": cluster.kubelet.free_disk,
            "nodefs.inodesFree": "5%",
        },
        "clusterDNS": [cluster.dns_address],
        "clusterDomain": cluster.network.domain,
        "protectKernelDefaults": True,
        "readOnlyPort": 0,
        "rotateCertificates": True,
        "seccompDefault": True,
        "tlsMinVersion": "VersionTLS12",
    }


def encryption_configuration(key: str) -> dict[str, Any]:
    """Secrets in etcd are encrypted with ``key`` (base64 of 32 random bytes); what was written in plain text stays readable."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [
            {
                "resources": ["secrets"],
                "providers": [{"secretbox": {"keys": [{"name": "kubewright-1", "secret": key}]}}, {"identity": {}}],
            }
        ],
    }
