"""The sandbox contract, held against each back end: limits, and whatever way it ends, nothing stays."""

from __future__ import annotations

import os
import threading
import time

import pytest
from bench import ORDINARY, Bench, Ordinary, give_up_root
from leftovers import alive, containers, groups, nothing_left, until

from kubewright.errors import TimeLimitError
from kubewright.sandbox import Limits


def test_the_time_limit_ends_it_and_leaves_nothing(bench: Bench) -> None:
    assert bench.run("linger", "0").result.enforced[0] == "time"  # type: ignore[union-attr]
    with nothing_left(bench), pytest.raises(TimeLimitError, match=r"ran longer than its limit of 1\.5 s"):
        bench.run("linger", "60", limits=Limits(seconds=1.5))


def test_the_time_limit_ends_what_floods(bench: Bench) -> None:
    with nothing_left(bench), pytest.raises(TimeLimitError):
        bench.sandbox.run(bench.spec("flood", "100000000", limits=Limits(seconds=1.5)), lambda _: None)


def test_the_memory_limit_holds_where_it_is_said_to(bench: Bench) -> None:
    limits = Limits(seconds=60, memory=64 << 20, processes=None)
    small = bench.run("memory", "16", limits=limits)
    assert small.status == 0
    if "memory" not in small.result.enforced:  # type: ignore[union-attr]
        assert bench.ordinary, "root can write cgroups on the machines of this project"
        pytest.skip("this user cannot write cgroups")
    assert bench.run("memory", "200", limits=Limits(seconds=60)).status == 0
    large = bench.run("memory", "200", limits=limits)
    assert large.status == 137
    assert "kubewright: the limit of 67108864 bytes of memory was reached" in large.text


def test_the_limit_of_processes_holds_where_it_is_said_to(bench: Bench) -> None:
    limits = Limits(seconds=60, processes=30)
    small = bench.run("forks", "10", limits=limits)
    assert (small.status, small.lines[0]) == (0, "10")
    if "processes" not in small.result.enforced:  # type: ignore[union-attr]
        assert bench.ordinary, "root can write cgroups on the machines of this project"
        pytest.skip("this user cannot write cgroups")
    assert bench.run("forks", "60", limits=Limits(seconds=60)).status == 0
    many = bench.run("forks", "60", limits=limits)
    assert many.status == 1
    assert int(many.lines[0]) < 30


def test_no_core_files(bench: Bench) -> None:
    assert bench.run("limits").text == "0 0\n"


def test_a_run_leaves_nothing(bench: Bench) -> None:
    bench.run("exit", "0")
    with nothing_left(bench):
        bench.run("exit", "0")


def test_an_interrupt_ends_it_and_leaves_nothing(bench: Bench) -> None:
    def interrupt(_: bytes) -> None:
        os.kill(os.getpid(), 2)

    bench.run("exit", "0")
    began = time.monotonic()
    with nothing_left(bench), pytest.raises(KeyboardInterrupt):
        bench.run("linger", "60", output=interrupt)
    assert time.monotonic() - began < 30


def test_a_log_that_cannot_be_written_ends_it_with_its_own_error(bench: Bench) -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    bench.run("exit", "0")
    with nothing_left(bench), pytest.raises(OSError, match="No space left on device"):
        bench.run("linger", "60", output=full)


def test_killing_kubewright_ends_the_sandbox(bench: Bench) -> None:
    """Bubblewrap: at once. Docker: the daemon's container goes with the next run, which recognises it."""
    pid = os.fork()
    if pid == 0:
        if isinstance(bench.sandbox, Ordinary):
            os.chown(bench.build, ORDINARY, ORDINARY)
            give_up_root()
        getattr(bench.sandbox, "inner", bench.sandbox).run(bench.spec("linger", "60"), lambda _: None)
        os._exit(0)
    until(lambda: alive(bench) != [])
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    if bench.kind == "docker":
        assert alive(bench) != []
        bench.run("exit", "0")
        assert containers(bench) == []
    until(lambda: alive(bench) == [])
    until(lambda: groups(pid) == [])


def test_two_at_once_do_not_meet(bench: Bench) -> None:
    """From threads, as doit runs tasks."""
    bench.run("exit", "0")
    other = bench.folder / "other"
    other.mkdir()
    if bench.kind == "bubblewrap-ordinary":
        pytest.skip("forks, and so not from threads")
    said: dict[str, str] = {}

    def build(name: str) -> None:
        said[name] = bench.run("write", f"/build/{name}", build=bench.folder / name).text

    with nothing_left(bench):
        threads = [threading.Thread(target=build, args=(name,)) for name in ("build", "other")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert said == {"build": "write: done\n", "other": "write: done\n"}
    assert [path.name for path in other.iterdir()] == ["other"]
