"""Measure bundles against `tar | zstd` and sha256sum and write the section of docs/benchmarks.md:

    ./doit bundle:kubernetes
    .venv/bin/python benchmarks/bundle.py --policy site.toml [artifacts/bundles/kubernetes-*.oci.tar.zst]

Ratios are taken within one run, alternating; medians. The directory form has to lie beside the file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import page
import zstandard

from kubewright.oci.archive_write import LEVEL, ZSTD

ROOT = Path(__file__).resolve().parents[1]
TITLE = "## Bundles"
MB = 1_000_000

#: writes the layout in argv[1] as a file at argv[2], from the blobs of the directory
WRITE = """
import sys
from pathlib import Path
from kubewright.oci.archive_write import write_archive
from kubewright.oci.layout import FilePart, Layout
root = Path(sys.argv[1])
blobs = {f"sha256:{each.name}": FilePart(each) for each in (root / "blobs" / "sha256").iterdir()}
write_archive(Layout((root / "index.json").read_bytes(), blobs), Path(sys.argv[2]))
"""
CHECK = """
import sys
from pathlib import Path
from kubewright.oci.opening import open_layout
with open_layout(Path(sys.argv[1])) as layout:
    layout.check()
"""
PEAK = "\nimport re\nprint(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()).group(1))\n"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("bundle", type=Path, nargs="?", help="the single file; default: the only one in artifacts/bundles")
    arguments.add_argument("--policy", type=Path, required=True)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--large", type=int, default=10, help="GB of the large synthetic layout; 0: none")
    options = arguments.parse_args()
    found = [options.bundle] if options.bundle else sorted((ROOT / "artifacts" / "bundles").glob("*.oci.tar.zst"))
    if len(found) != 1:
        sys.exit(f"{len(found)} bundles in artifacts/bundles: name one, or ./doit bundle:kubernetes")
    with tempfile.TemporaryDirectory(prefix="kubewright-bench-", dir=found[0].parents[2]) as scratch:
        page.put(TITLE, section(found[0], options, Path(scratch)))


def section(bundle: Path, options: argparse.Namespace, scratch: Path) -> str:
    directory = bundle.with_name(bundle.name.removesuffix(".tar.zst"))
    blobs = sorted((directory / "blobs" / "sha256").iterdir(), key=lambda each: each.name)
    total = sum(each.stat().st_size for each in blobs)
    whole = sum(len(zstandard.ZstdCompressor(level=LEVEL).compress(each.read_bytes())) for each in blobs)
    lines = [
        TITLE,
        "",
        f"Written by `benchmarks/bundle.py`. {bundle.name}: {len(blobs)} blobs, {total / MB:.0f} MB, as a file "
        f"{bundle.stat().st_size / MB:.0f} MB ({bundle.stat().st_size / total:.1%}), which is "
        f"{bundle.stat().st_size / whole:.3f} x the sum of its blobs compressed one by one, each as a whole, at that level. "
        f"{os.cpu_count()} CPUs, {load()}, medians of {options.runs} alternating runs; rates are of uncompressed bytes.",
        "",
        "| | plain tools, MB/s | kubewright, MB/s | ratio |",
        "|---|---|---|---|",
        write_row(directory, total, options.runs, scratch),
        *verify_rows(bundle, directory, total, options),
        "",
        f"`kubewright bundle ls`: {median(options.runs, cli('bundle', 'ls', bundle)):.2f} s, `show components/etcd`: "
        f"{median(options.runs, cli('bundle', 'show', bundle, 'components/etcd')):.2f} s.{no_op(options.runs)}",
        "",
        levels(blobs),
        "",
        "| synthetic layout | write, peak MB | check of the file, peak MB |",
        "|---|---|---|",
        memory_row(scratch, 1, sparse=False),
        *([memory_row(scratch, options.large, sparse=True)] if options.large else []),
        "",
    ]
    return "\n".join(lines)


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} at the start"


def write_row(directory: Path, total: int, runs: int, scratch: Path) -> str:
    plain, ours = [], []
    for _ in range(runs):
        target = scratch / "plain"
        pipe = f"tar -C {directory} -c . | zstd -q -{LEVEL} -T{os.cpu_count()} -f -o {target} && sync {target}"
        plain.append(timed(["bash", "-o", "pipefail", "-c", pipe]))
        ours.append(timed([sys.executable, "-c", WRITE, directory, scratch / "ours"]))
    return row(f"write, against `tar \\| zstd -{LEVEL} -T{os.cpu_count()}` (zstd {zstd_version()})", total, plain, ours)


def verify_rows(bundle: Path, directory: Path, total: int, options: argparse.Namespace) -> list[str]:
    files = "\n".join(str(each) for each in sorted((directory / "blobs" / "sha256").iterdir()))
    rows = []
    for path, what in ((bundle, "verify the file, decompression included"), (directory, "verify the directory")):
        for cores in (1, 2):
            pinned = ["taskset", "-c", ",".join(map(str, range(cores)))]
            plain, ours = [], []
            for _ in range(options.runs):
                plain.append(timed([*pinned, "xargs", "-n", "4", "-P", str(cores), "sha256sum"], files))
                ours.append(timed([*pinned, *cli("verify", path, "--policy", options.policy)]))
            rows.append(row(f"{what}, against `sha256sum` of the blobs, {cores} core{'s' * (cores > 1)}", total, plain, ours))
    return rows


def row(what: str, total: int, plain: list[float], ours: list[float]) -> str:
    rates = [total / MB / statistics.median(times) for times in (plain, ours)]
    ratio = statistics.median(one / two for one, two in zip(plain, ours, strict=True))
    return f"| {what} | {rates[0]:.0f} | {rates[1]:.0f} | {ratio:.2f} |"


def levels(blobs: list[Path]) -> str:
    """Size and processor time of each level, over the largest blobs, in frames as a bundle has them."""
    sample = [each.read_bytes()[: 32 << 20] for each in sorted(blobs, key=lambda each: -each.stat().st_size)[:6]]
    size = sum(map(len, sample))
    found = []
    for level in (3, 6, 9, 12, 15):
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        start = time.process_time()
        packed = sum(
            len(compressor.compress(data[at : at + (8 << 20)])) for data in sample for at in range(0, len(data), 8 << 20)
        )
        found.append(f"{level}: {packed / size:.1%} at {size / MB / (time.process_time() - start):.0f} MB/s")
    version = ".".join(map(str, ZSTD))
    return f"Levels of zstd {version} on {size / MB:.0f} MB of these blobs, for one core: {'; '.join(found)}. Chosen: {LEVEL}."


def memory_row(scratch: Path, gigabytes: int, *, sparse: bool) -> str:
    """Files of 250 MB: random bytes, or holes of sizes that differ."""
    root = scratch / f"synthetic-{gigabytes}"
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers = []
    for number in range(4 * gigabytes):
        layers.append(synthetic(blobs, 250 * MB - number, sparse))
    code = f"""
