"""Measure an install against the same done by hand and write the section of docs/benchmarks.md:

    ./doit bundle:kubernetes
    .venv/bin/python benchmarks/install.py --policy site.toml [artifacts/bundles/kubernetes-*.oci]

Nodes are those of a lab (docs/lab.md): root and docker are needed. By hand: the plan's own files, the images as one tar,
programs unpacked before; a script copies them, starts containerd, runs `ctr images import` and `kubeadm init`, applies the same
objects. Nothing is verified there. Each run is on new nodes, by hand and installed in turn; medians.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import page

from kubewright.install import objects, run
from kubewright.install.bundle import open_bundle
from kubewright.install.content import HostFile
from kubewright.install.plan import Apply, Facts, Kubeadm, Plan
from kubewright.install.render import documents, json_text
from kubewright.install.settings import load_cluster
from kubewright.lab import checks, milestone1
from kubewright.lab.kube import Kube, condition, pod
from kubewright.lab.machines import Machines
from kubewright.lab.milestone1 import NODES, Given
from kubewright.lab.prepare import BUNDLE, POLICY, prepare
from kubewright.lab.subnet import Subnet, free_subnet
from kubewright.project import Project
from kubewright.report import Progress

ROOT = Path(__file__).resolve().parents[1]
TITLE = "## Installing"
LEADER, *WORKERS = NODES
#: runs a command and says how long it took and how much memory it, or the largest program that it ran, had
MEASURE = """
import resource, subprocess, sys, time
begin = time.monotonic()
status = subprocess.run(sys.argv[2:]).returncode
seconds, memory = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open(sys.argv[1], "w").write(f"{seconds} {memory}\\n")
sys.exit(status)
"""
#: the installer itself, without what it runs: looked at while it runs
OWN = "import os, re, runpy, sys, atexit; atexit.register(lambda: open('/run/own', 'w').write(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()).group(1))); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"  # noqa: E501


@dataclass(frozen=True)
class Took:
    """Seconds of one control plane, by what; bytes of memory."""

    leader: float
    three: float = 0
    answering: float = 0
    again: float = 0
    own: int = 0
    largest: int = 0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "bundle", type=Path, nargs="?", help="the directory form; default: the only one in artifacts/bundles"
    )
    arguments.add_argument("--policy", type=Path, required=True)
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    found = [options.bundle] if options.bundle else sorted((ROOT / "artifacts" / "bundles").glob("kubernetes-*.oci"))
    if len(found) != 1:
        sys.exit(f"{len(found)} bundles in artifacts/bundles: name one, or ./doit bundle:kubernetes")
    os.environ |= {BUNDLE: str(found[0]), POLICY: str(options.policy)}
    given = prepare(Project(ROOT), Progress("install"))
    given = replace(given, folder=given.folder / "benchmark")
    load = os.getloadavg()[0]
    hand, ours = [], []
    for _ in range(options.runs):
        hand.append(by_hand(given))
        ours.append(installed(given))
        print(hand[-1], ours[-1], file=sys.stderr)
    shutil.rmtree(given.folder, ignore_errors=True)
    page.put(TITLE, section(found[0], hand, ours, load))


def section(bundle: Path, hand: list[float], ours: list[Took], load: float) -> str:
    by, own = statistics.median(hand), statistics.median(each.leader for each in ours)
    allowed = max(by * 1.1, by + 5)

    def median(name: str) -> float:
        return statistics.median(getattr(each, name) for each in ours)

    lines = [
        TITLE,
        "",
        f"Written by `benchmarks/install.py`: {bundle.name} on containers of a lab, {os.cpu_count()} CPUs, load {load:.1f} "
        f"at the beginning, medians of {len(ours)} run(s) in turn. By hand is the same files, images, `kubeadm init` and "
        "objects from a script, with nothing verified.",
        "",
        "| | |",
        "|---|---|",
        f"| control plane Ready, by hand | {by:.1f} s |",
        f"| control plane Ready, `kubewright install` | {own:.1f} s ({own - by:+.1f} s; aim: at most {allowed:.1f} s) |",
        f"| three nodes Ready | {median('three'):.1f} s |",
        f"| first pod of a user answers | {median('answering'):.1f} s |",
        f"| an install of what is installed | {median('again'):.1f} s (aim: 3 s) |",
        f"| memory of the installer | {median('own') / 1000:.0f} MB (aim: 256 MB) |",
        f"| memory of the largest program that it ran | {median('largest') / 1000:.0f} MB |",
    ]
    return "\n".join(lines) + "\n"


# -- nodes -----------------------------------------------------------------------------------------------------------------


@contextmanager
def nodes(given: Given, subnet: Subnet, names: list[str], more: dict[Path, str]) -> Iterator[Machines]:
    """Booted nodes, taken away at the end."""
    milestone1.down(given.folder)
    shared = milestone1._shared(given, subnet)
    settings = shared / "cluster.toml"
    settings.write_text(settings.read_text().replace("serve = true", "serve = false"))
    machines = Machines.begin(given.folder / "m1.json", given.folder / "m1.docker")
    try:
        machines.image(given.node_tar, given.node_digest)
        machines.make_network(str(subnet.network), subnet.gateway)
        mounts = {shared: "/kubewright", given.bundle.resolve(): "/bundle.oci", **more}
        for name in names:
            machines.make_node(name, subnet.nodes(NODES)[name], subnet.gateway, mounts)
        for name in names:
            machines.wait_for_boot(name)
        yield machines
    finally:
        milestone1.down(given.folder)


def settle() -> None:
    """What was prepared is on the disk: otherwise the one that is measured first waits for that."""
    os.sync()


def must(machines: Machines, node: str, words: list[str]) -> str:
    said = machines.run(node, words)
    if said.status:
        sys.exit(f"{node}: {shlex.join(words)[:200]} ended with {said.status}:\n{said.output[-3000:]}")
    return said.output


# -- installed -------------------------------------------------------------------------------------------------------------


def installed(given: Given) -> Took:
    with nodes(given, free_subnet(), list(NODES), {}) as machines:
        settle()
        begin = time.monotonic()
        leader, own, largest = install(machines, LEADER, [])
        must(machines, LEADER, [*checks.INSTALLER, "join-token", "--out", "/root/join.json"])
        material = must(machines, LEADER, ["cat", "/root/join.json"]).encode()
        for name in WORKERS:
            machines.write(name, "/root/join.json", material, 0o600)
        with ThreadPoolExecutor(len(WORKERS)) as pool:
            list(pool.map(lambda name: install(machines, name, ["--join", "/root/join.json"]), WORKERS))
        three = time.monotonic() - begin
        answers(machines)
        answering = time.monotonic() - begin
        kube = Kube(machines, LEADER)
        kube.until(
            "all pods of the system run", lambda: all(condition(each, "Ready") for each in kube.get("pods", "-A")["items"]), 300
        )
        again, _, _ = install(machines, LEADER, [])
        return Took(leader, three, answering, again, own, largest)


def install(machines: Machines, node: str, more: list[str]) -> tuple[float, int, int]:
    """Seconds, kB of the installer, kB of the largest program."""
    must(machines, node, ["sh", "-c", "mkdir -p /etc/kubewright && cp /kubewright/policy.toml /etc/kubewright/"])
    program = ["python3", "-I", "-c", OWN, checks.INSTALLER[-1]]
    words = ["install", "/bundle.oci", "--policy", "/etc/kubewright/policy.toml", "--cluster", "/kubewright/cluster.toml"]
    must(machines, node, ["python3", "-I", "-c", MEASURE, "/run/took", *program, *words, "--allow-cgroup-v1", *more])
    for _ in range(10):  # of a program that ends at once, docker's exec may lose what it said
        said = must(machines, node, ["cat", "/run/took", "/run/own"]).split()
        if len(said) == 3:
            break
    seconds, largest, own = said
    return float(seconds), int(own), int(largest)


def answers(machines: Machines) -> None:
    """A pod of a user, on a worker, asked from the control plane."""
    kube = Kube(machines, LEADER)
    image = milestone1._image(machines, LEADER)
    script = "mkdir /tmp/www && echo here > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
    kube.apply(pod("first", image, ["sh", "-c", script], node=WORKERS[0]))
    address = kube.until("it has an address", lambda: kube.get("pod", "first")["status"].get("podIP"), 120)
    ask = f"import urllib.request; print(urllib.request.urlopen('http://{address}:8080/', timeout=2).read())"
    end = time.monotonic() + 120
    while machines.run(LEADER, ["python3", "-c", ask]).status:
        if time.monotonic() > end:
            sys.exit("the first pod does not answer")
        time.sleep(0.1)


# -- by hand ---------------------------------------------------------------------------------------------------------------


def by_hand(given: Given) -> float:
    """Seconds until the control plane is Ready."""
    folder = given.folder / "by-hand"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subnet = free_subnet()
    with nodes(given, subnet, [LEADER], {folder: "/by-hand"}) as machines:
        script = prepare_by_hand(given, folder, machines, subnet.nodes(NODES)[LEADER])
        settle()
        begin = time.monotonic()
        said = must(machines, LEADER, ["bash", "-eu", f"/by-hand/{script}"])
        seconds = time.monotonic() - begin
        print(said, file=sys.stderr)
        return seconds


def prepare_by_hand(given: Given, folder: Path, machines: Machines, address: str) -> str:
    """What somebody would have at hand: programs, configuration, a tar of images, objects; and the commands."""
    adjust = re.search(r"CapEff:\s+(\w+)", must(machines, LEADER, ["cat", "/proc/self/status"]))
    assert adjust is not None
    facts = Facts(LEADER, address, "linux/amd64", 1 if cgroup_v1(machines) else 2, bool(int(adjust[1], 16) >> 24 & 1))
    with open_bundle(given.bundle, given.policy) as bundle:
        cluster = load_cluster(given.folder / "shared" / "cluster.toml")
        plan = run.make_plan(bundle.content, cluster, run.Options(LEADER), facts)
        for file in plan.files:
            target = folder / "release" / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(file.content, HostFile):
                with bundle.source.open_file(file.content) as stream, target.open("wb") as out:
                    while piece := stream.read(1 << 20):
                        out.write(piece)
            else:
                target.write_text(file.content)
            target.chmod(file.mode)
        for file in plan.outside:
            target = folder / "outside" / file.path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(str(file.content))
        with (folder / "images.tar").open("wb") as out:
            bundle.source.export_images(plan.images, out)
        given_objects = []
        for step in plan.steps:
            if isinstance(step, Apply):
                manifest = bundle.content.manifest(step.manifest)
                parsed = objects.parse(bundle.source.read_manifest(manifest), manifest)
                given_objects += objects.for_site(step.manifest, parsed, step.parameters, bundle.content)
    for number, batch in enumerate(given_objects):
        (folder / f"objects-{number:02}.json").write_text(json_text({"apiVersion": "v1", "kind": "List", "items": batch}))
    init = next(step for step in plan.steps if isinstance(step, Kubeadm))
    first, *others = init.documents
    (folder / "kubeadm.yaml").write_text(documents([{k: v for k, v in first.items() if k != "bootstrapTokens"}, *others]))
    (folder / "run.sh").write_text("\n".join(commands(plan)) + "\n")
    return "run.sh"


def cgroup_v1(machines: Machines) -> bool:
    return machines.run(LEADER, ["test", "-e", "/sys/fs/cgroup/cgroup.controllers"]).status != 0


def commands(plan: Plan) -> Iterator[str]:
    home, current = "/var/lib/kubewright", "/var/lib/kubewright/current"
    yield 'mark() { echo "$SECONDS s  $1"; }'
    yield f"mkdir -p {home} && cp -r /by-hand/release {current} && cp -r /by-hand/outside/. /"
    for each in plan.directories:
        yield f"mkdir -p -m {each.mode:o} {each.path}"
    for setting in plan.settings:
        yield f"echo {setting.value} > /proc/sys/{setting.key.replace('.', '/')} || true"
    encryption = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"identity": {}}]}],
    }
    for secret in plan.secrets:
        yield f"printf %s {shlex.quote(json.dumps(encryption))} > {secret.path} && chmod 600 {secret.path}"
    yield f"export PATH=$PATH:{current}/bin"
    yield "systemctl daemon-reload && systemctl restart containerd.service"
    yield "mark 'containerd runs'"
    yield f"{current}/bin/ctr -n k8s.io images import /by-hand/images.tar > /dev/null"
    yield "mark images"
    yield "kubeadm init --config /by-hand/kubeadm.yaml --skip-token-print > /dev/null"
    yield "mark 'kubeadm init'"
    apply = f"{current}/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf apply --server-side --force-conflicts -f"
    yield f"for f in /by-hand/objects-*.json; do until {apply} $f > /dev/null; do sleep 0.5; done; done"
    yield "mark objects"
    ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    get = f"{current}/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf get node {plan.node.name} -o '{ready}'"
    yield f'until [ "$({get})" = True ]; do sleep 0.2; done'
    yield "mark Ready"


if __name__ == "__main__":
    main()
