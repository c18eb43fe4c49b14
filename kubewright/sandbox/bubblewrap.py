"""The back end that needs nothing: bwrap, from locked Debian packages, started through the loader that came with it.

As root, bwrap and all it starts run as a real uid of their own (REAL_ID), never as 0: a process whose uid is 0 on the
host can write /proc/sys of the host (kernel.core_pattern and the rest) although it has no capability, because the
kernel asks for the uid alone there. As an ordinary user the real uid is the user's. See docs/sandbox.md.
"""

from __future__ import annotations

import os
import platform
import re
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from kubewright.errors import SandboxError, TimeLimitError
from kubewright.sandbox import Limits, Result, Spec, Take, cgroup, host, layout, spawn
from kubewright.sandbox.channels import Channels, Events, opened

#: the uid and gid that processes have on the host when root runs us; no convention gives 65520-65533 to anybody
REAL_ID = 65530
_LOADERS = {
    "x86_64": ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "aarch64": ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}
#: waits for a line (we put its process under the limits meanwhile; our end means its end), then becomes bwrap
_ENTER = 'read -r _ && ulimit -c 0 && exec "$@" </dev/null'
_EXEC_FAILED = re.compile(rb"^bwrap: execvp [^\n]*: ([^\n:]*)\n\Z", re.MULTILINE)
_TAIL = 4096


class Bubblewrap:
    """``prefix``: a directory with the unpacked packages of builders/bubblewrap.toml; None: the bwrap on PATH."""

    name = "bubblewrap"

    def __init__(self, prefix: Path | None) -> None:
        self._prefix = prefix

    def usable(self) -> str | None:
        """Runs the smallest sandbox (about 10 ms): whatever forbids it, forbids builds."""
        try:
            with tempfile.TemporaryDirectory() as build:
                self.run(Spec(("/-",), Path(build), limits=Limits(seconds=20, processes=None)), lambda _: None)
        except (SandboxError, TimeLimitError) as error:
            return " ".join(filter(None, (error.message, error.remedy)))
        return None

    def run(self, spec: Spec, output: Take, stdout: Take | None = None) -> Result:
        """See :class:`kubewright.sandbox.Sandbox`."""
        host.check(spec)
        real = _real_id()
        if real is not None:
            host.own(spec, real, real)
        begun, tail = time.monotonic(), _Tail(output)
        with cgroup.limited(spec.limits) as group, opened(self._loader(), _machine(), apart=stdout is not None) as channels:
            try:
                with spawn.started(self._starter(spec, channels, real)) as process:
                    enforced = _enter(process, group, channels)
                    _follow(spec, channels, (tail, stdout), begun + spec.limits.seconds)
            finally:
                channels.end()
            if group.killed():
                tail(b"kubewright: the limit of %d bytes of memory was reached\n" % (spec.limits.memory or 0))
        return Result(_status(channels.events, tail), time.monotonic() - begun, ("time", *enforced))

    def _starter(self, spec: Spec, channels: Channels, real: int | None) -> Callable[[], spawn.Process]:
        """What :func:`spawn.started` calls in its thread."""
        needed = layout.sources(spec)
        if self._prefix is not None:
            needed.append(self._prefix)
        places = {path: str(path.absolute()) for path in needed} if real is None else spawn.places(needed)
        command = [*self._program(places, channels), *arguments(spec, places, channels)]
        allowed = host.cpus(spec.cpus)

        def start() -> spawn.Process:
            try:
                if real is not None:
                    spawn.stage(places)
                if allowed is not None:
                    os.sched_setaffinity(0, allowed)
                return subprocess.Popen(
                    ["/bin/sh", "-c", _ENTER, "kubewright", *command],
                    stdin=subprocess.PIPE, stdout=(channels.stdout or channels.output)[1], stderr=channels.output[1],
                    pass_fds=channels.passed,
                    env={}, cwd="/", umask=spec.umask, start_new_session=True,
                    user=real, group=real, extra_groups=None if real is None else [],
                )  # fmt: skip
            except OSError as error:
                raise _not_started(str(error)) from error

        return start

    def _loader(self) -> Path | None:
        if self._prefix is None:
            return None
        triple, name = _LOADERS[_machine()]
        found = self._prefix / "lib" / triple / name
        if not found.is_file():
            raise SandboxError(f"{self._prefix} does not hold bubblewrap and its loader ({name})", remedy="fetch it again")
        return found

    def _program(self, places: Mapping[Path, str], channels: Channels) -> list[str]:
        if self._prefix is None:
            found = shutil.which("bwrap")
            if found is None:
                raise SandboxError("there is no bwrap on PATH", remedy="Run `./doit fetch` to get the locked one.")
            return [found]
        triple, _ = _LOADERS[_machine()]
        prefix = places[self._prefix]
        return [
            f"/proc/self/fd/{channels.loader}", "--inhibit-cache", "--argv0", "bwrap",
            "--library-path", f"{prefix}/lib/{triple}:{prefix}/usr/lib/{triple}",
            # bwrap closes the descriptor of --sync-fd in the command, so that it does not see our loader
            f"{prefix}/usr/bin/bwrap", "--sync-fd", str(channels.loader),
        ]  # fmt: skip


