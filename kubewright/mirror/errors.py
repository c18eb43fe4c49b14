"""What can go wrong with a mirror, beside what goes wrong with inputs."""

from __future__ import annotations

from kubewright.errors import KubewrightError


class MirrorDamagedError(KubewrightError):
    """A file of a mirror that is missing, has other bytes than index or lock say, or that the index does not know."""

    exit_code = 152
    title = "the mirror is damaged"


class MirrorUnsignedError(KubewrightError):
    """A mirror whose index no operator of the policy has signed, or that says something else than its signed release."""

    exit_code = 153
    title = "the mirror's index is not signed"


class MirrorTargetError(KubewrightError):
    """A folder that is to become a mirror and holds something else."""

    exit_code = 154
    title = "not a folder for a mirror"


class UncommittedError(KubewrightError):
    """A checkout with changes that are in no commit: a mirror carries commits."""

    exit_code = 155
    title = "the checkout has uncommitted changes"


class ServeError(KubewrightError):
    """An address that the mirror's server cannot listen on."""

    exit_code = 156
    title = "cannot listen there"


class WheelsError(KubewrightError):
    """Python packages that pip could not bring for the mirror."""

    exit_code = 157
    title = "Python packages cannot be had"
