"""cluster.toml: what it may say, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.install.errors import SiteError
from kubewright.install.settings import Cluster, load_cluster


def load(tmp_path: Path, text: str) -> Cluster:
    (tmp_path / "cluster.toml").write_text(text)
    return load_cluster(tmp_path / "cluster.toml")


def test_everything_has_a_default(tmp_path: Path) -> None:
    cluster = load(tmp_path, "")
    assert (cluster.network.pods, cluster.network.services, cluster.dns_address) == (
        "10.244.0.0/16",
        "10.96.0.0/16",
        "10.96.0.10",
    )


def test_nodes_are_tables(tmp_path: Path) -> None:
    cluster = load(tmp_path, '[[node]]\nname = "one"\naddress = "192.0.2.1"\nrole = "control-plane"\n')
    node = cluster.node("one")
    assert node is not None
    assert cluster.endpoint_for(node) == "192.0.2.1:6443"


NODE = '[[node]]\nname = "one"\naddress = "192.0.2.1"\nrole = "control-plane"\n'
MISTAKES = {
    "subnets overlap": ('[network]\npods = "10.96.0.0/12"\n', "network.services: 10.96.0.0/16 overlaps"),
    "no subnet": ('[network]\npods = "10.244.0.1/16"\n', "network.pods: 10.244.0.1/16 has host bits set"),
    "too small": ('[network]\npods = "10.244.0.0/28"\n', "network.pods: 10.244.0.0/28 is too small"),
    "no address": ('[[node]]\nname = "one"\naddress = "192.0.2.300"\nrole = "control-plane"\n', "node[0].address"),
    "inside": (
        '[[node]]\nname = "one"\naddress = "10.244.0.9"\nrole = "control-plane"\n',
        "is in the cluster's own 10.244.0.0/16",
    ),
    "twice": (NODE + NODE.replace("control-plane", "worker"), "'one' is there twice"),
    "no control plane": (NODE.replace("control-plane", "worker"), "none is a control plane"),
    "two control planes": (NODE + NODE.replace("one", "two").replace(".1", ".2"), "more than one control plane"),
    "role": (NODE.replace("control-plane", "master"), "node[0].role"),
    "pool": ('[load_balancer]\naddresses = ["192.0.2.20-192.0.2.10"]\n', "ends before it begins"),
    "unknown key": ('[network]\npod = "10.0.0.0/8"\n', "network.pod: unknown key"),
    "shell": ('name = "$(id)"\n', "name: '$(id)' is not a host name"),
    "unit": ('[storage]\npath = "/a\\nExecStart=/bin/sh"\n', "storage.path"),
    "disk": ('[kubelet]\nfree_disk = "lots"\n', "kubelet.free_disk"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SiteError) as failure:
        load(tmp_path, text)
    assert message in f"{failure.value.message}\n{failure.value.details}"