import sys
from pathlib import Path
from kubewright.oci.model import EMPTY_CONFIG, MANIFEST, Descriptor, Index, Manifest
root = Path(sys.argv[1])
layers = tuple(Descriptor("application/octet-stream", digest, size) for digest, size in {layers!r})
manifest = Manifest(EMPTY_CONFIG, layers, artifact_type="application/vnd.example").to_bytes()
found = Descriptor.of(MANIFEST, manifest)
for descriptor, data in ((found, manifest), (EMPTY_CONFIG, b"{{}}")):
    (root / "blobs" / "sha256" / descriptor.digest[7:]).write_bytes(data)
(root / "index.json").write_bytes(Index((found,)).to_bytes())
"""
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)
    file = scratch / "synthetic"
    peaks = [peak([WRITE + PEAK, root, file]), peak([CHECK + PEAK, file])]
    subprocess.run(["rm", "-rf", root, file], check=True)
    return f"| {gigabytes} GB, {'holes' if sparse else 'random bytes'} | {peaks[0]:.0f} | {peaks[1]:.0f} |"


def synthetic(blobs: Path, size: int, sparse: bool) -> tuple[str, int]:
    temporary = blobs / "new"
    digest = hashlib.sha256()
    with temporary.open("wb") as file:
        left = size
        while left:
            piece = bytes(min(left, 1 << 20)) if sparse else os.urandom(min(left, 1 << 20))
            digest.update(piece)
            if not sparse:
                file.write(piece)
            left -= len(piece)
        file.truncate(size)
    temporary.rename(blobs / digest.hexdigest())
    return f"sha256:{digest.hexdigest()}", size


def peak(words: list[object]) -> float:
    text = subprocess.run([sys.executable, "-c", *map(str, words)], check=True, capture_output=True, text=True).stdout
    return int(text.split()[-1]) * 1024 / MB


def no_op(runs: int) -> str:
    words = [str(ROOT / "doit"), "bundle:kubernetes"]
    first = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if first.returncode or "cached" not in first.stdout + first.stderr:
        return ""
    return f" `./doit bundle:kubernetes` with nothing to do: {median(runs, words):.2f} s."


def cli(*words: object) -> list[str]:
    return [sys.executable, "-m", "kubewright.cli", *map(str, words)]


def median(runs: int, words: list[str]) -> float:
    return statistics.median(timed(words) for _ in range(runs))


def timed(words: list[object] | list[str], text: str = "") -> float:
    start = time.perf_counter()
    subprocess.run([str(each) for each in words], input=text, text=True, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - start


def zstd_version() -> str:
    said = subprocess.run(["zstd", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v([0-9.]+)", said)
    return found.group(1) if found else "?"


if __name__ == "__main__":
    main()
