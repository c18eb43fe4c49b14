"""What can go wrong with a bill of materials, beside what goes wrong with inputs."""

from __future__ import annotations

from kubewright.errors import KubewrightError


class NotLockedError(KubewrightError):
    """A module linked into an output that the lock (go.sum, the record's modules) does not have with this hash."""

    exit_code = 120
    title = "linked, but not in the lock"


class UnreadableBinaryError(KubewrightError):
    """An output that a go step made and that does not say what is linked into it."""

    exit_code = 121
    title = "a program does not say what is in it"
