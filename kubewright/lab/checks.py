"""What milestone 1 shows, each by doing it: names, networks, services, volumes, metrics, refusals, origins of programs.

Every check has the cluster to itself and leaves what later ones need: two pods that answer on port 8080, one on each worker.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from kubewright.install.errors import PullCheckError
from kubewright.lab.errors import LabCheckError
from kubewright.lab.kube import Kube, condition, pod, service
from kubewright.lab.machines import Machines

PORT: Final = 8080
INSTALLER: Final = ("python3", "-I", "/kubewright/kubewright-install.pyz")


@dataclass(frozen=True, slots=True)
class Lab:
    """A cluster that runs. ``image`` is one with a shell, wget and httpd; ``nodes`` are name -> address, the leader first."""

    machines: Machines
    kube: Kube
    nodes: dict[str, str]
    image: str

    @property
    def workers(self) -> list[str]:
        """Names of the workers."""
        return list(self.nodes)[1:]


def nodes_ready(lab: Lab) -> str:
    """Every node says that it is Ready, and every pod of the system runs."""
    lab.kube.until("all nodes are Ready", lambda: _all_ready(lab), 180)
    lab.kube.until("all pods of the system run", lambda: _all_running(lab), 300)
    return f"{len(lab.nodes)} nodes"


def _all_ready(lab: Lab) -> bool:
    items = lab.kube.get("nodes")["items"]
    return len(items) == len(lab.nodes) and all(condition(item, "Ready") for item in items)


def _all_running(lab: Lab) -> bool:
    items = [each for each in lab.kube.get("pods", "-A")["items"] if each["metadata"]["namespace"] != "default"]
    return bool(items) and all(condition(item, "Ready") for item in items)


def digests_only(lab: Lab) -> str:
    """No container of the system names its image without a digest."""
    items = lab.kube.get("pods", "-A")["items"]
    images = {each["image"] for item in items for each in item["spec"]["containers"] + item["spec"].get("initContainers", [])}
    loose = sorted(image for image in images if "@sha256:" not in image)
    if loose:
        raise LabCheckError(f"images without a digest: {', '.join(loose)}")
    return f"{len(images)} images"


def servers(lab: Lab) -> str:
    """A pod on each worker serves its own name."""
    for name in lab.workers:
        script = f"mkdir /tmp/www && echo {name} > /tmp/www/index.html && exec httpd -f -p {PORT} -h /tmp/www"
        lab.kube.apply(pod(f"web-{name}", lab.image, ["sh", "-c", script], node=name))
    for name in lab.workers:
        _until_ready(lab, f"web-{name}")
    return ""


def _until_ready(lab: Lab, name: str) -> None:
    lab.kube.until(f"pod {name} runs", lambda: condition(lab.kube.get("pod", name), "Ready"), 120)


def dns(lab: Lab) -> str:
    """A pod resolves a service by its name, short and in full."""
    first, second = lab.workers[:2]
    lab.kube.apply(service("web", f"web-{second}", PORT))
    for name in ("web", "kubernetes"):
        address, full = lab.kube.get("service", name)["spec"]["clusterIP"], f"{name}.default.svc.cluster.local"
        _until_resolved(lab, f"web-{first}", full, address)
    return f"kubernetes is {address}"


def _until_resolved(lab: Lab, client: str, name: str, address: str) -> None:
    lab.kube.until(f"{name} is {address}", lambda: address in lab.kube.inside(client, "nslookup", name), 60)


def pod_to_pod(lab: Lab) -> str:
    """A pod on one worker reaches one on the other, over vxlan: its counters grow by what was sent."""
    first, second = lab.workers[:2]
    address = lab.kube.get("pod", f"web-{second}")["status"]["podIP"]
    before = _vxlan_packets(lab, first)
    for _ in range(20):
        _fetched(lab, f"web-{first}", f"http://{address}:{PORT}/", second)
    sent = _vxlan_packets(lab, first) - before
    if sent < 20:
        raise LabCheckError(f"20 requests, and {sent} packets through flannel.1")
    return f"{sent} packets over vxlan"


def _vxlan_packets(lab: Lab, node: str) -> int:
    return int(lab.machines.run(node, ["cat", "/sys/class/net/flannel.1/statistics/tx_packets"]).output)


def _fetched(lab: Lab, client: str, url: str, expected: str) -> bool:
    said = lab.kube.inside(client, "timeout", "5", "wget", "-q", "-O", "-", url).strip()
    if said != expected:
        raise LabCheckError(f"{url} says {said!r}, not {expected!r}")
    return True


def cluster_ip(lab: Lab) -> str:
    """A service's name leads to its pod."""
    first, second = lab.workers[:2]
    lab.kube.until("the service answers", lambda: _fetched(lab, f"web-{first}", f"http://web:{PORT}/", second), 30)
    return ""


