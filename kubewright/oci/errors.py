"""What can be wrong with an OCI layout: one class and one exit code (131 to 139) for each."""

from __future__ import annotations

from kubewright.errors import KubewrightError


class LayoutError(KubewrightError):
    """A directory that is no OCI layout, or holds what none of ours has: links, other files, another version."""

    exit_code = 131
    title = "not an OCI layout of ours"


class DocumentError(LayoutError):
    """An index, manifest or configuration that does not say what the specification wants, or more than it may."""

    exit_code = 132
    title = "malformed OCI document"


class MediaTypeError(DocumentError):
    """Something under a media type that does not belong in its place."""

    exit_code = 133
    title = "wrong media type"


class BlobMissingError(LayoutError):
    """A blob that something refers to and that is not there."""

    exit_code = 134
    title = "blob missing"


class BlobExtraError(LayoutError):
    """A blob that nothing refers to."""

    exit_code = 135
    title = "blob that nothing refers to"


class BlobDamagedError(LayoutError):
    """A blob that has another size or digest than what refers to it says."""

    exit_code = 136
    title = "blob is not what it is called"


class ReferenceDepthError(LayoutError):
    """Documents that refer to documents, deeper or to more of them than in any layout of ours."""

    exit_code = 137
    title = "too many references"


class LayerError(KubewrightError):
    """Names or contents that cannot be one layer: twice the same path, a path below a file, another size than said."""

    exit_code = 138
    title = "not a valid layer"
