"""Plans, whole: what an install does to a host is in these files (KUBEWRIGHT_GOLDEN=write makes them anew)."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from contents import CLUSTER, CONTROL_PLANE, FACTS, WORKER, content, shelf

from kubewright.install.content import Content
from kubewright.install.errors import ContentError, SiteError
from kubewright.install.k3s import plan_k3s
from kubewright.install.kubernetes import plan_kubernetes
from kubewright.install.plan import Facts, Kubeadm, Plan
from kubewright.install.run import Options, choose_node
from kubewright.install.settings import Cluster, Dns
from kubewright.install.show import plan_data, plan_text

GOLDEN = Path(__file__).parents[1] / "data" / "install"
#: digests of its scripts are in the files, and so must not depend on where this checkout lies
SHELF = shelf("/usr/bin/python3")
PLANS = {
    "kubernetes-control-plane": lambda: plan_kubernetes(content(SHELF), CLUSTER, CONTROL_PLANE, FACTS),
    "kubernetes-worker": lambda: plan_kubernetes(content(SHELF), CLUSTER, WORKER, FACTS),
    "k3s-server": lambda: plan_k3s(content(SHELF, stack="k3s"), CLUSTER, CONTROL_PLANE, FACTS),
    "k3s-agent": lambda: plan_k3s(content(SHELF, stack="k3s"), CLUSTER, WORKER, FACTS),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_the_golden_one(name: str) -> None:
    found = plan_data(PLANS[name]())
    path = GOLDEN / f"{name}.json"
    if os.environ.get("KUBEWRIGHT_GOLDEN") == "write":
        path.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(path.read_text())


def plan(**changes: object) -> Plan:
    return plan_kubernetes(content(), CLUSTER, CONTROL_PLANE, dataclasses.replace(FACTS, **changes))


def text(plan: Plan, path: str) -> str:
    found = next(file.content for file in (*plan.files, *plan.outside) if file.path == path)
    assert isinstance(found, str)
    return found


def test_the_directory_is_named_by_its_files() -> None:
    assert plan().release == plan().release
    assert plan().release != plan(cgroup=1).release


def test_cgroup_v1_is_said_to_everybody_who_has_to_know() -> None:
    made = plan(cgroup=1)
    assert "SystemdCgroup = false" in text(made, "etc/containerd.toml")
    assert json.loads(text(made, "etc/patches/kubeletconfiguration0+strategic.json"))["failCgroupV1"] is False


def test_without_the_privilege_nobody_asks_for_a_lower_oom_score() -> None:
    made = plan(adjust_oom=False)
    assert "restrict_oom_score_adj = true" in text(made, "etc/containerd.toml")
    assert "OOMScoreAdjust" not in text(made, "/etc/systemd/system/kubelet.service")


def test_every_image_of_the_control_plane_goes_by_digest() -> None:
    made = plan()
    assert "registry.k8s.io/pause@sha256:" in text(made, "etc/containerd.toml")
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        patch = json.loads(text(made, f"etc/patches/{name}0+strategic.json"))
        assert patch["spec"]["containers"][0]["image"] == content().image(name).pinned


def test_a_worker_gets_no_image_of_the_control_plane() -> None:
    made = plan_kubernetes(content(), CLUSTER, WORKER, FACTS)
    assert not {image.name for image in made.images} & {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}


def test_a_plan_holds_no_token() -> None:
    for role in (CONTROL_PLANE, WORKER):
        made = plan_kubernetes(content(), CLUSTER, role, FACTS)
        step = next(step for step in made.steps if isinstance(step, Kubeadm))
        assert '"token"' not in json.dumps([dict(each) for each in step.documents])


def test_the_hosts_resolver_is_not_the_pods() -> None:
    cluster = dataclasses.replace(CLUSTER, dns=Dns(("192.0.2.53",)))
    assert text(plan_kubernetes(content(), cluster, WORKER, FACTS), "etc/resolv.conf") == "nameserver 192.0.2.53\n"
    assert "nameserver" not in text(plan(), "etc/resolv.conf")


def test_people_see_all_of_it() -> None:
    shown = plan_text(plan())
    for each in ("bin/kubelet", "kubelet.service", "net.ipv4.ip_forward = 1", "registry.k8s.io/etcd:3.7.3-0", "kubeadm init"):
        assert each in shown


def without(*, image: str = "", component: str = "", manifest: str = "") -> Content:
    whole = content()
    return dataclasses.replace(
        whole,
        images=tuple(each for each in whole.images if each.name != image),
        files=tuple(each for each in whole.files if each.component != component),
        manifests=tuple(each for each in whole.manifests if each.name != manifest),
    )


@pytest.mark.parametrize("lacking", [{"image": "pause"}, {"image": "etcd"}, {"component": "runc"}, {"manifest": "coredns"}])
def test_what_is_lacking_is_named(lacking: dict[str, str]) -> None:
    with pytest.raises(ContentError, match=next(iter(lacking.values()))):
        plan_kubernetes(without(**lacking), CLUSTER, CONTROL_PLANE, FACTS)


def test_a_host_is_the_node_of_its_name() -> None:
    assert choose_node(CLUSTER, Options(), FACTS) == CONTROL_PLANE
    assert choose_node(CLUSTER, Options(node="two"), FACTS) == WORKER


def test_a_host_that_nobody_lists_says_what_it_is() -> None:
    assert choose_node(Cluster(), Options(role="worker"), FACTS).address == FACTS.address


@pytest.mark.parametrize(
    ("cluster", "options", "facts"),
    [
        (CLUSTER, Options(role="worker"), FACTS),
        (CLUSTER, Options(node="three"), FACTS),
        (Cluster(), Options(), FACTS),
    ],
)
def test_a_node_that_is_not_clear_is_refused(cluster: Cluster, options: Options, facts: Facts) -> None:
    with pytest.raises(SiteError):
        choose_node(cluster, options, facts)


@pytest.mark.parametrize(
    ("image", "disabled"),
    [
        ("klipper-lb", ["servicelb", "traefik"]),
        ("klipper-helm", ["gateway-api-crd", "traefik"]),
        ("busybox", ["local-storage", "traefik"]),
        ("coredns", ["coredns", "traefik"]),
    ],
)
def test_k3s_is_told_to_leave_out_what_there_is_no_image_for(image: str, disabled: list[str]) -> None:
    whole = content(stack="k3s")
    made = plan_k3s(
        dataclasses.replace(whole, images=tuple(each for each in whole.images if each.name != image)),
        CLUSTER,
        CONTROL_PLANE,
        FACTS,
    )
    settings = json.loads(text(made, "etc/config.yaml"))
    assert settings["disable"] == disabled
    assert settings["disable-helm-controller"] is (image == "klipper-helm")


def test_k3s_is_not_planned_without_pause() -> None:
    whole = content(stack="k3s")
    images = tuple(each for each in whole.images if each.name != "pause")
    with pytest.raises(ContentError, match="the image pause"):
        plan_k3s(dataclasses.replace(whole, images=images), CLUSTER, CONTROL_PLANE, FACTS)
