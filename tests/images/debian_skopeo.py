"""Other people's tools that images have to work with: skopeo, from Debian, kept in the user's cache.

python tests/images/debian_skopeo.py      fetch it ahead (CI does)
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from kubewright.fetch import apt, deb
from kubewright.files.deb import unpack_root

SUITE = "trixie"


def skopeo() -> list[str]:
    """How to start Debian's skopeo: with its own loader and C library, whatever those of this machine are."""
    root = cache() / f"skopeo-{SUITE}"
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
            packages = apt.resolve(SUITE, ["skopeo"], "amd64")
            archives = deb.download_packages(packages, apt.archives(), Path(scratch), builder="skopeo")
            unpack_root(archives, Path(scratch) / "made")
            try:
                (Path(scratch) / "made").rename(root)
            except OSError:  # another run was first
                assert root.is_dir()
    return [str(root / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(root / "usr/lib/x86_64-linux-gnu"),
            str(root / "usr/bin/skopeo")]  # fmt: skip


def cache() -> Path:
    """$XDG_CACHE_HOME/kubewright-tests, or below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "kubewright-tests"


if __name__ == "__main__":
    print(skopeo()[-1])
