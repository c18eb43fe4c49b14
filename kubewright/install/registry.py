"""The bundle's images offered to the nodes of a site that wants that ([registry] serve): the stack's registry, read-only.

It runs on the control plane, on the host's network, without a privilege. Its storage (docs/spec of CNCF Distribution, the
filesystem driver's layout) is links to the blobs that containerd has anyway: no second copy, and it writes nothing. What a
node pulls from it goes through the verifier as everything does, so it needs no secret: it can refuse, and it cannot lie.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from kubewright.files.digest import sha256_bytes
from kubewright.install.content import Content, Image
from kubewright.install.errors import ContentError, SiteError
from kubewright.install.host import Host
from kubewright.install.journal import write_atomically
from kubewright.install.plan import HOME, File, Give, Serve, Step, current
from kubewright.install.pulls import HOSTS, nobody
from kubewright.install.render import json_text, toml
from kubewright.install.runtime import blob_path
from kubewright.install.settings import Cluster, Node

PORT: Final = 5000
STORAGE: Final = f"{HOME}/registry"
CONFIG: Final = "etc/registry/config.json"
_NOBODY: Final = 65534
_NAME: Final = "kubewright-registry"


# -- the plan ------------------------------------------------------------------------------------------------------------


def registry_files(cluster: Cluster, node: Node) -> list[File]:
    """What the registry needs on the control plane."""
    if not _here(cluster, node):
        return []
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": "/var/lib/registry"},
            "maintenance": {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"{node.address}:{PORT}", "headers": {"X-Content-Type-Options": ["nosniff"]}},
    }
    return [File(CONFIG, json_text(config))]


def serving_hosts(content: Content, cluster: Cluster, node: Node) -> tuple[File, ...]:
    """Where containerd asks for names of the bundle: the check's port first, then the registry."""
    if not cluster.registry.serve:
        return ()
    address = _address(cluster, node)
    names = sorted({_host(image) for image in content.images})
    return tuple(File(f"{HOSTS}/{name}/hosts.toml", toml(_hosts(address, name))) for name in names)


def _hosts(address: str, name: str) -> dict[str, Any]:
    server = {"server": f"http://{address}:{PORT}/v2/{name}", "override_path": True}
    return {**server, "host": {nobody(): {"override_path": True}}}


def registry_steps(content: Content, cluster: Cluster, node: Node) -> list[Step]:
    """After the API server has begun to answer."""
    if not _here(cluster, node):
        return []
    images = tuple(sorted(content.images, key=lambda image: image.name))
    pod = _daemon_set(content.image("registry"), node)
    return [Serve("the registry's storage", images), Give("objects of registry", (pod,))]


def _here(cluster: Cluster, node: Node) -> bool:
    return cluster.registry.serve and node.role == "control-plane"


def _address(cluster: Cluster, node: Node) -> str:
    listed = next((each.address for each in cluster.nodes if each.role == "control-plane"), "")
    found = listed or (node.address if node.role == "control-plane" else "")
    if not found:
        raise SiteError("where the registry runs is not said", remedy="list the nodes in the site settings ([[node]])")
    return found


def _host(image: Image) -> str:
    return image.reference.partition("/")[0]


def _daemon_set(image: Image, node: Node) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": _NAME}
    container = {
        "name": "registry",
        "image": image.pinned,
        "imagePullPolicy": "Never",
        "args": ["serve", "/etc/kubewright/config.json"],
        "env": [{"name": "OTEL_TRACES_EXPORTER", "value": "none"}],
        "ports": [{"containerPort": PORT, "hostPort": PORT}],
        "readinessProbe": {"httpGet": {"host": node.address, "path": "/v2/", "port": PORT}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsGroup": _NOBODY,
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/kubewright", "readOnly": True},
            {"name": "storage", "mountPath": "/var/lib/registry", "readOnly": True},
        ],
    }
    spec = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "hostNetwork": True,
        "nodeSelector": {"kubernetes.io/hostname": node.name},
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}],
        "volumes": [
            {"name": "config", "hostPath": {"path": current(CONFIG.rpartition("/")[0]), "type": "Directory"}},
            {"name": "storage", "hostPath": {"path": STORAGE, "type": "Directory"}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": _NAME, "namespace": "kube-system", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


# -- its storage -----------------------------------------------------------------------------------------------------------


def fill_storage(host: Host, images: tuple[Image, ...]) -> None:
    """Make what the registry reads; what is there already stays. Raises ContentError where containerd lacks a blob."""
    root = host.path(STORAGE) / "docker" / "registry" / "v2"
    for image in images:
        manifest = _manifest(host, image.digest)
        parts = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
        for digest in (image.digest, *parts):
            _blob(host, root, digest)
        repository, _, tag = image.reference.rpartition(":")
        for path, digest in _links(tag, image.digest, parts):
            link = root / "repositories" / repository / path / "link"
            if not link.exists():
                _make(link.parent)
                write_atomically(link, digest.encode(), 0o644)


def _links(tag: str, digest: str, parts: list[str]) -> Iterator[tuple[str, str]]:
    def of(each: str) -> str:
        return each.replace(":", "/")

    for each in parts:
        yield f"_layers/{of(each)}", each
    yield f"_manifests/revisions/{of(digest)}", digest
    yield f"_manifests/tags/{tag}/index/{of(digest)}", digest
    yield f"_manifests/tags/{tag}/current", digest


def _manifest(host: Host, digest: str) -> dict[str, Any]:
    data = _there(host, digest).read_bytes()
    if sha256_bytes(data) != digest:
        raise ContentError(f"containerd's blob {digest} is damaged", remedy="kubewright uninstall, then install")
    value: dict[str, Any] = json.loads(data)
    return value


def _there(host: Host, digest: str) -> Path:
    path = host.path(blob_path(digest))
    if not path.is_file():
        raise ContentError(f"containerd has no blob {digest}", remedy="run the same command again: images are imported anew")
    return path


def _blob(host: Host, root: Path, digest: str) -> None:
    """A link to containerd's file; a copy where the two are not on one file system."""
    name = digest.removeprefix("sha256:")
    target = root / "blobs" / "sha256" / name[:2] / name / "data"
    if target.exists():
        return
    _make(target.parent)
    source = _there(host, digest)
    try:
        os.link(source, target)
    except OSError as reason:
        if reason.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        temporary = target.with_name("data.new")
        shutil.copyfile(source, temporary)
        temporary.chmod(0o444)
        temporary.replace(target)


def _make(folder: Path) -> None:
    """A folder that the registry, which is nobody, may read, whatever the umask."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(0o755)
