"""Measure kubewright against the plain tools and write docs/benchmarks.md: `.venv/bin/python benchmarks/run.py`.

Ratios are taken within one run, alternating; figures are medians. Needs kubectl's inputs in the store (`./doit fetch:kubectl`).
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kubewright.building.inputs import ensure_inputs
from kubewright.building.steps import Layout, commands
from kubewright.files.tree import remove_tree
from kubewright.project import Project
from kubewright.report import Progress

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
CHECKOUT = (
    "dodo.py",
    "pyproject.toml",
    "lockfile.toml",
    "digests.toml",
    "recipes",
    "builders",
    "stacks",
    "patches",
    "kubewright",
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--builds", type=int, default=1, help="pairs of cold kubectl builds (about 5 minutes each)")
    arguments.add_argument("--runs", type=int, default=5, help="runs of each short command")
    options = arguments.parse_args()
    project = Project(ROOT)
    with tempfile.TemporaryDirectory(prefix="kubewright-bench-") as scratch:
        sections = [
            header(),
            short_commands(Path(scratch), options.runs),
            many_recipes(Path(scratch), options.runs),
            *([cold_build(project, Path(scratch), options.builds)] if options.builds else []),
        ]
    PAGE.write_text("\n".join([*sections, *others()]), "utf-8")
    print(PAGE.read_text("utf-8"))


def others() -> list[str]:
    """Sections that other programs of this folder have written: they stay."""
    found = re.split(r"(?m)^(?=## )", PAGE.read_text("utf-8"))[1:] if PAGE.exists() else []
    return [each for each in found if "Written by `benchmarks/" in each]


def header() -> str:
    return f"""# Benchmarks

Written by `benchmarks/run.py`, not by hand. {os.cpu_count()} CPUs, {platform.machine()}, Linux,
Python {platform.python_version()}; medians, wall-clock seconds unless said.
"""


# -- cold build ---------------------------------------------------------------------------------------------------


def cold_build(project: Project, scratch: Path, pairs: int) -> str:
    """./doit build:kubectl without any compile cache, against the same go build by hand."""
    component = project.component("kubectl")
    inputs = ensure_inputs(project, component, Progress("bench"))
    ours, by_hand, peaks = [], [], []
    for _ in range(pairs):
        by_hand.append(hand_build(project, inputs.goroot or Path(), scratch))
        with cold_checkout(project, scratch) as (checkout, environment):
            seconds, peak = timed([sys.executable, "-m", "doit", "build:kubectl"], checkout, environment)
            ours.append(seconds)
            peaks.append(peak)
    ratios = [one / other for one, other in zip(ours, by_hand, strict=True)]
    return f"""
## A cold build against `go build`

`./doit build:kubectl` (verify inputs, sandbox, hash, smoke check, record, artifact) with an empty compile cache, and `go build`
with the same flags, modules and toolchain, outside of any sandbox, {pairs} pair(s) in turn.

| | seconds |
|---|---|
| by hand | {statistics.median(by_hand):.1f} |
| ./doit build:kubectl | {statistics.median(ours):.1f} |
| ratio (at most 1.05 wanted) | {statistics.median(ratios):.3f} |

Peak memory of our own process: {max(peaks)} MB (at most 200 wanted).
"""


def hand_build(project: Project, goroot: Path, scratch: Path) -> float:
    component = project.component("kubectl")
    work = scratch / "hand"
    layout = Layout(str(work), str(project.store.root / "go/mod"), str(goroot), str(work / "cache"))
    (command,) = commands(component.recipe, component.variables, component.platform, layout)
    for name in ("main", "out", ".go-out", ".tmp", ".home"):
        (work / name).mkdir(parents=True)
    for name in ("go.mod", "go.sum"):
        shutil.copy(ROOT / "recipes/kubectl" / name, work / "main" / name)
    start = time.perf_counter()
    # go's index of packages is off in our builds for a reason of our own; by hand nobody turns it off
    environment = {name: value for name, value in command.env.items() if name != "GODEBUG"}
    subprocess.run(command.argv, cwd=command.cwd, env=environment, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    remove_tree(work)
    return seconds


@contextmanager
def cold_checkout(project: Project, scratch: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A checkout and a store that has every input, and nothing that was built."""
    checkout, store = scratch / "checkout", scratch / "store"
    copy_checkout(checkout)
    (store / "go").mkdir(parents=True)
    for name in ("trees", "blobs", "go/mod"):
        (store / name).symlink_to(project.store.root / name)
    yield checkout, {**os.environ, "KUBEWRIGHT_STORE": str(store)}
    remove_tree(checkout)
    for name in ("trees", "blobs", "go/mod"):
        (store / name).unlink()
    remove_tree(store)


def copy_checkout(target: Path) -> None:
    target.mkdir()
    for name in CHECKOUT:
        origin = ROOT / name
        if origin.is_dir():
            shutil.copytree(origin, target / name)
        elif origin.exists():
            shutil.copy(origin, target / name)


# -- short commands -----------------------------------------------------------------------------------------------


def short_commands(scratch: Path, runs: int) -> str:
    doit, kubewright = [sys.executable, "-m", "doit"], [sys.executable, "-m", "kubewright"]
    rows = [
        ("`./doit list`", 0.35, [str(ROOT / "doit"), "list"]),
        ("`kubewright --help`", 0.35, [*kubewright, "--help"]),
        ("`./doit build`, everything built", 1.0, [*doit, "build"]),
        ("`kubewright status`", None, [*kubewright, "status"]),
    ]
    lines = [row(name, wanted, *repeat(command, ROOT, dict(os.environ), runs)) for name, wanted, command in rows]
    table = "\n".join(lines)
    return f"""
## Start-up and nothing to do

| command | median | at most wanted | peak MB |
|---|---|---|---|
{table}
"""


def many_recipes(scratch: Path, runs: int) -> str:
    """1,000 synthetic recipes, each locked, planned in one go."""
    sys.path.insert(0, str(ROOT / "tests"))
    from project_builder import synthetic

    checkout = scratch / "many"
    synthetic(checkout, 1000)
    environment = {**os.environ, "KUBEWRIGHT_STORE": str(scratch / "many-store")}
    plan = [sys.executable, "-m", "kubewright", "--project", str(checkout), "plan"]
    line = row("`kubewright plan`", 1.5, *repeat(plan, ROOT, environment, runs))
    return f"""
## 1,000 recipes

| command | median | at most wanted | peak MB |
|---|---|---|---|
{line}
"""


def row(name: str, wanted: float | None, seconds: float, peak: int) -> str:
    return f"| {name} | {seconds:.2f} | {wanted if wanted is not None else ''} | {peak} |"


def repeat(command: list[str], directory: Path, environment: dict[str, str], runs: int) -> tuple[float, int]:
    timed(command, directory, environment)  # warms the page cache
    found = [timed(command, directory, environment) for _ in range(runs)]
    return statistics.median(seconds for seconds, _ in found), max(peak for _, peak in found)


def timed(command: list[str], directory: Path, environment: dict[str, str]) -> tuple[float, int]:
    """Wall-clock seconds and peak resident megabytes of the command's own process (not of what it starts)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    poll: Callable[[], int | None] = process.poll
    while poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.01 if time.perf_counter() - start < 5 else 0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - start, peak


def resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) // 1024 if found else 0


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
