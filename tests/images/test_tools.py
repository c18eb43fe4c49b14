"""skopeo, containerd and docker take the images as they are and call them what we call them; the programs in them run.

The images are those that `./doit image` has put into artifacts/.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from real import RealImage, Run, load, real_images

Find = Callable[[str], RealImage]


# -- what tools say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", real_images())
def test_skopeo_copies_it_under_its_digest(name: str, image: Find, skopeo: Run, tmp_path: Path) -> None:
    found = image(name)
    inspected = json.loads(skopeo("inspect", f"oci:{found.layout}:{found.reference}").stdout)
    assert inspected["Digest"] == found.manifest
    skopeo("copy", "--preserve-digests", "--insecure-policy", f"oci:{found.layout}:{found.reference}", f"dir:{tmp_path}/copy")
    digest = skopeo("manifest-digest", f"{tmp_path}/copy/manifest.json").stdout.strip()
    assert digest == found.manifest


@pytest.mark.parametrize("name", real_images())
def test_docker_has_its_configuration_as_image_id(name: str, image: Find, docker: Run) -> None:
    found = image(name)
    inspected = json.loads(docker("image", "inspect", found.reference).stdout)[0]
    assert inspected["Id"] == found.config


@pytest.mark.parametrize("name", real_images())
def test_containerd_imports_it_under_its_digest(name: str, image: Find, ctr: Run, scratch: Path) -> None:
    found = image(name)
    archive = scratch / "image.tar"
    with archive.open("wb") as out:
        out.write(b"")
    load(found, ["dd", f"of={archive}", "status=none"])
    ctr("images", "import", str(archive))
    archive.unlink()
    listed = {line.split()[0]: line.split()[2] for line in ctr("images", "ls").stdout.splitlines()[1:]}
    assert listed[found.reference] == found.manifest
    assert "application/vnd.oci.image.manifest.v1+json" in ctr("images", "ls", f"name=={found.reference}").stdout


# -- what runs in them --------------------------------------------------------------------------------------------

#: image, arguments, what is printed. Kubernetes' images start through /go-runner and find programs by PATH, as kubeadm has it
PRINTED = [
    ("pause", ["-v"], "pause.c v3.10.2"),
    ("etcd", ["etcd", "--version"], "etcd Version: 3.7.3"),
    ("etcd", ["etcdctl", "version"], "etcdctl version: 3.7.3"),
    ("etcd", ["etcdutl", "version"], "etcdutl version: 3.7.3"),
    ("coredns", ["-version"], "CoreDNS-1.14.6"),
    ("kube-apiserver", ["kube-apiserver", "--version"], "Kubernetes v1.37.2"),
    ("kube-controller-manager", ["kube-controller-manager", "--version"], "Kubernetes v1.37.2"),
    ("kube-scheduler", ["kube-scheduler", "--version"], "Kubernetes v1.37.2"),
    ("kube-proxy", ["/usr/local/bin/kube-proxy", "--version"], "Kubernetes v1.37.2"),
    ("kube-proxy", ["iptables", "--version"], "(nf_tables)"),
    ("kube-proxy", ["ip6tables", "--version"], "(nf_tables)"),
    ("kube-proxy", ["iptables-nft", "--version"], "(nf_tables)"),
    ("kube-proxy", ["iptables-legacy", "--version"], "(legacy)"),
    ("kube-proxy", ["nft", "--version"], "nftables v1.0"),
    ("kube-proxy", ["conntrack", "--version"], "conntrack v1.4"),
    ("kube-proxy", ["modprobe", "--version"], "kmod version"),
    ("flannel", ["--version"], "v0.28.10"),
    ("metrics-server", ["--version"], "v0.9.0"),
    ("local-path-provisioner", ["local-path-provisioner", "--version"], "v0.0.30"),
    ("registry", ["--version"], "github.com/distribution/distribution/v3 3.1.2"),
    ("busybox", ["sh", "-c", "busybox | head -n 1"], "BusyBox v1.35"),
]
#: the same with another program than the entry point
OTHER = [
    ("flannel", "iptables", ["--version"], "(nf_tables)"),
    ("flannel", "iptables-legacy", ["--version"], "(legacy)"),
    ("flannel", "nft", ["--version"], "nftables v1.0"),
    ("flannel", "ip", ["-Version"], "iproute2"),
    ("flannel", "sh", ["-c", "echo a shell"], "a shell"),
    ("flannel-cni-plugin", "/flannel", [], "CNI flannel plugin v0.9.1"),
]


@pytest.mark.parametrize(("name", "words", "said"), PRINTED)
def test_it_runs(name: str, words: list[str], said: str, image: Find, docker: Run) -> None:
    result = docker("run", "--rm", "--network=none", image(name).reference, *words)
    assert said in result.stdout + result.stderr


@pytest.mark.parametrize(("name", "program", "words", "said"), OTHER)
def test_other_programs_run(name: str, program: str, words: list[str], said: str, image: Find, docker: Run) -> None:
    result = docker("run", "--rm", "--network=none", f"--entrypoint={program}", image(name).reference, *words)
    assert said in result.stdout + result.stderr


@pytest.mark.parametrize(("name", "said"), [("metallb-controller", "controller"), ("metallb-speaker", "speaker")])
def test_metallb_starts_and_misses_its_cluster(name: str, said: str, image: Find, docker: Run) -> None:
    result = docker("run", "--rm", "--network=none", image(name).reference, ok=False)
    assert result.returncode == 1
    assert f"MetalLB {said} starting version 0.16.2" in result.stdout + result.stderr


@pytest.mark.parametrize("program", ["iptables", "iptables-legacy", "ip6tables"])
def test_rules_can_be_written(program: str, image: Find, docker: Run, scratch: Path) -> None:
    """kube-proxy and flannel do little else; iptables loads its extensions (comment, MASQUERADE) from files."""
    rules = f"{program} -t nat -A POSTROUTING -m comment --comment ours -j MASQUERADE && {program} -t nat -S POSTROUTING"
    (scratch / "xtables.lock").touch()  # the manifests mount the node's
    capable = ["--rm", "--network=none", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW", "--entrypoint=sh"]
    capable += ["-v", f"{scratch}/xtables.lock:/run/xtables.lock"]
    result = docker("run", *capable, image("flannel").reference, "-c", rules)
    assert "-A POSTROUTING -m comment --comment ours -j MASQUERADE" in result.stdout.replace('"', "")


def test_nft_conntrack_and_ipset_talk_to_the_kernel(image: Find, docker: Run) -> None:
    capable = ["--rm", "--network=none", "--cap-add=NET_ADMIN"]
    docker("run", *capable, image("kube-proxy").reference, "nft", "add", "table", "ip", "kube-proxy")
    docker("run", *capable, image("kube-proxy").reference, "conntrack", "-L")
    docker("run", *capable, image("kube-proxy").reference, "ipset", "create", "KUBE-CLUSTER-IP", "hash:ip,port")


# -- what upstream's manifests want of them -----------------------------------------------------------------------


def test_flannels_init_containers_install_plugin_and_configuration(image: Find, docker: Run, scratch: Path) -> None:
    """Documentation/kube-flannel.yml: `cp -f /flannel /opt/cni/bin/flannel`; install-conf SOURCE TARGET."""
    plugins, configuration = scratch / "cni-bin", scratch / "cni-conf"
    for folder in (plugins, configuration):
        folder.mkdir()
    (scratch / "cni-conf.json").write_text("{}")
    mounted = ["--rm", "--network=none", "-v", f"{plugins}:/opt/cni/bin"]
    docker("run", *mounted, "--entrypoint=cp", image("flannel-cni-plugin").reference, "-f", "/flannel", "/opt/cni/bin/flannel")
    assert (plugins / "flannel").read_bytes()[:4] == b"\x7fELF"
    mounted = ["-v", f"{scratch}/cni-conf.json:/etc/kube-flannel/cni-conf.json:ro", "-v", f"{configuration}:/etc/cni/net.d"]
    words = ["/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist"]
    docker("run", "--rm", "--network=none", *mounted, "--entrypoint=/opt/bin/install-conf", image("flannel").reference, *words)
    assert (configuration / "10-flannel.conflist").read_text() == "{}"


def test_the_helper_makes_and_removes_folders(image: Find, docker: Run, scratch: Path) -> None:
    """What the scripts of deploy/local-path-storage.yaml do."""
    (scratch / "volumes").mkdir()
    mounted = ["--rm", "--network=none", "-v", f"{scratch}/volumes:/data"]
    docker("run", *mounted, image("busybox").reference, "sh", "-c", "mkdir -m 0777 -p /data/pvc-1")
    assert (scratch / "volumes" / "pvc-1").stat().st_mode & 0o777 == 0o777
    docker("run", *mounted, image("busybox").reference, "sh", "-c", "rm -rf /data/pvc-1")
    assert not (scratch / "volumes" / "pvc-1").exists()


def test_every_applet_of_busybox_has_its_link(image: Find, docker: Run) -> None:
    script = "for each in $(busybox --list); do command -v $each >/dev/null || echo missing $each; done; busybox --list | wc -l"
    printed = docker("run", "--rm", "--network=none", image("busybox").reference, "sh", "-c", script).stdout.split()
    assert printed == ["269"]


@contextmanager
def running(docker: Run, *words: str) -> Iterator[str]:
    container = docker("run", "--detach", *words).stdout.strip()
    try:
        yield container
    finally:
        docker("rm", "--force", container)


def wait_for(docker: Run, container: str, said: str) -> str:
    for _ in range(100):
        result = docker("logs", container)
        if said in result.stdout + result.stderr:
            break
        time.sleep(0.1)
    return str(result.stdout + result.stderr)


def test_coredns_binds_port_53_as_nobody_in_particular(image: Find, docker: Run) -> None:
    """The Deployment of kubeadm: all capabilities dropped but NET_BIND_SERVICE, a read-only root. The file's own capability is
    what lets a user other than root use it where low ports are not open to everybody. (It also asks for no new privileges,
    under which docker, unlike containerd's CRI, gives the program nothing that it could use.)"""
    strict = ["--network=none", "--cap-drop=ALL", "--cap-add=NET_BIND_SERVICE",
              "--read-only", "--sysctl=net.ipv4.ip_unprivileged_port_start=1024"]  # fmt: skip
    with running(docker, *strict, image("coredns").reference) as container:
        said = wait_for(docker, container, "CoreDNS-1.14.6")
        assert "permission denied" not in said
        assert docker("inspect", "--format={{.State.Running}}", container).stdout.strip() == "true"
        assert docker("inspect", "--format={{.Config.User}}", container).stdout.strip() == "65532:65532"


def test_etcd_serves(image: Find, docker: Run) -> None:
    with running(docker, "--network=none", image("etcd").reference) as container:
        wait_for(docker, container, "serving client traffic insecurely")
        docker("exec", container, "etcdctl", "put", "a", "b")
        assert docker("exec", container, "etcdctl", "get", "a", "--print-value-only").stdout == "b\n"


def test_the_registry_serves_with_upstreams_configuration(image: Find, docker: Run) -> None:
    with running(docker, "--network=none", image("registry").reference) as container:
        assert "listening on [::]:5000" in wait_for(docker, container, "listening on [::]:5000")


def test_go_runner_writes_logs_where_it_is_told(image: Find, docker: Run, scratch: Path) -> None:
    (scratch / "logs").mkdir()
    words = ["--log-file=/var/log/kube/a.log", "--", "/usr/local/bin/kube-scheduler", "--version"]
    docker("run", "--rm", "--network=none", "-v", f"{scratch}/logs:/var/log/kube", image("kube-scheduler").reference, *words)
    assert (scratch / "logs" / "a.log").read_text() == "Kubernetes v1.37.2\n"


@pytest.mark.parametrize(
    ("name", "user"),
    [("pause", "65535:65535"), ("coredns", "65532:65532"), ("metrics-server", "65534:65534"),
     ("metallb-controller", "65534:65534"), ("local-path-provisioner", "65532:65532")],
)  # fmt: skip
def test_who_needs_no_rights_has_none(name: str, user: str, image: Find, docker: Run) -> None:
    assert docker("image", "inspect", "--format={{.Config.User}}", image(name).reference).stdout.strip() == user
