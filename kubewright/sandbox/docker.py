"""The back end that uses a docker daemon of this machine, through its Engine API and the ``docker`` package.

The container has no network, a read-only root from an image that was assembled here, no capabilities, docker's system
call profile and ours, and binds of the build directory and the mounts. It carries labels that say whose it is; whatever a
killed kubewright left is removed by the next run.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kubewright.errors import SandboxError
from kubewright.sandbox import Result, Spec, Take, containers, host, image, start

if TYPE_CHECKING:
    import docker

_OTHER = 'or set sandbox = "bubblewrap"'


class Docker:
    """``client`` makes the connection of one run; by default what the environment names (DOCKER_HOST)."""

    name = "docker"

    def __init__(self, client: Callable[[], docker.DockerClient] | None = None) -> None:
        self._client = client or _from_environment

    def usable(self) -> str | None:
        try:
            with self._connected() as client:
                return _unfit(client.api.base_url, client.info())
        except SandboxError as error:
            return f"{error.message}; {error.remedy}"

    def run(self, spec: Spec, output: Take, stdout: Take | None = None) -> Result:
        """See :class:`kubewright.sandbox.Sandbox`."""
        host.check(spec)
        begun = time.monotonic()
        with self._connected() as client:
            about, api = client.info(), client.api
            containers.sweep(api)
            with containers.created(api, _options(spec, _image(api, spec), about, stdout is not None)) as name:
                code = containers.follow(api, name, spec, (stdout or output, output), begun + spec.limits.seconds)
                state = api.inspect_container(name)["State"]
        if state.get("OOMKilled"):
            output(b"kubewright: the limit of %d bytes of memory was reached\n" % (spec.limits.memory or 0))
        if code == start.NO_FILTER:
            raise SandboxError("the system call filter could not be loaded in the container", remedy=_OTHER)
        return Result(code, time.monotonic() - begun, _enforced(spec, about))

    @contextmanager
    def _connected(self) -> Iterator[docker.DockerClient]:
        """Errors of the connection, whenever they come, as SandboxErrors."""
        import docker
        import requests

        client: docker.DockerClient | None = None
        try:
            client = self._client()
            yield client
        except docker.errors.APIError as error:
            raise SandboxError(
                f"the docker daemon refused: {error.explanation or error}", remedy=f"mend it, {_OTHER}"
            ) from error
        except (docker.errors.DockerException, requests.RequestException, ConnectionError) as error:
            raise _unreachable(error, client is not None) from error
        finally:
            if client is not None:
                client.close()


def _from_environment() -> docker.DockerClient:
    import docker

    return docker.from_env(version="auto", timeout=300)


# -- what the daemon is asked for -------------------------------------------------------------------------------------


def _image(api: Any, spec: Spec) -> str:
    """The name of the image with this root, loaded into the daemon if it is not there."""
    import docker

    machine = platform.machine()
    name = image.reference(spec.root, spec.root_digest, machine)
    try:
        api.inspect_image(name)
    except docker.errors.ImageNotFound:
        for event in api.load_image(image.archive(spec.root, name, machine)):
            if "error" in event:
                raise SandboxError(f"the docker daemon did not take the image {name}: {event['error']}") from None
    return name


def _user(spec: Spec) -> tuple[int, int]:
    """As root: the spec's ids, and the build directory becomes theirs. Else our own, so that outputs are ours."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    host.own(spec, spec.uid, spec.gid)
    return spec.uid, spec.gid


def _options(spec: Spec, name: str, about: dict[str, Any], apart: bool) -> dict[str, Any]:
    """The body of ``POST /containers/create`` (https://docs.docker.com/reference/api/engine/version/v1.41/)."""
    uid, gid = _user(spec)
    environment = {"PATH": None, "HOSTNAME": None, **host.environment(spec)}  # a name alone: docker shall not add it
    return {
        "Image": name,
        "Cmd": start.command(spec.umask, host.candidates(spec), spec.argv, apart=apart),
        "Env": [key if value is None else f"{key}={value}" for key, value in environment.items()],
        "Hostname": spec.hostname,
        "Labels": containers.labels(),
        "NetworkDisabled": True,
        "User": f"{uid}:{gid}",
        "WorkingDir": spec.cwd,
        "HostConfig": _host_config(spec, about),
    }


def _host_config(spec: Spec, about: dict[str, Any]) -> dict[str, Any]:
    limits, allowed = spec.limits, host.cpus(spec.cpus)
    mounts = [(spec.build, spec.at, True), *((mount.source, mount.target, mount.writable) for mount in spec.mounts)]
    config: dict[str, Any] = {
        "CapDrop": ["ALL"],
        "CgroupnsMode": "private",
        "Init": True,  # a first process that reaps, and that passes on how the command ended
        "IpcMode": "private",
        "LogConfig": {"Type": "none"},  # the stream we are attached to is the only copy
        "Mounts": [
            {"Type": "bind", "Source": str(source.absolute()), "Target": target, "ReadOnly": not writable}
            for source, target, writable in mounts
        ],
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges"],
        "Tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777", "/sys": "ro,size=4k"},  # noqa: S108
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
    }
    if allowed is not None:
        config["CpusetCpus"] = ",".join(str(cpu) for cpu in sorted(allowed))
    if limits.memory is not None and about.get("MemoryLimit"):
        config |= {"Memory": limits.memory, "MemorySwap": limits.memory}
    if limits.processes is not None and about.get("PidsLimit"):
        config["PidsLimit"] = limits.processes
    return config


def _enforced(spec: Spec, about: dict[str, Any]) -> tuple[str, ...]:
    memory = ("memory",) if spec.limits.memory is not None and about.get("MemoryLimit") else ()
    processes = ("processes",) if spec.limits.processes is not None and about.get("PidsLimit") else ()
    return ("time", *memory, *processes)


# -- reasons ----------------------------------------------------------------------------------------------------------


def _unfit(url: str, about: dict[str, Any]) -> str | None:
    """Why a daemon that answers is still not one to build with."""
    if not url.startswith("http+docker"):
        return f"the docker daemon at {url} is not on a unix socket of this machine; directories cannot be mounted, {_OTHER}"
    if about.get("OSType") != "linux":
        return f"the docker daemon runs {about.get('OSType')} containers, not linux ones; {_OTHER}"
    for option in about.get("SecurityOptions") or []:
        if "name=rootless" in option or "name=userns" in option:
            return f"the docker daemon maps user ids ({option}), so outputs would not be ours; use another daemon, {_OTHER}"
    return None


def _unreachable(error: Exception, was_there: bool) -> SandboxError:
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if was_there:
        return SandboxError(
            f"the docker daemon at {address} went away", remedy="start it again and repeat the command", details=str(error)
        )
    if "Permission denied" in str(error):
        remedy = f"add your user to the group docker and log in again, {_OTHER}"
        return SandboxError(f"no permission to use the docker daemon at {address}", remedy=remedy, details=str(error))
    remedy = f"start it, set DOCKER_HOST to the one to use, {_OTHER}"
    return SandboxError(f"no docker daemon answers at {address}", remedy=remedy, details=str(error))
