"""What can be wrong with a bundle beyond what can be wrong with a signed set (exit codes 147 to 149)."""

from __future__ import annotations

from kubewright.verify.errors import VerifyError


class BundleUnsignedError(VerifyError):
    """A bundle without a statement about its contents by an operator whom the policy lets sign releases."""

    exit_code = 147
    title = "the bundle is not signed"


class BundleContentError(VerifyError):
    """A bundle that holds other things, or calls them otherwise, than the statement about its contents says."""

    exit_code = 148
    title = "the bundle is not what was signed"


class ImageRefusedError(VerifyError):
    """An image that is not the one that the signed digests.toml lists."""

    exit_code = 149
    title = "another image than digests.toml lists"
