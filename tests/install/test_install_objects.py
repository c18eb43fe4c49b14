"""What a site's settings make of upstream's objects."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from contents import CLUSTER, CONTROL_PLANE, config_map, content, digest, workload

from kubewright.install.content import Image, Manifest
from kubewright.install.errors import ContentError
from kubewright.install.kubernetes import parameters
from kubewright.install.objects import corefile, for_site, parse

PARAMETERS = parameters(CLUSTER, CONTROL_PLANE)
IMAGE = content().image("coredns").pinned


def made(name: str, *objects: dict[str, Any], **changes: object) -> list[dict[str, Any]]:
    return [each for batch in for_site(name, list(objects), {**PARAMETERS, **changes}, content()) for each in batch]


def test_only_verified_bytes_are_read() -> None:
    with pytest.raises(ContentError, match="not the verified one"):
        parse(b"kind: Pod\n", Manifest("m", digest(b"else")))


@pytest.mark.parametrize("data", [b"- 1\n", b"{", b"kind: A\n", b"!!python/object/apply:os.system ['true']\n", b"\xff\xfe"])
def test_what_holds_no_objects_is_refused(data: bytes) -> None:
    with pytest.raises(ContentError):
        parse(data, Manifest("m", digest(data)))


@pytest.mark.parametrize("image", ["busybox", "registry.k8s.io/pause:3.10.2", IMAGE[:-1] + "0"])
def test_an_image_that_the_content_lacks_is_refused(image: str) -> None:
    with pytest.raises(ContentError, match="does not have under this digest"):
        made("any", workload(image))


def test_nothing_is_pulled() -> None:
    (found,) = made("any", workload(IMAGE))
    assert found["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Never"


def test_a_tag_before_the_digest_is_for_people() -> None:
    repository, _, digest = IMAGE.partition("@")
    assert made("any", workload(f"{repository}:v1.14.6@{digest}"))
    with pytest.raises(ContentError):
        made("any", workload(f"{repository}:v1@{digest}"))


@pytest.mark.parametrize(("short", "full"), [("busybox", "docker.io/library/busybox"), ("rancher/p", "docker.io/rancher/p")])
def test_a_short_name_is_one_of_docker_io(short: str, full: str) -> None:
    image = Image("x", f"{full}:v1", digest(b"x"), 1)
    offered = replace(content(), images=(image,))
    assert for_site("any", [workload(f"{short}:v1@{image.digest}")], PARAMETERS, offered)


def test_definitions_come_first_and_webhooks_last() -> None:
    kinds = ["ValidatingWebhookConfiguration", "Deployment", "Namespace", "CustomResourceDefinition"]
    objects = [{"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}} for kind in kinds]
    batches = for_site("metallb", objects, PARAMETERS, content())
    assert [[each["kind"] for each in batch] for batch in batches] == [
        ["Namespace", "CustomResourceDefinition"],
        ["IPAddressPool", "L2Advertisement"],
        ["Deployment"],
        ["ValidatingWebhookConfiguration"],
    ]


def test_metallb_gives_the_sites_addresses() -> None:
    pool = next(each for each in made("metallb") if each["kind"] == "IPAddressPool")
    assert pool["spec"]["addresses"] == ["192.0.2.200-192.0.2.220"]
    assert made("metallb", load_balancer_addresses=[]) == []


def test_kube_proxy_knows_the_site() -> None:
    (found,) = made("kube-proxy", config_map("kube-proxy", **{"config.conf": "old", "kubeconfig.conf": "old"}))
    configuration = yaml.safe_load(found["data"]["config.conf"])
    assert (configuration["mode"], configuration["clusterCIDR"]) == ("nftables", "10.244.0.0/16")
    kubeconfig = yaml.safe_load(found["data"]["kubeconfig.conf"])
    assert kubeconfig["clusters"][0]["cluster"]["server"] == "https://192.0.2.10:6443"


@pytest.mark.parametrize(("choice", "touched"), [("tune", False), ("keep", True)])
def test_kube_proxy_leaves_the_kernels_table_alone_where_it_must(choice: str, touched: bool) -> None:
    (found,) = made("kube-proxy", config_map("kube-proxy"), conntrack=choice)
    assert ("conntrack" in yaml.safe_load(found["data"]["config.conf"])) is touched


def test_coredns_asks_nobody_unless_the_site_says_whom() -> None:
    assert "forward" not in corefile(PARAMETERS)
    assert "loop" not in corefile(PARAMETERS)
    assert "forward . 192.0.2.53 {" in corefile({**PARAMETERS, "dns_upstream": ["192.0.2.53"]})


def test_dns_has_the_address_that_kubelets_name() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns"}, "spec": {"clusterIP": "10.96.0.10"}}
    (found,) = made("coredns", service, dns_address="10.1.0.10")
    assert found["spec"]["clusterIP"] == "10.1.0.10"


def test_flannel_has_the_pods_subnet() -> None:
    (found,) = made("flannel", config_map("kube-flannel-cfg", **{"net-conf.json": "{}", "cni-conf.json": "kept"}))
    assert json.loads(found["data"]["net-conf.json"])["Network"] == "10.244.0.0/16"
    assert found["data"]["cni-conf.json"] == "kept"


def test_local_path_is_the_default_class() -> None:
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local-path"}}
    found = made("local-path-provisioner", config_map("local-path-config", **{"config.json": "{}"}), storage)
    assert json.loads(found[0]["data"]["config.json"])["nodePathMap"][0]["paths"] == ["/var/lib/kubewright/volumes"]
    assert found[1]["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
