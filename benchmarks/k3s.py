"""A one-line change in the server of k3s' stand-in, until there is a new wrapper: kubewright against the same commands by hand.

    .venv/bin/python benchmarks/k3s.py [--runs 3]

Both have warm caches. By hand: the recipe's commands in a directory of one's own, with this machine's C compiler, one compile
cache for everything, no sandbox and no checks. Alternating; figures are medians, of the clock and of CPU time, which other work
on the machine disturbs less. Writes docs/benchmarks-k3s.md.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks-k3s.md"
for _folder in ("", "fetch", "sandbox", "e2e"):
    sys.path.append(str(ROOT / "tests" / _folder))

from standin import VERSION, Standin  # noqa: E402
from workshop import Workshop, heavy, make_tools  # noqa: E402

from kubewright.building.component import dependency_outputs  # noqa: E402
from kubewright.building.inputs import ensure_inputs  # noqa: E402
from kubewright.building.steps import Command, Layout, commands  # noqa: E402
from kubewright.building.workspace import lay_out  # noqa: E402
from kubewright.project import Project  # noqa: E402
from kubewright.report import Progress  # noqa: E402

SERVER = "cmd/server/main.go"
#: kubewright against by hand, at most
WANTED = 1.2


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--note", default="", help="what else is to be known of the machine at the time")
    options = arguments.parse_args()
    runs = options.runs
    with tempfile.TemporaryDirectory(prefix="kubewright-bench-") as scratch, accounted() as cpu:
        folder = Path(scratch)
        standin = Standin(Workshop(folder / "shop", heavy(Project(ROOT)), make_tools(folder)))
        standin.shop.doit("lock:k3s")
        standin.shop.doit("build:k3s")
        hand = Hand(standin, folder / "hand")
        hand.build()
        ours, theirs, said = [], [], [""]
        for number in range(runs):
            change(standin, number)
            ours.append(timed(lambda: said.append(standin.shop.doit("build:k3s").out), cpu))
            theirs.append(timed(hand.again, cpu))
    PAGE.write_text(page(ours, theirs, stages(said[-1]), options.note), "utf-8")
    print(PAGE.read_text("utf-8"))


@dataclass(frozen=True)
class Taken:
    """Seconds of the clock, and of the CPUs by all processes that were started."""

    clock: float
    cpu: float


@contextmanager
def accounted() -> Iterator[Callable[[], float]]:
    """The CPU seconds of this process and of all that it starts, by a cgroup (v1) of its own: what runs in a sandbox is no
    child that anybody waits for, so ``os.times`` does not have it."""
    groups = [line.rstrip().split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    above = next(
        Path("/sys/fs/cgroup/cpuacct") / path.lstrip("/") for _, names, path in groups if "cpuacct" in names.split(",")
    )
    group = above / f"kubewright-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield lambda: int((group / "cpuacct.usage").read_text()) / 1e9
    finally:
        (above / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def timed(work: Callable[[], object], cpu: Callable[[], float]) -> Taken:
    started, before = time.monotonic(), cpu()
    work()
    return Taken(time.monotonic() - started, cpu() - before)


def change(standin: Standin, number: int) -> None:
    """One line of the server, as a new release: committed, tagged, locked."""
    origin = standin.repositories["k3s"]
    text = (origin.path / SERVER).read_text() + f"\nconst change{number} = {number}\n"
    version = VERSION.replace("+k3s1", f"+k3s{number + 2}")
    origin.commit({SERVER: text}, f"v{version}")
    recipe = standin.shop.root / "recipes/k3s/recipe.toml"
    lines = [f'version = "{version}"' if line.startswith('version = "1.') else line for line in recipe.read_text().splitlines()]
    recipe.write_text("\n".join(lines) + "\n")
    standin.shop.doit("lock:k3s")


class Hand:
    """The recipe's commands run one after another on this machine: what somebody would have in a shell script."""

    def __init__(self, standin: Standin, folder: Path) -> None:
        self.standin, self.folder = standin, folder

    def build(self) -> None:
        project = self.standin.shop.project()
        component = project.component("k3s")
        inputs = ensure_inputs(project, component, Progress("bench"))
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        lay_out(project, component, inputs.trees, inputs.root, dependency_outputs(project, component), self.folder)
        self.goroot = inputs.goroot
        self.again()

    def again(self) -> None:
        project = self.standin.shop.project()
        component = project.component("k3s")
        origin = self.standin.repositories["k3s"]
        shutil.copy(origin.path / SERVER, self.folder / "src/k3s" / SERVER)
        layout = Layout(
            str(self.folder), str(project.store.root / "go/mod"), str(self.goroot), str(self.folder.parent / "cache")
        )
        for name in (".sha256sums", ".links"):
            (self.folder / "out/data/bin" / name).unlink(missing_ok=True)
        (self.folder / "data.tar.zst").unlink(missing_ok=True)
        for command in commands(component.recipe, component.variables, component.platform, layout):
            self.run(command, layout)

    def run(self, command: Command, layout: Layout) -> None:
        argv = list(command.argv)
        for word, path in command.digests.items():
            digest = hashlib.sha256((self.folder / path).read_bytes()).hexdigest()
            argv = [each.replace(word, digest) for each in argv]
        env = {**command.env, "GOCACHE": layout.cache, "PATH": f"{layout.toolchain}/bin:{os.environ['PATH']}"}
        if env.get("PKG_CONFIG"):
            env["PKG_CONFIG"] = shutil.which("pkgconf") or "pkg-config"
        done = subprocess.run(argv, cwd=command.cwd, env=env, capture_output=True)
        if done.returncode:
            sys.exit(f"{argv}: {done.stderr.decode()[-2000:]}")
        if command.stdout:
            (self.folder / command.stdout).write_bytes(done.stdout)
        for made, name in command.renames.items():
            target = self.folder / "out" / name
            target.unlink(missing_ok=True)
            (self.folder / ".go-out" / made).rename(target)


