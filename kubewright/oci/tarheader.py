"""Members of a tar as bundles have them: one header for one name and size, so that a reader compares instead of parsing.

POSIX ustar (IEEE 1003.1-1988): regular files, mode 0644, owner 0, time 0. ``tar`` and Python's tarfile read it.
"""

from __future__ import annotations

from typing import Final

BLOCK: Final = 512
#: what ends the archive
END: Final = b"\0" * (2 * BLOCK)
#: the largest size that a ustar header can say
LARGEST: Final = 8**11 - 1


def header(name: str, size: int) -> bytes:
    """The header of a file. ``name``: at most 100 bytes of ASCII; ``size``: at most ``LARGEST``."""
    fields = (
        (name.encode("ascii"), 100),
        (b"0000644", 8),
        (b"0000000", 8),
        (b"0000000", 8),
        (b"%011o" % size, 12),
        (b"00000000000", 12),
        (b" " * 8, 8),  # the checksum is taken with spaces in its place
        (b"0", 1),
        (b"", 100),
        (b"ustar\x0000", 8),
        (b"", 32),
        (b"", 32),
        (b"0000000", 8),
        (b"0000000", 8),
    )
    block = b"".join(value.ljust(length, b"\0") for value, length in fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> int:
    """Zero bytes behind a file's content."""
    return -size % BLOCK


def span(size: int) -> int:
    """Bytes that a file takes in the archive: header, content, padding."""
    return BLOCK + size + padding(size)
