"""The collection for real: three machines with systemd and sshd, in containers of locked packages, and ansible-playbook.

python tests/ansible/three_machines.py     as .ci/ansible does: KUBEWRIGHT_ANSIBLE, KUBEWRIGHT_LAB_BUNDLE, KUBEWRIGHT_LAB_POLICY

Nothing is in these machines but a Debian with an ssh server; what gets there, gets there over ssh.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubewright import pyz
from kubewright.lab import support
from kubewright.lab.errors import LabCheckError, LabError
from kubewright.lab.machines import Machines, end_rest, load_state
from kubewright.lab.prepare import BUNDLE, POLICY, node_root
from kubewright.lab.results import Results
from kubewright.lab.subnet import free_subnet
from kubewright.project import Project
from kubewright.report import Progress, reporting_errors

ROOT: Final = Path(__file__).parents[2]
NODES: Final = ("leader", "worker-1", "worker-2")
LOST: Final = "worker-2"
_SSHD: Final = """\
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /root/.ssh/authorized_keys
PasswordAuthentication no
PermitRootLogin prohibit-password
UsePAM no
Subsystem sftp /usr/lib/openssh/sftp-server
"""
_CLUSTER: Final = """\
name = "over-ssh"
[network]
conntrack = "keep" # three machines share one kernel
[kubelet]
free_disk = "1Gi" # and one disk
"""
_RECAP: Final = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
#: a bootstrap token of kubeadm; not a part of a file's name (bundle.KEYID.sigstore.json)
_TOKEN: Final = re.compile(r"(?<![\w./-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w-]|\.\w)")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}")
#: what an install changes, and Ansible's own temporary files do not
_TOUCHED: Final = (
    "find /etc /opt /usr /var/cache /var/lib -not -path '*/__pycache__*' -not -path '/var/lib/systemd/*' "
    "-not -path '/var/lib/private*' \\( -type d -printf '%p %m\\n' -o -printf '%p %m %s %T@\\n' \\) 2>/dev/null | sort"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How ansible-playbook ended. ``recap``: machine -> (changed, unreachable, failed)."""

    status: int
    output: str
    seconds: float

    @property
    def recap(self) -> Mapping[str, tuple[int, int, int]]:
        return {name: (int(changed), int(lost), int(failed)) for name, _, changed, lost, failed in _RECAP.findall(self.output)}


def must(condition: object, what: str, ended: Ended | None = None) -> None:
    if not condition:
        raise LabCheckError(what, details=ended.output[-6000:] if ended else "")


# -- machines ------------------------------------------------------------------------------------------------------------