def node_port(lab: Lab) -> str:
    """A NodePort answers on every node, asked from outside."""
    second = lab.workers[1]
    lab.kube.apply(service("web-port", f"web-{second}", PORT, "NodePort"))
    port = lab.kube.get("service", "web-port")["spec"]["ports"][0]["nodePort"]
    for address in lab.nodes.values():
        _until_answered(lab, address, port, second)
    return f"port {port}"


def _until_answered(lab: Lab, address: str, port: int, expected: str) -> None:
    lab.kube.until(f"{address}:{port} answers", lambda: ask(address, port) == expected, 30)


def ask(address: str, port: int, timeout: float = 1.0) -> str:
    """What an HTTP server says to this machine; empty when it does not answer."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/")
        return connection.getresponse().read().decode("utf-8", "replace").strip()
    return ""


# -- load balancer -------------------------------------------------------------------------------------------------------


def load_balancer(lab: Lab) -> str:
    """A service gets an address of the pool, and this machine reaches it."""
    lab.kube.apply(service("web-outside", f"web-{lab.workers[1]}", PORT, "LoadBalancer"))
    address = lab.kube.until("the service has an address", lambda: _outside(lab), 60)
    lab.kube.until(f"{address} answers", lambda: ask(address, PORT) == lab.workers[1], 60)
    return f"{address}, announced by {_announcer(lab, address)}"


def _outside(lab: Lab) -> str:
    found = lab.kube.get("service", "web-outside")["status"].get("loadBalancer", {}).get("ingress") or [{}]
    return str(found[0].get("ip", ""))


def _announcer(lab: Lab, address: str) -> str:
    """Whose hardware address this machine has for it; the nodes are not asked, since one of them may be down."""
    said = subprocess.run(["ip", "-json", "neigh", "show"], capture_output=True, text=True, check=True).stdout
    cards = {each["dst"]: each.get("lladdr") for each in json.loads(said)}
    for name, own in lab.nodes.items():
        if cards.get(address) and cards[address] == cards.get(own):
            return name
    raise LabCheckError(f"nobody is known to announce {address}", details=said)


def fail_over(lab: Lab) -> str:
    """The announcing worker loses power: the address answers again, through the other. Then it comes back."""
    address = _outside(lab)
    lost = _announcer(lab, address)
    left = next(name for name in lab.workers if name != lost)
    selector = json.dumps({"spec": {"selector": {"app": f"web-{left}"}}})  # the pod behind it has to outlive the node
    lab.kube.call("patch", "service", "web-outside", "-p", selector)
    lab.kube.until("the pod that stays answers", lambda: all(ask(address, PORT) == left for _ in range(5)), 30)
    lab.machines.kill(lost)
    begin = time.monotonic()
    while ask(address, PORT, 0.3) != left:
        if time.monotonic() - begin > 90:
            raise LabCheckError(f"{address} does not answer 90 s after {lost} has stopped")
    seconds = time.monotonic() - begin
    by, before = _announcer(lab, address), _sign_of_life(lab, lost)
    lab.machines.start(lost)
    lab.machines.wait_for_boot(lost)
    lab.kube.until(f"the kubelet of {lost} is heard again", lambda: _sign_of_life(lab, lost) != before, 120)
    lab.kube.until("all nodes are Ready again", lambda: _all_ready(lab), 180)
    lab.kube.until("all pods of the system run again", lambda: _all_running(lab), 240)
    return f"{lost} stopped, {by} answers after {seconds:.1f} s; {lost} came back"


def _sign_of_life(lab: Lab, node: str) -> str:
    return str(lab.kube.get("lease", node, "-n", "kube-node-lease")["spec"]["renewTime"])


# -- storage, metrics, refusals ------------------------------------------------------------------------------------------


def volume(lab: Lab) -> str:
    """What a pod wrote is there for the next one that has its claim."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
    }
    mounted: dict[str, Any] = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    }
    lab.kube.apply(
        claim, pod("writer", lab.image, ["sh", "-c", "echo kept > /data/file && sync && sleep 100000"], **dict(mounted))
    )
    lab.kube.until("the writer runs", lambda: condition(lab.kube.get("pod", "writer"), "Ready"), 120)
    lab.kube.call("delete", "pod", "writer", "--wait=true", "--timeout=60s")
    lab.kube.apply(pod("reader", lab.image, ["sleep", "100000"], **dict(mounted)))
    _until_ready(lab, "reader")
    said = lab.kube.inside("reader", "cat", "/data/file").strip()
    if said != "kept":
        raise LabCheckError(f"the volume holds {said!r}")
    return ""


