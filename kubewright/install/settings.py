"""Site settings: what a cluster is called, where its nodes are, which addresses it uses. The file is the site's, cluster.toml.

Everything has a default but the nodes' addresses: a host that no ``[[node]]`` names takes its own name and the address that its
default route uses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from kubewright.install.errors import SiteError
from kubewright.model import tomlfile
from kubewright.model.schema import Doc, Key, KeyPath, NotEmpty, Pattern, Problem

Role = Literal["control-plane", "worker"]
ROLES: Final[tuple[Role, ...]] = ("control-plane", "worker")

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NodeName = Annotated[str, Pattern(rf"{_LABEL}(\.{_LABEL})*", "a host name (lower-case letters, digits, - and .)")]
Domain = Annotated[str, Pattern(rf"{_LABEL}(\.{_LABEL})*", "a domain name")]
Address = Annotated[str, Pattern(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", "an IPv4 address")]
Subnet = Annotated[str, Pattern(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}", "an IPv4 subnet such as 10.244.0.0/16")]
Pool = Annotated[
    str,
    Pattern(
        r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2}|-[0-9]{1,3}(\.[0-9]{1,3}){3})",
        "a range of addresses such as 192.0.2.10-192.0.2.20 or 192.0.2.0/28",
    ),
]
AbsolutePath = Annotated[str, Pattern(r"/[A-Za-z0-9._/-]*[A-Za-z0-9._-]", "an absolute path")]


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses inside the cluster. They may not overlap with each other or with the nodes' network."""

    pods: Annotated[Subnet, Doc("Each node gets a /24 of it for its pods.")] = "10.244.0.0/16"
    services: Annotated[Subnet, Doc("ClusterIPs.")] = "10.96.0.0/16"
    domain: Annotated[Domain, Doc("The cluster's DNS domain.")] = "cluster.local"
    proxy: Annotated[Literal["nftables", "iptables"], Doc("How kube-proxy makes services.")] = "nftables"
    conntrack: Annotated[
        Literal["tune", "keep"],
        Doc("Whether kube-proxy sizes the kernel's table of connections. keep: nodes that share a kernel cannot change it."),
    ] = "tune"


@dataclass(frozen=True, slots=True)
class Dns:
    """The cluster's DNS."""

    upstream: Annotated[tuple[Address, ...], Doc("Resolvers for other names. Empty: only the cluster's names resolve.")] = ()


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """Services of type LoadBalancer, announced by MetalLB on layer 2."""

    addresses: Annotated[tuple[Pool, ...], Doc("Addresses of the nodes' network to give away. Empty: none.")] = ()


@dataclass(frozen=True, slots=True)
class Storage:
    """Volumes on the nodes' own disks (local-path-provisioner, the default StorageClass)."""

    path: Annotated[AbsolutePath, Doc("Where they lie on each node.")] = "/var/lib/kubewright/volumes"


@dataclass(frozen=True, slots=True)
class Kubelet:
    """Limits of the nodes."""

    free_disk: Annotated[
        str,
        Doc("Pods are evicted where less of the disk is free: a share such as 10%, or an amount such as 2Gi."),
        Pattern(r"[1-9][0-9]?%|[1-9][0-9]*(Mi|Gi)", "a share such as 10% or an amount such as 2Gi"),
    ] = "10%"