class Site:
    """Three machines, an inventory, and ansible-playbook."""

    def __init__(self, folder: Path, machines: Machines, bundle: Path, policy: Path) -> None:
        self.folder, self.machines, self.bundle, self.policy = folder, machines, bundle, policy
        self.subnet = free_subnet()
        self.nodes = self.subnet.nodes(NODES)

    def write(self) -> None:
        """Keys, inventory, site settings, programs, the policy (beside which the verifier keeps its state)."""
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True)
        key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        (self.folder / "known_hosts").write_text("".join(f"{address} {key}\n" for address in self.nodes.values()))
        shutil.copyfile(self.policy, self.folder / "policy.toml")
        for program in pyz.PROGRAMS:
            (self.folder / program.file).write_bytes(pyz.build(program))
        nodes = [
            f'[[node]]\nname = "{name}"\naddress = "{address}"\nrole = "{"worker" if number else "control-plane"}"\n'
            for number, (name, address) in enumerate(self.nodes.items())
        ]
        (self.folder / "cluster.toml").write_text(_CLUSTER + "".join(nodes))
        (self.folder / "hosts").write_text(self._inventory())

    def _inventory(self) -> str:
        leader, *workers = (f"{name} ansible_host={address}" for name, address in self.nodes.items())
        ssh = f"-o UserKnownHostsFile={self.folder}/known_hosts -o GlobalKnownHostsFile=/dev/null"
        variables = {
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": f"{self.folder}/user",
            "ansible_ssh_common_args": f"'{ssh}'",
            "ansible_ssh_extra_args": "'-o ServerAliveInterval=2 -o ServerAliveCountMax=3 -o ConnectTimeout=10'",
            "ansible_ssh_args": "'-o ControlMaster=auto -o ControlPersist=60s'",  # without -C: bundles are compressed
            "ansible_become": "false",
            "kubewright_bundle": self.bundle,
            "kubewright_policy": f"{self.folder}/policy.toml",
            "kubewright_programs": self.folder,
            "kubewright_cluster": f"{self.folder}/cluster.toml",
            "kubewright_allow": "--allow-cgroup-v1",
        }
        lines = "".join(f"{name}={value}\n" for name, value in variables.items())
        return f"[control_plane]\n{leader}\n[workers]\n" + "\n".join(workers) + f"\n[all:vars]\n{lines}"

    def open_ssh(self, name: str) -> None:
        """What the package's scripts and an administrator would have done."""
        files = {
            "/etc/ssh/sshd_config": (_SSHD.encode(), 0o644),
            "/etc/ssh/ssh_host_ed25519_key": ((self.folder / "host").read_bytes(), 0o600),
            "/root/.ssh/authorized_keys": ((self.folder / "user.pub").read_bytes(), 0o600),
        }
        script = (
            "wants=/etc/systemd/system/multi-user.target.wants; mkdir -p -m 700 /root/.ssh && mkdir -p /etc/ssh $wants && "
            "echo 'sshd:x:104:65534::/run/sshd:/usr/sbin/nologin' >> /etc/passwd && "
            "ln -s /lib/systemd/system/ssh.service $wants/"
        )
        self._must(name, script)
        for path, (data, mode) in files.items():
            self.machines.write(name, path, data, mode)
        self._must(name, "systemctl daemon-reload && systemctl start ssh")

    def _must(self, name: str, script: str) -> str:
        said = self.machines.run(name, ["sh", "-c", script])
        must(said.status == 0, f"{name}: {script}: {said.output[-500:]}")
        return said.output

    def wait_for_ssh(self, name: str) -> None:
        for _ in range(600):
            try:
                with socket.create_connection((self.nodes[name], 22), 1) as found:
                    if found.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.2)
        raise LabCheckError(f"{name} does not answer on port 22")

    # -- asking it -------------------------------------------------------------------------------------------------------

    def start(self, log: str, playbook: str, *words: str) -> subprocess.Popen[bytes]:
        program = f"{os.environ['KUBEWRIGHT_ANSIBLE']}/ansible-playbook"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
        }
        with (self.folder / log).open("wb") as out:
            return subprocess.Popen(
                [program, "-i", str(self.folder / "hosts"), f"kubewright.cluster.{playbook}", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                cwd=self.folder,
            )

    def play(self, log: str, playbook: str, *words: str) -> Ended:
        begin = time.monotonic()
        status = self.start(log, playbook, *words).wait(1200)
        return Ended(status, (self.folder / log).read_text(), time.monotonic() - begin)

    def touched(self) -> dict[str, str]:
        return {name: self._must(name, _TOUCHED) for name in NODES}

    def ready(self) -> set[str]:
        """The nodes that the API calls Ready."""
        script = "kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes --no-headers"
        rows = [line.split() for line in self._must("leader", script).splitlines()]
        return {name for name, state, *_ in rows if state == "Ready"}

    def has(self, name: str, path: str) -> bool:
        return self.machines.run(name, ["test", "-e", path]).status == 0


# -- what is shown -------------------------------------------------------------------------------------------------------


def check(site: Site, results: Results) -> None:
    with results.doing("--check shows the plan and touches nothing") as notes:
        before = site.touched()
        ended = site.play("check.log", "site", "--check")
        must(ended.status == 0 and "kubeadm init" in ended.output, "there is no plan", ended)
        must(site.touched() == before, "something was touched", ended)
        notes.append(f"{sum(changed for changed, *_ in ended.recap.values())} changes are announced")
    with results.doing("one machine that is not ready stops all before the first write") as notes:
        site._must(LOST, "mkdir -p /etc/cni/net.d && touch /etc/cni/net.d/10-other.conf")
        ended = site.play("refused.log", "site")
        must(ended.status != 0 and "/etc/cni/net.d/10-other.conf is another pod network's" in ended.output, "no word", ended)
        must(not any(site.has(name, "/var/lib/kubewright") for name in NODES), "something was installed", ended)
        site._must(LOST, "rm -r /etc/cni")
        notes.append(f"{ended.seconds:.0f} s, bundle brought to all three")
    with results.doing(f"{LOST} is gone in the middle: the others finish") as notes:
        ended = lose_one(site)
        must(ended.status != 0 and ended.recap[LOST][1] == 1, f"{LOST} is not called unreachable", ended)
        must("UNREACHABLE!" in ended.output, "no clear message", ended)
        must(all(ended.recap[name][1:] == (0, 0) for name in NODES if name != LOST), "others were drawn in", ended)
        must(site.ready() == set(NODES) - {LOST}, f"Ready: {site.ready()}", ended)
        notes.append(f"{ended.seconds:.0f} s")
    with results.doing("the second run completes it") as notes:
        site.machines.start(LOST)
        site.wait_for_ssh(LOST)
        ended = site.play("second.log", "site", "-vvv")
        must(ended.status == 0 and site.ready() == set(NODES), f"Ready: {site.ready()}", ended)
        notes.append(f"{ended.seconds:.0f} s, three nodes Ready")
    with results.doing("join material stays nowhere"):
        for log in sorted(site.folder.glob("*.log")):
            no_secret(log.read_text(), log.name)
        for name in NODES:
            must(site._must(name, "ls -A /run/kubewright") == "", f"{name}: something is left in /run/kubewright")
    with results.doing("the third run changes nothing") as notes:
        for how in ([], ["--check"]):
            ended = site.play("third.log", "site", *how)
            must(ended.status == 0 and set(ended.recap.values()) == {(0, 0, 0)}, f"{ended.recap}", ended)
            notes.append(f"changed=0 in {ended.seconds:.0f} s{' with --check' if how else ''}")
        must(set(ended.recap) == set(NODES), f"{ended.recap}", ended)
    with results.doing("uninstalled") as notes:
        must(
            site.play("no.log", "uninstall").status != 0 and site.ready() == set(NODES), "it was not asked whether it is meant"
        )
        ended = site.play("uninstall.log", "uninstall", "-e", "kubewright_yes=true")
        must(ended.status == 0, "it failed", ended)
        left = [name for name in NODES if site.has(name, "/etc/kubernetes") or site.has(name, "/var/cache/kubewright")]
        must(not left, f"something is left on {left}", ended)
        again = site.play("uninstall.log", "uninstall", "-e", "kubewright_yes=true")
        must(again.status == 0 and set(again.recap.values()) == {(0, 0, 0)}, f"{again.recap}", again)
        notes.append(f"{ended.seconds:.0f} s; again: changed=0")


def lose_one(site: Site) -> Ended:
    """An install during which a worker's power is cut, when it has begun to write."""
    begin = time.monotonic()
    process = site.start("first.log", "site", "-vvv")
    while not site.has(LOST, "/var/lib/kubewright/install.json"):
        must(process.poll() is None and time.monotonic() - begin < 900, f"{LOST} is never installed", _so_far(site, begin))
        time.sleep(0.2)
    site.machines.kill(LOST)
    status = process.wait(900)
    return Ended(status, (site.folder / "first.log").read_text(), time.monotonic() - begin)


def _so_far(site: Site, begin: float) -> Ended:
    return Ended(-1, (site.folder / "first.log").read_text(), time.monotonic() - begin)


def no_secret(text: str, name: str) -> None:
    """Neither a token nor base64 of join material."""
    must(not _TOKEN.search(text), f"{name} has a bootstrap token in it")
    for found in _BASE64.findall(text):
        must(b"ca_hashes" not in base64.b64decode(found[: len(found) // 4 * 4]), f"{name} has join material in it")


# -- from beginning to end -----------------------------------------------------------------------------------------------


def main() -> int:
    project, folder = Project(ROOT), ROOT / ".kubewright" / "ansible"
    state = folder / "machines.json"
    end(state)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    with reporting_errors():
        policy = Path(os.environ[POLICY])
        tar, digest, _ = node_root(project, "lab-node-ssh", folder, Progress("ansible"))
        results = Results("ansible", said)
        machines = Machines.begin(state, folder / "docker")
        site = Site(folder, machines, Path(os.environ[BUNDLE]).resolve(), policy)
        try:
            with results.doing("three machines with sshd"):
                boot(site, tar, digest)
            check(site, results)
        except LabError:
            support.collect(machines, folder / "support")
            raise
        finally:
            machines.end()
            results.write(folder / "results")
            said("\n" + results.table())
    return 0


def said(line: str) -> None:
    print(line, flush=True)


def boot(site: Site, tar: Path, digest: str) -> None:
    site.write()
    site.machines.image(tar, digest)
    site.machines.make_network(str(site.subnet.network), site.subnet.gateway)
    for name, address in site.nodes.items():
        site.machines.make_node(name, address, site.subnet.gateway, {})
    for name in NODES:
        site.machines.wait_for_boot(name)
        site.open_ssh(name)
        site.wait_for_ssh(name)


def end(state: Path) -> None:
    """What a run before left."""
    left = load_state(state)
    if left is not None:
        machines = Machines.again(left)
        if machines is not None:
            machines.end()
        else:
            end_rest(left)


if __name__ == "__main__":
    sys.exit(main())
