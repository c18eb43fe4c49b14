"""A lab's nodes and network: made, booted, spoken to and taken away, each by the id that it was given when it was made."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kubewright.install.journal import write_atomically
from kubewright.lab import daemon
from kubewright.lab.errors import LabError
from kubewright.lab.root import BOOT

#: kernel settings that installs raise, and the kubelet; they are the whole machine's, and are put back
_SETTINGS: Final = (
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
)
_LABEL: Final = "kubewright.lab"


@dataclass(slots=True)
class State:
    """What was made, in the order in which it was made; written before anything else happens."""

    path: Path
    address: str = ""
    process: int = 0
    image: str = ""
    network: str = ""
    nodes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def save(self) -> None:
        """Write it down."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        value = {name: getattr(self, name) for name in ("address", "process", "image", "network", "nodes", "settings")}
        write_atomically(self.path, (json.dumps(value, indent=1) + "\n").encode(), 0o600)


def load_state(path: Path) -> State | None:
    """What a lab left there, if there is one."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise LabError(f"{path} is damaged", remedy="remove its containers by hand, then the file") from None
    return State(path, **value)


@dataclass(frozen=True, slots=True)
class Said:
    """How a program on a node ended, and what it said; ``result`` is that without what it said on standard error."""

    status: int
    output: str
    result: str = ""


class Machines:
    """The nodes of one lab."""

    def __init__(self, state: State, client: Any) -> None:
        self.state, self._client = state, client

    @classmethod
    def begin(cls, path: Path, folder: Path) -> Machines:
        """A lab with nothing in it yet. Raises LabError."""
        state = State(path)
        for name in _SETTINGS:
            state.settings[name] = Path("/proc/sys", name).read_text().strip()
        found = daemon.existing()
        if found is not None:
            state.address, client = found
            state.save()
        else:
            state.save()
            state.process, state.address, client = daemon.start(folder)
            state.save()
        return cls(state, client)

    @classmethod
    def again(cls, state: State) -> Machines | None:
        """The lab that is there; None where its daemon is gone."""
        client = daemon.connect(state.address) if state.address else None
        return cls(state, client) if client is not None else None

    # -- making ---------------------------------------------------------------------------------------------------------

    def image(self, tar: Path, digest: str) -> None:
        """Bring the nodes' image in, unless the daemon has it."""
        tag = digest.removeprefix("sha256:")[:16]
        name = f"kubewright/lab-node:{tag}"
        if not self._client.images.list(name=name):
            self._client.api.import_image_from_file(str(tar), repository="kubewright/lab-node", tag=tag)
        self.state.image = name
        self.state.save()

    def make_network(self, subnet: str, gateway: str) -> None:
        """A network that nothing gets out of; this machine still reaches what is in it."""
        from docker.types import IPAMConfig, IPAMPool

        pool = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet, gateway=gateway)])
        made = self._client.networks.create(
            f"kubewright-lab-{self.state.path.stem}", internal=True, ipam=pool, labels={_LABEL: self.state.path.stem}
        )
        self.state.network = made.id
        self.state.save()

    def make_node(self, name: str, address: str, gateway: str, mounts: Mapping[Path, str]) -> None:
        """Create and boot a node."""
        api = self._client.api
        host_config = api.create_host_config(
            cap_add=["ALL"],
            cap_drop=["SYS_RESOURCE"],  # a machine in a machine does not have it to give
            cgroupns="private",
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            device_cgroup_rules=["a *:* rwm"],
            devices=[f"{device}:{device}:rwm" for device in ("/dev/kmsg", "/dev/fuse", "/dev/net/tun")],
            tmpfs={"/run": "exec", "/tmp": "exec"},  # noqa: S108
            binds={str(path): {"bind": target, "mode": "ro"} for path, target in mounts.items()},
        )
        host_config |= {"MaskedPaths": [], "ReadonlyPaths": []}  # what docker calls systempaths=unconfined
        network = api.create_networking_config({self.state.network: api.create_endpoint_config(ipv4_address=address)})
        made = api.create_container(
            self.state.image,
            command=[BOOT],
            hostname=name,
            name=f"kubewright-lab-{self.state.path.stem}-{name}",
            environment={"container": "docker", "GATEWAY": gateway},
            volumes=["/var"],
            host_config=host_config,
            networking_config=network,
            stop_signal="SIGRTMIN+3",
            labels={_LABEL: self.state.path.stem},
        )
        self.state.nodes[name] = made["Id"]
        self.state.save()
        api.start(made["Id"])

    # -- using ----------------------------------------------------------------------------------------------------------

    def run(self, node: str, argv: Sequence[str]) -> Said:
        """Run a program on a node, as root."""
        ended = self._client.containers.get(self.state.nodes[node]).exec_run(list(argv), demux=True)
        result, errors = ((part or b"").decode("utf-8", "replace") for part in ended.output)
        return Said(ended.exit_code, result + errors, result)

    def write(self, node: str, path: str, data: bytes, mode: int) -> None:
        """Write a file on a node; what is in it is in no argument of a program."""
        folder, _, name = path.rpartition("/")
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
        self._client.api.put_archive(self.state.nodes[node], folder or "/", stream.getvalue())

    def wait_for_boot(self, node: str, timeout: float = 90) -> None:
        """Until systemd has started everything. Raises LabError."""
        end = time.monotonic() + timeout
        while True:
            found = self._client.containers.get(self.state.nodes[node])
            if found.status not in ("running", "created"):
                raise LabError(f"{node} has ended instead of booting", details=found.logs(tail=20).decode("utf-8", "replace"))
            said = self.run(node, ["systemctl", "is-system-running"])
            if said.output.strip() == "running":
                return
            if time.monotonic() > end:
                failed = self.run(node, ["systemctl", "--failed", "--no-legend", "--plain"]).output
                raise LabError(f"{node} does not boot: {said.output.strip()}", details=failed)
            time.sleep(0.2)

    def kill(self, node: str) -> None:
        """As if its power was cut."""
        self._client.api.kill(self.state.nodes[node], "SIGKILL")

    def start(self, node: str) -> None:
        """Boot it again."""
        self._client.api.start(self.state.nodes[node])

    # -- taking away ----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Take everything away that was made, and put the machine's settings back."""
        for name, identity in sorted(self.state.nodes.items()):
            self._away(lambda identity=identity: self._client.api.remove_container(identity, v=True, force=True))
            self.state.nodes.pop(name)
            self.state.save()
        if self.state.network:
            self._away(lambda: self._client.api.remove_network(self.state.network))
        end_rest(self.state)

    def _away(self, remove: Any) -> None:
        import docker

        try:
            remove()
        except docker.errors.NotFound:
            pass
        except docker.errors.APIError as error:
            raise LabError(f"docker: {error.explanation}", remedy="try again: ./doit lab:m1:down") from None


def end_rest(state: State) -> None:
    """What needs no daemon."""
    if state.process:
        daemon.stop(state.process, state.path.with_suffix(".docker"))
    bridge = f"br-{state.network[:12]}"  # outlives a daemon that was killed, and its route with it
    if state.network and Path("/sys/class/net", bridge).exists():
        subprocess.run(["ip", "link", "delete", bridge], check=False)
    for name, value in state.settings.items():
        path = Path("/proc/sys", name)
        if path.read_text().strip() != value:
            path.write_text(value + "\n")
    state.path.unlink(missing_ok=True)
