"""What is bubblewrap's own: its uid on the host, what it says when namespaces are forbidden, the layout of a root."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import ORDINARY, as_ordinary, forked

from kubewright.errors import SandboxError
from kubewright.sandbox import Limits, Mount, Spec, layout, seccomp
from kubewright.sandbox.bubblewrap import REAL_ID, Bubblewrap

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@needs_root
def test_as_root_its_processes_are_nobody_s_on_the_host(bubblewrap_prefix: Path, probe: Path, folder: Path) -> None:
    uids: set[str] = set()

    def look(_: bytes) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.path.samestat((process / "exe").stat(), probe.stat()):
                    uids.update((process / "status").read_text().partition("Uid:\t")[2].split("\n")[0].split("\t"))
            except OSError:
                continue

    spec = Spec(("/probe", "linger", "1"), folder / "build", mounts=(Mount(probe, "/probe"),))
    Bubblewrap(bubblewrap_prefix).run(spec, look)
    assert uids == {str(REAL_ID)}


@needs_root
def test_as_root_it_builds_in_a_store_that_only_root_can_enter(bubblewrap_prefix: Path, probe: Path, folder: Path) -> None:
    shutil.copytree(bubblewrap_prefix, folder / "closed" / "prefix", symlinks=True)
    (folder / "build").rename(folder / "closed" / "build")
    (folder / "closed").chmod(0o700)
    spec = Spec(("/probe", "write", "file"), folder / "closed" / "build", mounts=(Mount(probe, "/probe"),))
    assert Bubblewrap(folder / "closed" / "prefix").run(spec, lambda _: None).status == 0
    assert (folder / "closed" / "build" / "file").read_text() == "probe"


def in_a_namespace(uid: int, job: Callable[[], Any]) -> Any:
    """``job()`` as root of a user namespace that maps only ``uid`` of the host (what `unshare --map-root-user` makes)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: giving up root took our own /proc files away
    assert libc.unshare(0x10000000) == 0  # CLONE_NEWUSER
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {uid} 1")
    return job()


@needs_root
def test_it_says_which_switch_forbids_user_namespaces(bubblewrap_prefix: Path) -> None:
    def ask() -> str | None:
        Path("/proc/sys/user/max_user_namespaces").write_text("0")  # of this namespace
        return Bubblewrap(bubblewrap_prefix).usable()

    assert as_ordinary(lambda: in_a_namespace(ORDINARY, ask)) == (
        "bubblewrap needs user namespaces, and user.max_user_namespaces is 0 on this machine. "
        'Run `sysctl -w user.max_user_namespaces=10000` as root, or set sandbox = "docker".'
    )


@needs_root
def test_root_that_can_become_nobody_else_is_refused(bubblewrap_prefix: Path) -> None:
    """Its processes would be uid 0 of the host, who may write /proc/sys."""
    said = forked(lambda: in_a_namespace(0, Bubblewrap(bubblewrap_prefix).usable))
    assert said.startswith("kubewright runs as root in a user namespace that has no uid 65530")


@needs_root
def test_an_ordinary_user_who_plays_root_is_served(bubblewrap_prefix: Path) -> None:
    assert as_ordinary(lambda: in_a_namespace(ORDINARY, Bubblewrap(bubblewrap_prefix).usable)) is None


def test_a_prefix_without_bubblewrap_is_named(folder: Path) -> None:
    with pytest.raises(SandboxError, match="does not hold bubblewrap and its loader"):
        Bubblewrap(folder).run(Spec(("x",), folder / "build"), lambda _: None)


def test_the_layout_opens_up_only_directories_that_lack_a_mount_point(folder: Path) -> None:
    root = folder / "root"
    for name in ("usr/lib", "usr/bin", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    spec = Spec(("x",), folder / "build", root=root, mounts=(Mount(folder, "/usr/local/go"), Mount(folder, "/etc")))
    places = {root: "/R", folder / "build": "/B", folder: "/M"}
    arguments = layout.arguments(spec, places)
    assert arguments[: arguments.index("--proc")] == [
        *("--symlink", "usr/bin", "/bin"),
        *("--perms", "0755", "--dir", "/usr"),
        *("--ro-bind", "/R/usr/bin", "/usr/bin"),
        *("--ro-bind", "/R/usr/lib", "/usr/lib"),
    ]  # fmt: skip
    assert arguments[-11:] == [
        *("--bind", "/B", "/build"),
        *("--ro-bind", "/M", "/usr/local/go"),
        *("--ro-bind", "/M", "/etc"),
        *("--remount-ro", "/"),
    ]  # fmt: skip


def test_a_limit_that_is_not_asked_for_is_not_claimed(bubblewrap_prefix: Path, folder: Path) -> None:
    spec = Spec(("/missing",), folder / "build", limits=Limits(seconds=20, memory=None, processes=None))
    assert Bubblewrap(bubblewrap_prefix).run(spec, lambda _: None).enforced == ("time",)


def test_the_system_call_filter_of_an_unknown_machine_is_an_error() -> None:
    with pytest.raises(SandboxError, match="no system call filter for 'pdp11' machines"):
        seccomp.program("pdp11")
    assert len(seccomp.program(platform.machine())) % 8 == 0
