"""Writing a bundle as one file: frames in parallel, bytes that depend on nothing but the layout.

The compressor is part of that: one version, one level, one thread for each frame.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from kubewright.canonical import canonical_json
from kubewright.disk import writing
from kubewright.oci.archive import BLOBS, FORMAT, INDEX_FILE, in_order
from kubewright.oci.archive_errors import ArchiveError, DecompressorError
from kubewright.oci.errors import BlobDamagedError
from kubewright.oci.layout import LAYOUT_FILE, MARKER, Layout
from kubewright.oci.seekable import FRAME, FRAMES, INDEX_MAGIC, seek_table, skippable
from kubewright.oci.source import FilePart, Source, chunks, size_of
from kubewright.oci.tarheader import END, LARGEST, header, padding, span
from kubewright.oci.workers import WRITERS
from kubewright.oci.workers import workers as allowed

#: the version of libzstd that decides the bytes; requirements/ pin the module that holds it
ZSTD: Final = (1, 5, 7)
#: chosen by measurement (docs/benchmarks.md): twice as quick as 12 for 1.1 % more bytes, 3 % smaller than 6
LEVEL: Final = 9

#: frames that wait beside those in work, so that no thread stands still while another one's frame is written
_WAITING: Final = 2

Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Written:
    """A file that has been written: ``sha256:<hex>`` and bytes."""

    digest: str
    size: int


def write_archive(
    layout: Layout, target: Path, progress: Report = lambda done: None, *, workers: int = 0, level: int = LEVEL
) -> Written:
    """Write the layout as one file at ``target``, in place of what is there; ``progress`` is told bytes of content.

    Raises BlobDamagedError when a source has other bytes than its digest says, DecompressorError for another zstd than the
    one that is pinned; then, as after any other failure, ``target`` is what it was. One writer of a ``target`` at a time.
    """
    compressor = _compressor(level)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with writing(target.parent, store=False):
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{target.name}.*.tmp"):
            left.unlink(missing_ok=True)
        try:
            with temporary.open("xb", buffering=0) as out:
                os.fchmod(out.fileno(), 0o644)
                written = _Writer(out, compressor, progress, workers or allowed(WRITERS)).write(layout)
                os.fsync(out.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return written


def _compressor(level: int) -> Callable[[bytes], bytes]:
    import zstandard

    if zstandard.ZSTD_VERSION != ZSTD:
        raise DecompressorError(
            f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} is installed, bundles are written with "
            f"{'.'.join(map(str, ZSTD))}: another version gives other bytes",
            remedy="install what requirements/run.txt pins (remove .venv; ./doit makes it again)",
        )
    local = threading.local()

    def compress(data: bytes) -> bytes:
        if not hasattr(local, "compressor"):
            local.compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
        found: bytes = local.compressor.compress(data)
        return found

    return compress


class _Writer:
    """One run of writing: frames go to workers and come back in order."""

    def __init__(self, out: BinaryIO, compress: Callable[[bytes], bytes], progress: Report, workers: int) -> None:
        self._out, self._compress, self._progress, self._workers = out, compress, progress, workers
        self._hash = hashlib.sha256()
        self._size = 0
        self._frames: list[tuple[int, int]] = []
        self._pending: deque[tuple[Future[bytes], int]] = deque()

    def write(self, layout: Layout) -> Written:
        sources: dict[str, Source] = {LAYOUT_FILE: MARKER, INDEX_FILE: layout.index}
        sources |= {BLOBS + digest.removeprefix("sha256:"): source for digest, source in layout.blobs.items()}
        members: list[list[object]] = []
        start = frames = 0
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                for name in in_order(sources):
                    size = _checked_size(name, sources[name])
                    members.append([name, size, start, frames])
                    start, frames = start + span(size), frames + -(-span(size) // FRAME)
                    for piece in _pieces(name, size, sources[name]):
                        self._submit(pool, piece)
                self._submit(pool, END)
                self._take(0)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        index = canonical_json({"version": FORMAT, "members": members})
        if len(self._frames) + 1 > FRAMES or len(index) > FRAME:
            raise ArchiveError(f"{len(members)} files in {len(self._frames)} frames are more than a bundle may have")
        self._put(skippable(INDEX_MAGIC, self._compress(index)), 0)
        self._put(seek_table(self._frames), None)
        return Written("sha256:" + self._hash.hexdigest(), self._size)

    def _submit(self, pool: ThreadPoolExecutor, piece: bytes) -> None:
        self._pending.append((pool.submit(self._compress, piece), len(piece)))
        self._take(self._workers + _WAITING)

    def _take(self, most: int) -> None:
        """Write what is done, until at most ``most`` frames are left."""
        while self._pending and (len(self._pending) > most or self._pending[0][0].done()):
            future, length = self._pending.popleft()
            self._put(future.result(), length)
            self._progress(length)

    def _put(self, data: bytes, length: int | None) -> None:
        if length is not None:
            self._frames.append((len(data), length))
        self._hash.update(data)
        self._size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]


def _checked_size(name: str, source: Source) -> int:
    size = size_of(source)
    if size > LARGEST:
        raise ArchiveError(f"{name} has {size} bytes, and a bundle's file at most {LARGEST}")
    return size


def _pieces(name: str, size: int, source: Source) -> Iterator[bytes]:
    """A member in pieces of ``FRAME`` bytes, the last one with the rest. Raises BlobDamagedError behind the last."""
    found = hashlib.sha256()
    buffer = bytearray(header(name, size))
    total = 0
    for piece in chunks(source):
        found.update(piece)
        total += len(piece)
        buffer += piece
        if len(buffer) >= FRAME:
            with memoryview(buffer) as view:
                whole = bytes(view[:FRAME])
            yield whole
            del buffer[:FRAME]
    if total != size or (name.startswith(BLOBS) and found.hexdigest() != name.removeprefix(BLOBS)):
        where = source.path if isinstance(source, FilePart) else name
        raise BlobDamagedError(f"{where} is not {name}: {total} bytes, sha256:{found.hexdigest()}", remedy="make it again")
    buffer += bytes(padding(size))
    for start in range(0, len(buffer), FRAME):
        yield bytes(buffer[start : start + FRAME])


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
