"""What can be wrong with a manifest."""

from __future__ import annotations

from kubewright.errors import KubewrightError


class ManifestError(KubewrightError):
    """A manifest that cannot be read safely, or in which an image is written in a way that cannot be replaced safely."""

    exit_code = 160
    title = "manifest cannot be read safely"


class NoCounterpartError(KubewrightError):
    """A manifest names an image that none of ours stands for."""

    exit_code = 161
    title = "image without a counterpart"


class ImageReferenceError(KubewrightError):
    """What stands where an image is to be named is no image reference."""

    exit_code = 162
    title = "not an image reference"