@dataclass(frozen=True, slots=True)
class Registry:
    """The bundle's images, for nodes that have lost one. Each node has them all from its install."""

    serve: Annotated[bool, Doc("Whether the control plane offers them, on port 5000 of its address.")] = False


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster."""

    name: Annotated[NodeName, Doc("Its host name; also its name in the cluster.")]
    address: Annotated[Address, Doc("Where the other nodes reach it.")]
    role: Annotated[Role, Doc("control-plane: API server, etcd, controllers. worker: pods.")]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Site settings. The file is the site's, cluster.toml by habit; not to be confused with the policy."""

    name: Annotated[NodeName, Doc("The cluster's name, shown in kubeconfigs.")] = "kubewright"
    endpoint: Annotated[
        str,
        Doc("HOST:PORT of the API server, if it is not the first control-plane node's address and 6443."),
        Pattern(r"[A-Za-z0-9.-]+:[0-9]{1,5}", "HOST:PORT"),
        NotEmpty(),
    ] = "auto:6443"
    network: Annotated[Network, Doc("Addresses inside the cluster.")] = field(default_factory=Network)
    dns: Annotated[Dns, Doc("The cluster's DNS.")] = field(default_factory=Dns)
    load_balancer: Annotated[LoadBalancer, Doc("Services of type LoadBalancer.")] = field(default_factory=LoadBalancer)
    kubelet: Annotated[Kubelet, Doc("Limits of the nodes.")] = field(default_factory=Kubelet)
    registry: Annotated[Registry, Doc("A registry in the cluster.")] = field(default_factory=Registry)
    storage: Annotated[Storage, Doc("Volumes on the nodes' own disks.")] = field(default_factory=Storage)
    nodes: Annotated[tuple[Node, ...], Key("node"), Doc("The machines. A host that is not listed describes itself.")] = ()

    def node(self, name: str) -> Node | None:
        """The node of that name, if it is listed."""
        return next((node for node in self.nodes if node.name == name), None)

    def endpoint_for(self, own: Node) -> str:
        """HOST:PORT of the API server, as ``own`` has to use it."""
        host, _, port = self.endpoint.rpartition(":")
        if host != "auto":
            return self.endpoint
        first = next((node for node in self.nodes if node.role == "control-plane"), own)
        return f"{first.address}:{port}"

    @property
    def dns_address(self) -> str:
        """The ClusterIP of the DNS service: the tenth of the services' subnet, as kubeadm has it."""
        return str(ipaddress.ip_network(self.network.services)[10])


def load_cluster(path: Path) -> Cluster:
    """The settings in ``path``; raises SiteError with every problem found."""
    return tomlfile.load(Cluster, tomlfile.read(path, SiteError), check_cluster)


def check_cluster(cluster: Cluster) -> Iterator[Problem]:
    """What the types cannot say: real addresses, no overlaps, names and addresses once."""
    subnets: list[tuple[KeyPath, ipaddress.IPv4Network]] = []
    for key, text in (("pods", cluster.network.pods), ("services", cluster.network.services)):
        path: KeyPath = ("network", key)
        try:
            subnets.append((path, ipaddress.IPv4Network(text)))
        except ValueError as reason:
            yield Problem(path, str(reason), "the address of a subnet ends with zero bits: 10.244.0.0/16")
    if len(subnets) == 2 and subnets[0][1].overlaps(subnets[1][1]):
        yield Problem(subnets[1][0], f"{subnets[1][1]} overlaps with the pods' {subnets[0][1]}")
    for path, network in subnets:
        if network.num_addresses < 256:
            yield Problem(path, f"{network} is too small", "a node's pods take a /24 of it")
    yield from _check_nodes(cluster, [network for _, network in subnets])
    for index, pool in enumerate(cluster.load_balancer.addresses):
        yield from _check_pool(("load_balancer", "addresses", index), pool)


def _check_nodes(cluster: Cluster, subnets: list[ipaddress.IPv4Network]) -> Iterator[Problem]:
    for index, node in enumerate(cluster.nodes):
        path: KeyPath = ("node", index)
        try:
            address = ipaddress.IPv4Address(node.address)
        except ValueError as reason:
            yield Problem((*path, "address"), str(reason))
            continue
        inside = next((network for network in subnets if address in network), None)
        if inside:
            yield Problem((*path, "address"), f"{address} is in the cluster's own {inside}")
        for other in cluster.nodes[:index]:
            if other.name == node.name:
                yield Problem((*path, "name"), f"{node.name!r} is there twice")
            if other.address == node.address:
                yield Problem((*path, "address"), f"{node.address} is {other.name}'s")
    if cluster.nodes and all(node.role != "control-plane" for node in cluster.nodes):
        yield Problem(("node",), "none is a control plane", 'one needs role = "control-plane"')
    if sum(node.role == "control-plane" for node in cluster.nodes) > 1:
        yield Problem(
            ("node",),
            "more than one control plane",
            "one, and any number of workers: several are not written yet",
        )


def _check_pool(path: KeyPath, pool: str) -> Iterator[Problem]:
    try:
        if "/" in pool:
            ipaddress.IPv4Network(pool)
        else:
            first, last = (ipaddress.IPv4Address(part) for part in pool.split("-"))
            if last < first:
                yield Problem(path, f"{pool} ends before it begins")
    except ValueError as reason:
        yield Problem(path, str(reason))
