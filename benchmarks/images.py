"""Measure the assembly of images against `skopeo copy` of the same layouts: `.venv/bin/python benchmarks/images.py`.

The images of the default stack, from the store, each assembled and copied in turn; medians, and the ratio of each pair. Ours
hashes inputs and layers and syncs what it wrote to disk; skopeo is started anew for each copy, as it is used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "images"))

import debian_skopeo  # noqa: E402

from kubewright.building.component import existing  # noqa: E402
from kubewright.images.assemble import assemble  # noqa: E402
from kubewright.images.plan import images, plan_image  # noqa: E402
from kubewright.project import Project  # noqa: E402
from kubewright.report import Progress  # noqa: E402

SILENT = Progress("benchmark")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    options = arguments.parse_args()
    project, skopeo = Project(ROOT), debian_skopeo.skopeo()
    names = [name for name, recipe in images(project).items() if recipe.name in project.default_stack.components]
    print(f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}; medians of {options.runs} runs\n")
    print("| image | MB | assemble, s | skopeo copy, s | ratio |")
    print("|---|---|---|---|---|")
    sums = [0.0, 0.0, 0.0]
    for name in names:
        plan = plan_image(project, name)
        absent = [each.name for each in plan.components.values() if existing(project, each) is None]
        if absent:
            sys.exit(f"{', '.join(absent)} not built: ./doit build")
        ours, theirs, size = measure(project, name, skopeo, options.runs)
        ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
        found = [size / 1e6, statistics.median(ours), statistics.median(theirs)]
        sums = [total + each for total, each in zip(sums, found, strict=True)]
        print(f"| {name} | {found[0]:.1f} | {found[1]:.2f} | {found[2]:.2f} | {ratio:.2f} |")
    print(f"| all | {sums[0]:.1f} | {sums[1]:.2f} | {sums[2]:.2f} | {sums[1] / sums[2]:.2f} |")


def measure(project: Project, name: str, skopeo: list[str], runs: int) -> tuple[list[float], list[float], int]:
    """Seconds of each run of both, and the image's bytes."""
    plan = plan_image(project, name)
    ours, theirs, size = [], [], 0
    (project.root / "artifacts").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kubewright-bench-", dir=project.root / "artifacts") as scratch:
        layout, copy = Path(scratch) / "layout", Path(scratch) / "copy"
        for index in range(runs + 1):
            start = time.perf_counter()
            record = assemble(project, plan, layout, SILENT)
            middle = time.perf_counter()
            source = f"oci:{layout}:{record.reference}"
            command = [*skopeo, "copy", "--quiet", "--insecure-policy", "--preserve-digests", source, f"oci:{copy}:copy"]
            subprocess.run(command, check=True)
            end = time.perf_counter()
            shutil.rmtree(copy)
            if index:  # the first one warms the page cache for both
                ours.append(middle - start)
                theirs.append(end - middle)
            size = record.size
    return ours, theirs, size


if __name__ == "__main__":
    main()
