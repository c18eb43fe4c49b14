"""The sandbox contract, held against each back end: what a command sees, says and ends with."""

from __future__ import annotations

import os
import shutil
import time

import pytest
from bench import Bench
from leftovers import alive

from kubewright.errors import SandboxError
from kubewright.sandbox import Mount


def test_the_environment_is_what_was_given(bench: Bench) -> None:
    given = {"PATH": "/nowhere", "B": "2", "EMPTY": "", "SPACES": "a b\tc", "UNICODE": "ä"}
    assert sorted(bench.run("environment", env=given).lines) == sorted(
        [*(f"{name}={value}" for name, value in given.items()), "HOME=/tmp", "PWD=/build"]
    )
    assert sorted(bench.run("environment", env={"HOME": "/build"}).lines) == ["HOME=/build", "PWD=/build"]


def test_identity_host_name_umask_cpus_and_directory(bench: Bench) -> None:
    default = bench.run("identity").text
    assert default == (
        f"uid={bench.uid}/{bench.uid} gid={_gid(bench, 1000)}/{_gid(bench, 1000)} umask=022 host=kubewright cwd=/build"
        f" cpus={len(os.sched_getaffinity(0))} stdin=0\n"
    )
    varied = bench.run("identity", uid=1234, gid=4321, umask=0o027, hostname="elsewhere", cwd="/tmp", cpus=1).text
    uid = bench.uid if bench.uid != 1000 else 1234
    assert (
        varied
        == f"uid={uid}/{uid} gid={_gid(bench, 4321)}/{_gid(bench, 4321)} umask=027 host=elsewhere cwd=/tmp cpus=1 stdin=0\n"
    )


def _gid(bench: Bench, wanted: int) -> int:
    return os.getegid() if bench.kind == "docker" and os.geteuid() != 0 else wanted


def test_nothing_leaks_through_descriptors(bench: Bench) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        listed = bench.run("list", "/proc/self/fd").lines
    finally:
        os.close(reader)
        os.close(writer)
    assert listed == ["0", "1", "2", "3"]  # 3 is the listing itself


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        ("/probe exit 0", 0),
        ("/probe exit 3", 3),
        ("/probe exit 255", 255),
        ("/probe signal 9", 137),
        ("/probe signal 11", 139),
        ("/probe signal 15", 143),
        ("/missing", 127),
        ("missing", 127),
        ("/build", 126),
    ],
)  # fmt: skip
def test_the_status_is_the_command_s_own(bench: Bench, argv: str, status: int) -> None:
    assert bench.run("-", argv=tuple(argv.split())).status == status


def test_a_command_is_found_on_the_path(bench: Bench) -> None:
    shutil.copy(bench.probe, bench.build / "found")
    assert bench.run("-", argv=("found", "exit", "4"), env={"PATH": "/nowhere:/build"}).status == 4


def test_stdout_and_stderr_come_merged_in_order(bench: Bench) -> None:
    assert bench.run("alternate", "2000").lines == [str(number) for number in range(2000)]


def test_standard_output_comes_apart_when_it_is_asked_for(bench: Bench) -> None:
    other, out = bytearray(), bytearray()
    bench.sandbox.run(bench.spec("alternate", "2000"), other.extend, out.extend)
    assert out.split() == [b"%d" % number for number in range(0, 2000, 2)]
    assert other.split() == [b"%d" % number for number in range(1, 2000, 2)]
    other.clear(), out.clear()
    assert bench.sandbox.run(bench.spec("-", argv=("/missing",)), other.extend, out.extend).status == 127
    assert not out  # what the sandbox itself has to say is not the command's


def test_output_comes_while_the_command_runs(bench: Bench) -> None:
    times: list[float] = []
    bench.run("linger", "1", output=lambda _: times.append(time.monotonic()))
    assert times[-1] - times[0] > 0.8


def test_large_output_passes_in_bounded_memory(bench: Bench) -> None:
    import resource

    before, size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0

    def count(data: bytes) -> None:
        nonlocal size
        size += len(data)

    bench.sandbox.run(bench.spec("flood", "256"), count)
    assert size == 256 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_what_a_command_leaves_running_ends_with_it(bench: Bench) -> None:
    began = time.monotonic()
    assert bench.run("daemon").status == 0
    assert time.monotonic() - began < 20
    assert not alive(bench)


def test_what_is_not_there_is_named(bench: Bench) -> None:
    missing = bench.folder / "missing"
    with pytest.raises(SandboxError, match=f"build directory {missing} does not exist"):
        bench.run("exit", "0", build=missing)
    with pytest.raises(SandboxError, match=f"root file system {missing} does not exist"):
        bench.run("exit", "0", root=missing)
    with pytest.raises(SandboxError, match=f"{missing}, to be mounted at /x, does not exist"):
        bench.run("exit", "0", mounts=(Mount(missing, "/x"),))
    with pytest.raises(SandboxError, match="'build' is not an absolute path"):
        bench.run("exit", "0", cwd="build")


def test_it_is_usable_here(bench: Bench) -> None:
    assert bench.sandbox.usable() is None