def stages(said: str) -> str:
    """What a build says of its stages, for the page."""
    found = re.search(r"done in .*? \((.*)\)$", said, re.MULTILINE)
    return found[1] if found else ""


def page(ours: list[Taken], theirs: list[Taken], spent: str, note: str) -> str:
    """docs/benchmarks-k3s.md."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    clocks, cpus = ([[getattr(each, name) for each in side] for side in (ours, theirs)] for name in ("clock", "cpu"))
    reached = statistics.median(clocks[0]) <= WANTED * statistics.median(clocks[1])
    texts = [
        "Generated by `benchmarks/k3s.py`. From a changed line of the server to a new wrapper, medians of"
        f" {len(ours)} alternating runs on {os.cpu_count()} CPUs. Load of the machine at the end, over 1, 5 and 15 minutes:"
        f" {load}. {note}",
        f"**{WANTED}, which is what we want, is {'' if reached else 'not '}reached.** What only kubewright does: it hashes"
        " toolchain, root and modules against the lock, asks go which modules the changed source needs, lays the build"
        " directory out anew, starts a sandbox for each step and each check, runs the checks, stores and places the outputs."
        " zstd at level 16 with one thread (step 17) is the same work on both sides, and most of it.",
        f"Where the last of our builds spent its time: {spent}.",
    ]
    head, *rest = (textwrap.fill(text, 130) for text in texts)
    table = "| | kubewright | by hand | ratio |\n| --- | --- | --- | --- |\n" + row("clock", *clocks) + row("CPU", *cpus)
    return "\n\n".join(["# k3s' stand-in: a one-line change", head, table.rstrip(), *rest]) + "\n"


def row(name: str, ours: list[float], theirs: list[float]) -> str:
    mine, hand = statistics.median(ours), statistics.median(theirs)
    return f"| {name} | {mine:.1f} s | {hand:.1f} s | {mine / hand:.2f} |\n"


if __name__ == "__main__":
    main()
