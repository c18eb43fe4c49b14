"""What can be wrong with a bundle as one file: one class and one exit code (140 to 146) for each."""

from __future__ import annotations

from kubewright.errors import KubewrightError


class ArchiveError(KubewrightError):
    """A file that is no bundle of ours: no seek table at its end, no index before that, another version."""

    exit_code = 140
    title = "not a bundle file"


class ArchiveTruncatedError(ArchiveError):
    """A bundle file that is shorter or longer than its own table says."""

    exit_code = 141
    title = "bundle file cut off or added to"


class ArchiveIndexError(ArchiveError):
    """An index, a seek table or a tar header that does not agree with the others."""

    exit_code = 142
    title = "index of the bundle file is wrong"


class FrameError(ArchiveError):
    """A compressed frame that is damaged, is not one frame, or holds more or less than the seek table says."""

    exit_code = 143
    title = "damaged frame in the bundle file"


class DecompressorError(KubewrightError):
    """No zstd on this machine, or, for writing, not the version that bundles are written with."""

    exit_code = 144
    title = "no usable zstd"


class ArchiveReplacedError(ArchiveError):
    """A bundle file or a part that was replaced or written to while it was being read."""

    exit_code = 145
    title = "bundle file changed while being read"


class PartsError(ArchiveError):
    """Parts of a split bundle that are missing, damaged, in another's place, or of another bundle."""

    exit_code = 146
    title = "parts do not make the bundle"