def metrics(lab: Lab) -> str:
    """metrics-server knows the use of every node."""
    items = lab.kube.until("there are metrics of every node", lambda: _metrics(lab), 120)
    return ", ".join(f"{each['metadata']['name']} {each['usage']['memory']}" for each in items)


def _metrics(lab: Lab) -> list[Any]:
    items: list[Any] = json.loads(lab.kube.call("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))["items"]
    return items if len(items) == len(lab.nodes) else []


def pull_refused(lab: Lab) -> str:
    """An image that the bundle does not have cannot be had, whoever asks."""
    name = "registry.k8s.io/not-of-this-bundle:1"
    lab.kube.apply(pod("outsider", name, ["true"], container={"imagePullPolicy": "IfNotPresent"}))
    reason = lab.kube.until("the pull is refused", lambda: _waiting(lab, "outsider", ("ErrImagePull", "ImagePullBackOff")), 120)
    lab.kube.call("delete", "pod", "outsider", "--wait=false")
    said = lab.machines.run(lab.workers[0], ["/usr/local/bin/ctr", "-n", "k8s.io", "images", "pull", name])
    if said.status == 0:
        raise LabCheckError(f"{name} was pulled")
    return str(reason)


def pulls_verified(lab: Lab) -> str:
    """What a node pulls is verified; where the verifier is taken out, the check says so."""
    node, verifier = lab.workers[0], "/var/lib/kubewright/current/verifiers/kubewright"
    check = [*INSTALLER, "node", "check-pulls"]
    said = lab.machines.run(node, check)
    if said.status or "twin was refused" not in said.output:
        raise LabCheckError(f"{node}: pulls are not verified", details=said.output)
    lab.machines.run(node, ["mv", verifier, "/var/lib/kubewright/aside"])
    without = lab.machines.run(node, check)
    lab.machines.run(node, ["mv", "/var/lib/kubewright/aside", verifier])
    if without.status != PullCheckError.exit_code:
        raise LabCheckError("a node without the verifier passes for one that has it", details=without.output)
    return "a signed image is pulled, its unsigned twin is not"


def registry(lab: Lab) -> str:
    """A worker that has lost an image gets it from the cluster's registry, after the verifier has been asked."""
    node, ctr = lab.workers[0], ("/usr/local/bin/ctr", "-n", "k8s.io")
    plan = json.loads(lab.machines.run(node, ["cat", "/var/lib/kubewright/install.json"]).output)["plan"]
    images = {image["name"]: image for step in plan["steps"] for image in step.get("images", ())}
    reference, digest = images["registry"]["reference"], images["registry"]["digest"]
    listed = lab.machines.run(node, [*ctr, "images", "ls"]).output
    names = [line.split()[0] for line in listed.splitlines() if digest in line]
    lab.machines.run(node, [*ctr, "images", "rm", "--sync", *names])
    if digest in lab.machines.run(node, [*ctr, "content", "ls"]).output:
        raise LabCheckError(f"{node} still has {reference}")
    asked = {"imagePullPolicy": "Always", "command": ["registry", "--version"]}
    lab.kube.apply(pod("puller", reference, [], node=node, container=asked, restartPolicy="Never"))
    lab.kube.until("the pod has run", lambda: lab.kube.get("pod", "puller")["status"]["phase"] == "Succeeded", 120)
    log = lab.machines.run(node, ["cat", "/var/log/kubewright/pulls.jsonl"]).output
    last = json.loads(log.splitlines()[-1])
    if (last["name"], last["digest"], last["allowed"]) != (reference, digest, True):
        raise LabCheckError("the verifier was not asked about it", details=log[-2000:])
    return f"{reference} on {node}"


def _waiting(lab: Lab, name: str, reasons: tuple[str, ...]) -> str:
    found = lab.kube.get("pod", name)["status"].get("containerStatuses") or [{}]
    reason = str(found[0].get("state", {}).get("waiting", {}).get("reason", ""))
    return reason if reason in reasons else ""


def hardened(lab: Lab) -> str:
    """Who does not say who they are gets nothing: API server, kubelet; and a secret in etcd is not to be read."""
    (leader, first), (_, second) = list(lab.nodes.items())[:2]
    for address, port, path in ((first, 6443, "/api/v1/secrets"), (second, 10250, "/pods"), (first, 10250, "/metrics")):
        status = _https_status(address, port, path)
        if status not in (401, 403):
            raise LabCheckError(f"https://{address}:{port}{path} answers {status} to anybody")
    if _is_open(second, 10255):
        raise LabCheckError("the kubelet's read-only port is open")
    lab.kube.call("create", "secret", "generic", "hidden", "--from-literal=word=unreadable")
    words = ("-n", "kube-system", "exec", f"etcd-{leader}", "--", *_ETCDCTL, "get")
    stored = lab.kube.call(*words, "/registry/secrets/default/hidden")
    if "k8s:enc:secretbox" not in stored or "unreadable" in stored:
        raise LabCheckError("a secret is stored in plain text")
    return ""


_ETCD: Final = "/etc/kubernetes/pki/etcd"
_ETCDCTL: Final = ("etcdctl", f"--cacert={_ETCD}/ca.crt", f"--cert={_ETCD}/server.crt", f"--key={_ETCD}/server.key")


def _https_status(address: str, port: int, path: str) -> int:
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whoever answers, it has to refuse
    connection = http.client.HTTPSConnection(address, port, timeout=5, context=context)
    connection.request("GET", path)
    return connection.getresponse().status


def _is_open(address: str, port: int) -> bool:
    import socket

    with suppress(OSError):
        socket.create_connection((address, port), timeout=2).close()
        return True
    return False


# -- what the nodes are made of ------------------------------------------------------------------------------------------


def audited(lab: Lab) -> str:
    """Every program that runs on every node is of the bundle or of a locked package; one that is not is found."""
    count = 0
    for name in lab.nodes:
        said = lab.machines.run(name, _audit())
        if said.status:
            raise LabCheckError(f"{name}: a program of unknown origin runs", details=said.output)
        count += len(json.loads(said.result))
    victim = lab.workers[0]
    lab.machines.run(
        victim, ["sh", "-c", "cp /bin/sleep /tmp/stranger && printf x >> /tmp/stranger && chmod 755 /tmp/stranger"]
    )
    lab.machines.run(victim, ["systemd-run", "--unit=stranger", "/tmp/stranger", "600"])  # noqa: S108
    said = lab.machines.run(victim, _audit())
    lab.machines.run(victim, ["systemctl", "stop", "stranger"])
    if said.status != 180 or "/tmp/stranger" not in said.output:  # noqa: S108
        raise LabCheckError("a strange program was not found", details=said.output[-3000:])
    return f"{count} programs on {len(lab.nodes)} nodes; a stranger was found"


def _audit() -> list[str]:
    return [*INSTALLER, "node", "audit", "--packages", "/kubewright/packages.json", "--json"]


def no_drift(lab: Lab) -> str:
    """No node differs from its plan; a change is found."""
    for name in lab.nodes:
        said = lab.machines.run(name, [*INSTALLER, "node", "status"])
        if said.status:
            raise LabCheckError(f"{name} has drifted", details=said.output)
    return ""


#: what milestone 1 shows, in order
CHECKS: Final[tuple[tuple[str, Callable[[Lab], str]], ...]] = (
    ("all nodes Ready, all system pods running", nodes_ready),
    ("every system image goes by digest", digests_only),
    ("pods on both workers", servers),
    ("DNS", dns),
    ("pod to pod across nodes", pod_to_pod),
    ("ClusterIP", cluster_ip),
    ("NodePort from outside", node_port),
    ("LoadBalancer from outside (MetalLB, layer 2)", load_balancer),
    ("volume outlives its pod", volume),
    ("metrics", metrics),
    ("pull outside of the bundle refused", pull_refused),
    ("pulls are verified; without the verifier that is found", pulls_verified),
    ("an image that was lost comes from the cluster's registry", registry),
    ("hardened", hardened),
    ("fail-over of the LoadBalancer address", fail_over),
    ("node audit: every running program is known", audited),
    ("node status: no drift", no_drift),
)
