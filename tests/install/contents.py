"""A content of small files, and a host in a directory whose programs are scripts that remember what was asked of them."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from kubewright.install.content import INSTALLER, RELEASE_FILES, STATEMENTS, Content, HostFile, Image, Manifest, image_names
from kubewright.install.join import JoinMaterial
from kubewright.install.plan import Facts
from kubewright.install.settings import Cluster, LoadBalancer, Node

CONTROL_PLANE = Node("one", "192.0.2.10", "control-plane")
WORKER = Node("two", "192.0.2.11", "worker")
CLUSTER = Cluster(name="site", load_balancer=LoadBalancer(("192.0.2.200-192.0.2.220",)), nodes=(CONTROL_PLANE, WORKER))
JOIN = JoinMaterial("192.0.2.10:6443", ("sha256:" + "0" * 64,), "zyxwvu.9876543210zyxwvu", 0, 2_000_000_000)
FACTS = Facts("one", "192.0.2.10", "linux/amd64", 2, True)

_COMPONENTS = {
    "cni-plugins": ("1.9.1", ("bridge", "host-local", "loopback", "portmap")),
    "containerd": ("2.4.2", ("containerd", "containerd-shim-runc-v2", "ctr")),
    "kubectl": ("1.37.2", ("kubectl",)),
    "kubernetes": ("1.37.2", ("kubeadm", "kubelet")),
    "k3s": ("1.37.1+k3s1", ("k3s",)),
    "runc": ("1.4.2", ("runc",)),
    INSTALLER: ("", ("kubewright-install.pyz",)),
    RELEASE_FILES: ("", ("digests.toml", "lockfile.toml")),
    STATEMENTS: ("", ("bundle.0123456789abcdef.sigstore.json", "release.0123456789abcdef.sigstore.json")),
}
_IMAGES = {
    "coredns": "registry.k8s.io/coredns/coredns:v1.14.6",
    "etcd": "registry.k8s.io/etcd:3.7.3-0",
    "flannel": "ghcr.io/flannel-io/flannel:v0.28.10",
    "kube-apiserver": "registry.k8s.io/kube-apiserver:v1.37.2",
    "kube-controller-manager": "registry.k8s.io/kube-controller-manager:v1.37.2",
    "kube-proxy": "registry.k8s.io/kube-proxy:v1.37.2",
    "kube-scheduler": "registry.k8s.io/kube-scheduler:v1.37.2",
    "pause": "registry.k8s.io/pause:3.10.2",
}
#: what the stack k3s has: name -> reference and the further names that stacks/k3s.toml gives it
_IMAGES_OF_K3S: dict[str, tuple[str, ...]] = {
    "busybox": ("docker.io/library/busybox:latest", "docker.io/rancher/mirrored-library-busybox:1.37.0"),
    "coredns": ("registry.k8s.io/coredns/coredns:v1.14.6", "docker.io/rancher/mirrored-coredns-coredns:1.14.7"),
    "klipper-helm": ("docker.io/rancher/klipper-helm:v0.13.3-build20260727",),
    "klipper-lb": ("docker.io/rancher/klipper-lb:v0.4.17",),
    "local-path-provisioner": (
        "docker.io/rancher/local-path-provisioner:v0.0.30",
        "docker.io/rancher/local-path-provisioner:v0.0.37",
    ),
    "metrics-server": (
        "registry.k8s.io/metrics-server/metrics-server:v0.9.0",
        "docker.io/rancher/mirrored-metrics-server:v0.9.0",
    ),
    "pause": ("registry.k8s.io/pause:3.10.2", "docker.io/rancher/mirrored-pause:3.10.2"),
}
_MANIFESTS = ("kube-proxy", "flannel", "coredns", "local-path-provisioner", "metrics-server", "metallb")
#: scripts that stand for what a plan runs; everything else of a component is some bytes
_PROGRAMS = Path(__file__).parent / "programs"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def program(name: str, python: str = sys.executable) -> bytes:
    """A script, run by this very Python if it is one of Python's: the host's PATH has none."""
    text = (_PROGRAMS / name).read_text()
    return text.replace("#!/usr/bin/env python3", f"#!{python}").encode()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}, "data": data}


def workload(image: str) -> dict[str, Any]:
    pod = {"containers": [{"name": "c", "image": image, "imagePullPolicy": "Always"}]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": {"template": {"spec": pod}}}


@dataclass
class Shelf:
    """A Source of bytes at hand; what is in it may be changed behind the content's back."""

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    exports: int = 0

    def open_file(self, file: HostFile) -> BinaryIO:
        return io.BytesIO(self.files[file.component, file.name])

    def read_manifest(self, manifest: Manifest) -> bytes:
        return self.manifests[manifest.name]

    def export_images(self, images: Sequence[Image], target: BinaryIO) -> None:
        self.exports += 1
        entries = [
            {"digest": image.digest, "annotations": {"io.containerd.image.name": name}}
            for image in images
            for name in image_names(image)
        ]
        with tarfile.open(fileobj=target, mode="w|") as archive:
            data = json.dumps({"manifests": entries}).encode()
            member = tarfile.TarInfo("index.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def shelf(python: str = sys.executable) -> Shelf:
    """Every file and manifest of the test content; ``python`` runs its scripts, and so is in their digests."""
    found = Shelf()
    for component, (_, names) in _COMPONENTS.items():
        for name in names:
            script = _PROGRAMS / name
            found.files[component, name] = program(name, python) if script.is_file() else f"{component}/{name}\n".encode()
    images = {image.name: image for image in _images()}
    for name in _MANIFESTS:
        objects = [workload(images["flannel" if name == "flannel" else "coredns"].pinned)]
        found.manifests[name] = b"".join(b"---\n" + json.dumps(each).encode() + b"\n" for each in objects)
    return found


def content(source: Shelf | None = None, stack: str = "kubernetes", sequence: int = 3) -> Content:
    """The content of a shelf."""
    source = source or shelf()
    return Content(
        stack=stack,
        platform="linux/amd64",
        sequence=sequence,
        release=digest(b"release %d" % sequence),
        versions={name: version for name, (version, _) in _COMPONENTS.items()},
        files=tuple(
            HostFile(component, name, digest(data), len(data)) for (component, name), data in sorted(source.files.items())
        ),
        images=_images() if stack != "k3s" else _images_of_k3s(),
        manifests=tuple(Manifest(name, digest(data)) for name, data in sorted(source.manifests.items())),
        policy="version = 1\n",
        built=1_760_000_000,
    )


def _images() -> tuple[Image, ...]:
    return tuple(Image(name, reference, digest(name.encode()), 1000) for name, reference in sorted(_IMAGES.items()))


def _images_of_k3s() -> tuple[Image, ...]:
    return tuple(
        Image(name, reference, digest(name.encode()), 1000, tuple(more))
        for name, (reference, *more) in sorted(_IMAGES_OF_K3S.items())
    )


def make_host(root: Path) -> Path:
    """A root directory with what a host has: programs of a distribution, /proc and /sys as far as they are looked at."""
    for folder in (
        "usr/bin",
        "run/systemd/system",
        "sys/fs/cgroup",
        "proc/net",
        "proc/sys/net/ipv4",
        "proc/sys/net/bridge",
        "etc",
    ):
        (root / folder).mkdir(parents=True)
    for name in ("systemctl", "mount", "umount", "ip", "python3"):
        path = root / "usr/bin" / name
        path.write_bytes(program("systemctl" if name == "systemctl" else "nothing"))
        path.chmod(0o755)
    texts = {
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
        "proc/filesystems": "nodev\toverlay\n",
        "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
        "proc/net/tcp": "  sl  local_address rem_address   st\n",
        "proc/sys/net/ipv4/ip_forward": "0\n",
        "proc/meminfo": "MemTotal:        8000000 kB\n",
    }
    for path, text in texts.items():
        (root / path).write_text(text)
    for module in ("vxlan", "nf_tables"):
        (root / "sys/module" / module).mkdir(parents=True)
    return root
