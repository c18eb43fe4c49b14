"""The registry of a site that wants one: what it serves, from where, and that it can do nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from contents import CLUSTER, CONTROL_PLANE, FACTS, WORKER, content, make_host

from kubewright.install.content import Image
from kubewright.install.errors import ContentError, InstallError, SiteError
from kubewright.install.host import Host
from kubewright.install.kubernetes import plan_kubernetes
from kubewright.install.plan import Give, Plan, Serve
from kubewright.install.registry import STORAGE, fill_storage
from kubewright.install.settings import Cluster, Node, Registry
from kubewright.model import tomlfile

SERVING = replace(CLUSTER, registry=Registry(serve=True))
WITH_REGISTRY = replace(
    content(), images=(*content().images, Image("registry", "docker.io/library/registry:3", "sha256:" + "5" * 64, 9))
)


def plan(node: Node = CONTROL_PLANE, cluster: Cluster = SERVING) -> Plan:
    return plan_kubernetes(WITH_REGISTRY, cluster, node, FACTS)


def hosts(made: Plan) -> dict[str, str]:
    """Registry -> text of its hosts.toml."""
    return {
        file.path.split("/")[-2]: str(file.content)
        for file in made.outside
        if file.path.startswith("/var/lib/kubewright/certs.d/")
    }


def test_nobody_serves_unless_a_site_asks() -> None:
    made = plan(cluster=CLUSTER)
    assert not [step for step in made.steps if isinstance(step, (Give, Serve))]
    assert hosts(made).keys() == {"_default"}


@pytest.mark.parametrize("node", [CONTROL_PLANE, WORKER], ids=["control plane", "worker"])
def test_every_node_asks_the_control_plane_for_names_of_the_bundle(node: Node) -> None:
    found = hosts(plan(node))
    assert found.keys() == {"_default", "docker.io", "ghcr.io", "registry.k8s.io"}
    one = tomlfile.parse(found["docker.io"], "hosts.toml", InstallError).data
    assert one["server"] == "http://192.0.2.10:5000/v2/docker.io"
    assert one["override_path"] is True
    assert "192.0.2.10" not in found["_default"]


def test_it_runs_on_the_control_plane_with_no_privilege() -> None:
    assert not [step for step in plan(WORKER).steps if isinstance(step, (Give, Serve))]
    give = next(step for step in plan().steps if isinstance(step, Give))
    pod = give.objects[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"].startswith("docker.io/library/registry@sha256:")
    assert container["imagePullPolicy"] == "Never"
    assert container["securityContext"]["runAsNonRoot"] is True
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    config = json.loads(next(str(file.content) for file in plan().files if file.path == "etc/registry/config.json"))
    assert config["storage"]["maintenance"]["readonly"] == {"enabled": True}
    assert config["http"]["addr"] == "192.0.2.10:5000"


def test_a_worker_has_to_know_where_it_is() -> None:
    with pytest.raises(SiteError, match="where the registry runs"):
        plan(WORKER, Cluster(registry=Registry(serve=True)))


# -- its storage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(make_host(tmp_path / "root"))


def blob(host: Host, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    folder = host.path("/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return f"sha256:{name}"


def an_image(host: Host) -> Image:
    config, layer = blob(host, b"{}"), blob(host, b"layer")
    manifest = blob(host, json.dumps({"config": {"digest": config}, "layers": [{"digest": layer}]}).encode())
    return Image("pause", "registry.k8s.io/a/pause:3", manifest, 7)


def test_its_storage_is_links_to_what_containerd_has(host: Host) -> None:
    image = an_image(host)
    fill_storage(host, (image,))
    fill_storage(host, (image,))
    root = host.path(STORAGE) / "docker/registry/v2"
    data = sorted(root.glob("blobs/sha256/*/*/data"))
    assert len(data) == 3
    assert all(path.stat().st_nlink == 2 for path in data)
    repository = root / "repositories/registry.k8s.io/a/pause"
    assert (repository / "_manifests/tags/3/current/link").read_text() == image.digest
    links = {path.read_text() for path in repository.rglob("link")}
    assert links == {f"sha256:{path.parent.name}" for path in data}
    assert all(path.stat().st_mode & 0o555 == 0o555 for path in root.rglob("*") if path.is_dir())


def test_what_containerd_lacks_is_said(host: Host) -> None:
    image = an_image(host)
    next(host.path("/var/lib/containerd").rglob(image.digest.removeprefix("sha256:"))).unlink()
    with pytest.raises(ContentError, match="containerd has no blob"):
        fill_storage(host, (image,))
