"""unshare --mount python full.py ROOT PAGES: install where the disk gets full, make room, install again.

After the preflight, the file system of /var/lib/kubewright has PAGES pages left. How the first install ended is printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from contents import CLUSTER, Shelf, content, shelf  # noqa: E402

from kubewright.errors import KubewrightError  # noqa: E402
from kubewright.install import preflight, run, status  # noqa: E402
from kubewright.install.host import Host  # noqa: E402
from kubewright.install.journal import read  # noqa: E402


def main(root: Path, pages: int) -> None:
    host, source, folder = Host(root), shelf(), root / "var/lib/kubewright"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)], check=True)
    require = preflight.require

    def then_it_gets_full(findings: list[preflight.Finding]) -> None:
        require(findings)
        resize(folder, f"{(used(folder) + pages) * 4}k")

    preflight.require = then_it_gets_full
    try:
        install(host, source)
        print("installed")
    except KubewrightError as error:
        print(f"{type(error).__name__}: {error.message}")
    preflight.require = require
    resize(folder, "1g")
    install(host, source)
    assert (read(host).phase, status.drift(host, read(host))) == ("installed", [])
    for line in (folder / "audit.jsonl").read_text().splitlines():
        json.loads(line)


def install(host: Host, source: Shelf) -> None:
    run.install(host, content(source), source, CLUSTER, run.Options(node="one"))


def used(folder: Path) -> int:
    """Pages of the file system that are in use."""
    return sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file()) // 8


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


main(Path(sys.argv[1]), int(sys.argv[2]))
