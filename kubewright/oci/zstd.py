"""Decompressing one zstd frame, with whatever this machine has: no compiled module is needed, none is imported early.

In this order: Python's own module (3.14), the module ``zstandard``, the system's libzstd.so.1, the program ``zstd``. Each gets
a frame that ``seekable.check_frame`` has passed, and gives exactly the bytes that it is said to hold or raises FrameError.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from shutil import which
from typing import Any, Final

from kubewright.oci.archive_errors import DecompressorError, FrameError
from kubewright.oci.seekable import check_frame

Decompress = Callable[[bytes, int], "bytes | bytearray"]

_BROKEN: Final = "a frame cannot be decompressed"


def decompress(data: bytes, length: int) -> bytes | bytearray:
    """The ``length`` bytes that the frame ``data`` holds. Raises FrameError, DecompressorError."""
    check_frame(data, length)
    found = _best()(data, length)
    if len(found) != length:
        raise FrameError(f"a frame holds {len(found)} bytes, not {length}")
    return found


@cache
def _best() -> Decompress:
    for make in BACK_ENDS.values():
        found = make()
        if found is not None:
            return found
    raise DecompressorError(
        "this machine has no zstd: neither a Python module, nor libzstd.so.1, nor the program",
        remedy="install one of them (Debian: apt-get install libzstd1), or bring the bundle as a directory",
    )


def _python() -> Decompress | None:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return _class_of(zstd)


def _class_of(module: Any) -> Decompress:
    def run(data: bytes, length: int) -> bytes:
        decompressor = module.ZstdDecompressor()
        try:
            found: bytes = decompressor.decompress(data, length + 1)
        except module.ZstdError as reason:
            raise FrameError(f"{_BROKEN}: {reason}") from None
        if not decompressor.eof:
            raise FrameError(f"a frame holds more than {length} bytes, or does not end")
        return found

    return run


def _zstandard() -> Decompress | None:
    try:
        import zstandard
    except ImportError:
        return None

    def run(data: bytes, length: int) -> bytes:
        try:
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=length)
        except zstandard.ZstdError as reason:
            raise FrameError(f"{_BROKEN}: {reason}") from None

    return run


def _library() -> Decompress | None:
    import ctypes

    try:
        library = ctypes.CDLL("libzstd.so.1")
        function, failed = library.ZSTD_decompress, library.ZSTD_isError
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    function.restype, failed.argtypes = ctypes.c_size_t, [ctypes.c_size_t]

    def run(data: bytes, length: int) -> bytearray:
        out = bytearray(length)
        place = (ctypes.c_char * length).from_buffer(out) if length else None
        count = function(place, length, data, len(data))
        if failed(count) or count != length:
            raise FrameError(_BROKEN)
        del place
        return out

    return run


def _program() -> Decompress | None:
    program = which("zstd")
    if program is None:
        return None

    def run(data: bytes, length: int) -> bytes:
        with tempfile.TemporaryFile() as frame:
            frame.write(data)
            frame.seek(0)
            command = [program, "-dcq", "--no-progress"]
            with subprocess.Popen(command, stdin=frame, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                assert process.stdout is not None
                found = process.stdout.read(length + 1)  # and no more, whatever there is
                process.stdout.close()
                status = process.wait()
        if status:
            raise FrameError(_BROKEN)
        return found

    return run


#: what can decompress, best first; None where this machine does not have it
BACK_ENDS: Final[dict[str, Callable[[], Decompress | None]]] = {
    "compression.zstd": _python,
    "zstandard": _zstandard,
    "libzstd.so.1": _library,
    "zstd": _program,
}
