"""Other people's verifiers, fetched with their ordinary clients and kept in the user's cache: cosign from Debian, and the
JavaScript @sigstore/verify from npm's lock beside this file.

    python tests/trust/tools.py      fetch them ahead (CI does)
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kubewright.fetch import apt, deb
from kubewright.files.deb import unpack_root

HERE = Path(__file__).parent
SUITE = "trixie"


def cache() -> Path:
    """$XDG_CACHE_HOME/kubewright-tests, or below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "kubewright-tests"


def cosign() -> list[str]:
    """How to start Debian's cosign: with its own loader and C library, whatever those of this machine are."""
    root = _kept(f"cosign-{SUITE}", _fetch_cosign)
    return [str(root / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(root / "usr/lib/x86_64-linux-gnu"),
            str(root / "usr/bin/cosign")]  # fmt: skip


def _fetch_cosign(target: Path) -> None:
    packages = apt.resolve(SUITE, ["cosign"], "amd64")
    with tempfile.TemporaryDirectory() as scratch:
        unpack_root(deb.download_packages(packages, apt.archives(), Path(scratch), builder="cosign"), target)


def javascript() -> Path:
    """The folder from which node finds @sigstore/verify; npm checks the hashes of its lock."""
    lock = HERE / "js" / "package-lock.json"
    return _kept(f"javascript-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}", _fetch_javascript)


def _fetch_javascript(target: Path) -> None:
    target.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "js" / name, target)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=target, check=True, stdout=subprocess.DEVNULL)


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """A folder of the cache, made once and renamed into place, so that two runs at a time do no harm."""
    final = cache() / name
    if not final.is_dir():
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent) as scratch:
            fetch(Path(scratch) / "made")
            try:
                (Path(scratch) / "made").rename(final)
            except OSError:
                assert final.is_dir()
    return final


if __name__ == "__main__":
    for found in (cosign()[-1], javascript()):
        print(found, file=sys.stdout)
