"""Memory of writing and verifying a bundle on a machine with many cores: what docs/bundle.md promises holds there too."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest
from bundlebuilder import BundleBuilder

from kubewright.bundle.contents import of_bytes

FRAME = 8 << 20
MOST = 256_000_000
CORES = f"""
import os, re, sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]
os.sched_getaffinity = lambda process: set(range(128))
os.cpu_count = lambda: 128
from pathlib import Path
"""
PEAK = "\nprint(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1024)\n"

WRITE = """
from kubewright.oci.archive_write import write_archive
from kubewright.oci.layout import FilePart, Layout
source, digest, target = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
write_archive(Layout(b"{}", {digest: FilePart(source)}), target)
"""
VERIFY = """
from kubewright.verify.bundle_check import BundleOptions, verify_bundle
from kubewright.verify.policy import load_policy
bundle, policy, now = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
with verify_bundle(bundle, load_policy(policy), policy, BundleOptions(now=lambda: now)) as found:
    assert found.total > 16 * 8_000_000
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> BundleBuilder:
    """A bundle with 16 blobs that do not get smaller: as many threads have a whole frame in hand, stored and read."""
    made = BundleBuilder(tmp_path_factory.mktemp("many"))
    noise = random.Random(5).randbytes(FRAME - 4096)
    made.change(manifests=tuple(of_bytes(f"noise-{number}.yaml", b"%d" % number + noise) for number in range(16)))
    made.write()
    return made


def peak(code: str, *arguments: object) -> int:
    result = subprocess.run([sys.executable, "-c", CORES + code + PEAK, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def test_writing_on_128_cores(tmp_path: Path) -> None:
    """12 frames that are work to compress: each keeps a thread, and the compressor's tables, for a while."""
    source = random.Random(5)
    words = [source.randbytes(6).hex().encode() for _ in range(20_000)]
    text = b" ".join(source.choices(words, k=FRAME // 12))[:FRAME] * 12
    (tmp_path / "text").write_bytes(text)
    digest = "sha256:" + hashlib.sha256(text).hexdigest()
    assert peak(WRITE, tmp_path / "text", digest, tmp_path / "written") < MOST


@pytest.mark.parametrize("form", ["file", "directory"])
def test_verifying_on_128_cores(form: str, made: BundleBuilder) -> None:
    assert peak(VERIFY, getattr(made, form), made.policy, made.now) < MOST


def test_verifying_a_copy_on_128_cores(made: BundleBuilder, tmp_path: Path) -> None:
    code = VERIFY.replace("now=lambda: now", "now=lambda: now, copy_to=Path(sys.argv[4])")
    assert peak(code, made.file, made.policy, made.now, tmp_path / "copy") < MOST