def arguments(spec: Spec, places: Mapping[Path, str], channels: Channels) -> list[str]:
    """What bwrap is told; ``places`` as for :func:`layout.arguments`."""
    found = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup"]
    found += ["--disable-userns", "--uid", str(spec.uid), "--gid", str(spec.gid), "--hostname", spec.hostname]
    found += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    found += ["--json-status-fd", str(channels.status[1]), "--seccomp", str(channels.filter[0])]
    found += layout.arguments(spec, places)
    for name, value in host.environment(spec).items():
        found += ["--setenv", name, value]
    return [*found, "--chdir", spec.cwd, "--", *spec.argv]


def _real_id() -> int | None:
    """REAL_ID as root, and None as an ordinary user, be it one who is root in a user namespace of theirs."""
    if os.geteuid() != 0:
        return None
    maps = [[int(word) for word in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    if any(first <= REAL_ID < first + count for first, _, count in maps):
        return REAL_ID
    if any(first == 0 and outside == 0 for first, outside, _ in maps):
        raise SandboxError(
            f"kubewright runs as root in a user namespace that has no uid {REAL_ID} to run builds as.",
            remedy="Run it outside of that namespace, or as an ordinary user.",
        )
    return None


# -- following a run --------------------------------------------------------------------------------------------------


def _enter(process: spawn.Process, group: cgroup.Group, channels: Channels) -> tuple[str, ...]:
    """Put the waiting process under the limits and let it go on; the limits that hold."""
    channels.close_ours()
    try:
        group.add(process.pid)
        enforced = group.enforced
    except OSError:  # v2 lets a user make a group and yet not move a process into it
        enforced = ()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(b"\n")
        process.stdin.close()
    return enforced


def _follow(spec: Spec, channels: Channels, takes: tuple[Take, Take | None], deadline: float) -> None:
    """Pass output, and stdout where it is apart, on until every process has closed them, which is when bwrap has ended.

    Raises TimeLimitError.
    """
    with selectors.DefaultSelector() as waiting:
        pipes = zip((channels.output, channels.stdout), takes, strict=True)
        followed = [(pipe[0], take) for pipe, take in pipes if pipe is not None]
        for number, take in followed:
            waiting.register(number, selectors.EVENT_READ, take)
        waiting.register(channels.status[0], selectors.EVENT_READ, channels.heard)
        while any(number in waiting.get_map() for number, _ in followed):
            ready = waiting.select(max(deadline - time.monotonic(), 0))
            if not ready or time.monotonic() > deadline:
                raise host.late(spec)
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                if data:
                    key.data(data)
                else:
                    waiting.unregister(key.fd)


class _Tail:
    """Passes output on and remembers its end."""

    def __init__(self, output: Take) -> None:
        self._output, self.data = output, b""

    def __call__(self, data: bytes) -> None:
        self.data = (self.data + data)[-_TAIL:]
        self._output(data)


def _status(events: Events, tail: _Tail) -> int:
    """The command's status; 127 or 126, as shells say it, when there is no such command or it cannot be executed."""
    status = events.get("exit-code")
    if status is not None:
        return status
    failed = _EXEC_FAILED.search(tail.data)  # everything was set up, and then the command was not there
    if failed is None:
        raise _not_started(tail.data.decode(errors="replace").strip())
    return 127 if failed[1] == b"No such file or directory" else 126


# -- reasons ----------------------------------------------------------------------------------------------------------


def _machine() -> str:
    found = platform.machine()
    if found not in _LOADERS:
        raise SandboxError(f"bubblewrap is not set up for {found!r} machines", remedy=f"Known: {', '.join(_LOADERS)}.")
    return found


def _not_started(said: str) -> SandboxError:
    """The reason in the user's words, when a switch of the kernel is the likely one."""
    for switch, forbids, remedy in (
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ):
        with suppress(OSError):
            if Path("/proc/sys", switch).read_text().strip() == forbids:
                name = switch.replace("/", ".")
                return SandboxError(
                    f"bubblewrap needs user namespaces, and {name} is {forbids} on this machine.",
                    remedy=f'Run `{remedy}` as root, or set sandbox = "docker".', details=said,
                )  # fmt: skip
    last = said.splitlines()[-1] if said else "it said nothing"
    return SandboxError(
        f"bubblewrap could not start a sandbox: {last}.",
        remedy="Where kubewright itself runs in a container, that container has to permit user and mount namespaces "
        '(docker: --security-opt seccomp=unconfined, and CAP_SYS_ADMIN for root); or set sandbox = "docker".',
        details=said,
    )  # fmt: skip
