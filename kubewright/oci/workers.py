"""How many threads read and write bundles: one a core, and no more than the memory that is promised has room for.

docs/bundle.md promises 256 MB, on any machine. A thread that compresses needs about 30 MB (a frame, what it becomes, and the
compressor's tables), one that decompresses and hashes about 20 MB (a frame as it is stored, and what it holds).
"""

from __future__ import annotations

import os
from typing import Final

#: threads that compress, at most
WRITERS: Final = 5
#: threads that read and hash, at most
READERS: Final = 8


def workers(most: int) -> int:
    """One for each core that this process may use, up to ``most``."""
    return min(most, len(os.sched_getaffinity(0)))
