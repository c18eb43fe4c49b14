"""Measure `kubewright verify` against sha256sum of the same files: `.venv/bin/python benchmarks/verify.py`.

A synthetic signed set (tests/verify/setbuilder.py) of 2 GB; the two alternate in one run, on one core and on two; medians. Also
the peak of memory, start-up, and signing.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "verify"))

import setbuilder  # noqa: E402

from kubewright.pyz import build  # noqa: E402
from kubewright.trust.keys import SigningKey  # noqa: E402
from kubewright.trust.sign import sign_statement  # noqa: E402

MEGABYTE = 1_000_000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=2000, help="of the set, in MB")
    arguments.add_argument("--runs", type=int, default=5)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="kubewright-bench-") as scratch:
        made = big_set(Path(scratch), options.size)
        print(f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}; {options.size} MB; medians of {options.runs} runs\n")
        print("| cores | sha256sum, MB/s | kubewright verify, MB/s | ratio | --copy-to, MB/s | peak memory, MB |")
        print("|---|---|---|---|---|---|")
        for cores in range(1, min(2, os.cpu_count() or 1) + 1):
            print(row(made, options.size, options.runs, cores))
        print()
        single_file(made, options.runs)
    start_up(options.runs)
    signing()


def big_set(scratch: Path, size: int) -> setbuilder.SetBuilder:
    """Two components; the big one has programs of 100 MB and some small ones, all different."""
    outputs = {f"program-{index}": ("program", os.urandom(100 * MEGABYTE)) for index in range(size // 100)}
    small = {f"small-{index}": ("file", os.urandom(10_000)) for index in range(100)}
    setbuilder.OUTPUTS["etcd"] = {**outputs, **small}
    return setbuilder.SetBuilder(scratch)


def row(made: setbuilder.SetBuilder, size: int, runs: int, cores: int) -> str:
    """Both alternate, so that what else the machine does hits both."""
    files = sorted(str(path) for path in (made.set / "etcd").rglob("*") if path.is_file())
    pinned = ["taskset", "-c", ",".join(map(str, range(cores)))]
    verify = [sys.executable, "-m", "kubewright.cli", "verify", str(made.set), "--policy", str(made.policy)]
    plain, ours, copies, peaks = [], [], [], []
    for index in range(runs):
        parallel = ["xargs", "-n", "4", "-P", str(cores), "sha256sum"] if cores > 1 else ["xargs", "sha256sum"]
        plain.append(timed([*pinned, *parallel], "\n".join(files)))
        ours.append(timed([*pinned, *verify]))
        peaks.append(peak(verify[1:]))
        if index < 2:
            copies.append(timed([*pinned, *verify, "--copy-to", str(made.root / f"copy-{cores}-{index}")]))
            subprocess.run(["rm", "-rf", made.root / f"copy-{cores}-{index}"], check=True)
    rates = [size / statistics.median(times) for times in (plain, ours, copies)]
    ratio = statistics.median(one / two for one, two in zip(plain, ours, strict=True))
    return f"| {cores} | {rates[0]:.0f} | {rates[1]:.0f} | {ratio:.2f} | {rates[2]:.0f} | {max(peaks):.0f} |"


def timed(command: list[str], text: str = "") -> float:
    start = time.perf_counter()
    subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def peak(words: list[str]) -> float:
    """Megabytes at the most, of the process alone."""
    code = (
        "import runpy, sys; sys.argv = sys.argv[2:]\n"
        "try: runpy.run_module('kubewright.cli', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(open('/proc/self/status').read())"
    )
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    found = re.search(r"VmHWM:\s+(\d+)", result.stdout)
    return int(found.group(1)) * 1024 / MEGABYTE if found else 0


def single_file(made: setbuilder.SetBuilder, runs: int) -> None:
    """The stand-alone file on a small component: start-up and statements, hardly any bytes."""
    path = made.root / "kubewright-verify.pyz"
    path.write_bytes(build())
    command = [sys.executable, "-I", "-S", str(path), str(made.set / "runc"), "--policy", str(made.policy)]
    print(f"kubewright-verify.pyz on a small component: {statistics.median(timed(command) for _ in range(runs)):.2f} s")


def start_up(runs: int) -> None:
    for words in (["--help"], ["verify", "--help"]):
        times = [timed([sys.executable, "-m", "kubewright.cli", *words]) for _ in range(runs)]
        print(f"kubewright {' '.join(words)}: {statistics.median(times):.2f} s")


def signing() -> None:
    statement = {"_type": "x", "subject": [{"name": str(index), "digest": {"sha256": "a" * 64}} for index in range(200)]}
    key = SigningKey(setbuilder.private_key("site"), setbuilder.public_key("site"))
    start = time.perf_counter()
    for index in range(100):
        sign_statement({**statement, "predicate": index}, key)
    print(f"signing 100 statements of 20 kB: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
