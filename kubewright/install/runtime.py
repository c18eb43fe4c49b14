"""containerd and the kubelet on a host: their configuration, their units, and what they need of the kernel."""

from __future__ import annotations

from typing import Any, Final

from kubewright.install.content import Content
from kubewright.install.plan import Facts, File, Setting, current
from kubewright.install.pulls import HOSTS, VERIFIER, verifier_plugin
from kubewright.install.render import Section, sysctl, toml, unit
from kubewright.install.settings import Cluster

SOCKET: Final = "/run/containerd/containerd.sock"
#: containerd's own client, in the namespace that pods' images are in
CTR: Final = (current("bin/ctr"), "--namespace", "k8s.io")
SERVICES: Final = ("containerd.service", "kubelet.service")
MODULES: Final = ("overlay", "br_netfilter", "vxlan", "nf_tables")
#: the last three are what the kubelet's protectKernelDefaults insists on
SETTINGS: Final = (
    Setting("net.ipv4.ip_forward", "1"),
    Setting("net.bridge.bridge-nf-call-iptables", "1"),
    Setting("net.bridge.bridge-nf-call-ip6tables", "1"),
    Setting("fs.inotify.max_user_instances", "8192"),
    Setting("fs.inotify.max_user_watches", "524288"),
    Setting("kernel.panic", "10"),
    Setting("kernel.panic_on_oops", "1"),
    Setting("vm.overcommit_memory", "1"),
)

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IMAGES: Final = "io.containerd.cri.v1.images"
_RUNTIME: Final = "io.containerd.cri.v1.runtime"


def blob_path(digest: str) -> str:
    """Where containerd's content store has a blob."""
    return f"/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/{digest.removeprefix('sha256:')}"


def containerd_toml(content: Content, facts: Facts) -> str:
    """containerd's configuration (docs/cri/config.md of containerd); the sandbox image is ours, by digest."""
    runc = {
        "runtime_type": "io.containerd.runc.v2",
        "options": {"BinaryName": current("bin/runc"), "SystemdCgroup": facts.cgroup == 2},
    }
    table: dict[str, Any] = {
        "version": 3,
        "root": "/var/lib/containerd",
        "state": "/run/containerd",
        # tracing and NRI are ways in that nobody here uses
        "disabled_plugins": ["io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"],
        "grpc": {"address": SOCKET},
        "plugins": {
            _IMAGES: {
                "snapshotter": "overlayfs",
                "pinned_images": {"sandbox": content.image("pause").pinned},
                "use_local_image_pull": False,  # that way leads past the verifier
                "registry": {"config_path": HOSTS},
            },
            "io.containerd.image-verifier.v1.bindir": verifier_plugin(),
            _RUNTIME: {
                "restrict_oom_score_adj": not facts.adjust_oom,
                "containerd": {"default_runtime_name": "runc", "runtimes": {"runc": runc}},
                "cni": {"bin_dirs": [current("cni"), "/opt/cni/bin"], "conf_dir": "/etc/cni/net.d"},
            },
        },
    }
    return toml(table)


def resolv_conf(cluster: Cluster) -> str:
    """What pods with the node's DNS get. The host's own file is of no use where it names a resolver on loopback."""
    lines = [f"nameserver {address}\n" for address in cluster.dns.upstream]
    return "".join(lines) or "# the site settings name no resolver ([dns] upstream)\n"


def units(facts: Facts) -> tuple[File, ...]:
    """The units, each a whole file: nothing of a distribution's unit is needed or kept."""
    texts = (_containerd(facts), _kubelet(facts))
    return tuple(File(f"/etc/systemd/system/{name}", text) for name, text in zip(SERVICES, texts, strict=True))


def kernel_files() -> tuple[File, ...]:
    """What makes modules and settings come back after a reboot."""
    return (
        File("/etc/modules-load.d/kubewright.conf", "".join(f"{name}\n" for name in MODULES)),
        File("/etc/sysctl.d/90-kubewright.conf", sysctl((each.key, each.value) for each in SETTINGS)),
    )


def _containerd(facts: Facts) -> str:
    service: Section = [
        ("Type", "notify"),
        ("Environment", f"PATH={current('bin')}:{_PATH}"),
        ("ExecStart", f"{current('bin/containerd')} --config {current('etc/containerd.toml')}"),
        ("Delegate", "yes"),  # containers' cgroups are containerd's business
        ("KillMode", "process"),  # a restart of containerd is none of the containers
        ("Restart", "always"),
        ("RestartSec", "2"),
        ("TasksMax", "infinity"),
        *_privileged(facts, "-999"),
    ]
    return unit(
        {
            "Unit": [
                ("Description", "containerd, the container runtime"),
                ("After", "network.target local-fs.target"),
                # without one, containerd would pull whatever it is offered
                ("AssertFileIsExecutable", current(VERIFIER)),
            ],
            "Service": service,
            "Install": [("WantedBy", "multi-user.target")],
        }
    )


def _kubelet(facts: Facts) -> str:
    flags = [
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        "--config=/var/lib/kubelet/config.yaml",
        "$KUBELET_KUBEADM_ARGS",
    ]
    service: Section = [
        ("EnvironmentFile", "-/var/lib/kubelet/kubeadm-flags.env"),
        ("Environment", f"PATH={_PATH}"),
        ("ExecStart", " ".join([current("bin/kubelet"), *flags])),
        ("Delegate", "yes"),
        ("KillMode", "process"),
        ("Restart", "always"),
        ("RestartSec", "2"),
        *_privileged(facts, "-999"),
    ]
    return unit(
        {
            "Unit": [
                ("Description", "kubelet, Kubernetes' agent on each node"),
                ("Wants", "containerd.service network-online.target"),
                ("After", "containerd.service network-online.target"),
                ("StartLimitIntervalSec", "0"),
                # before kubeadm has written it there is nothing to run
                ("ConditionPathExists", "/var/lib/kubelet/config.yaml"),
            ],
            "Service": service,
            "Install": [("WantedBy", "multi-user.target")],
        }
    )


def _privileged(facts: Facts, score: str) -> Section:
    """Settings that take CAP_SYS_RESOURCE, which a node in a container may not have."""
    return [("OOMScoreAdjust", score), ("LimitNOFILE", "1048576")] if facts.adjust_oom else []
