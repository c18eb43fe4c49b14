"""What can go wrong with a lab; what goes wrong with an install in it has errors of its own."""

from __future__ import annotations

from kubewright.errors import KubewrightError


class LabError(KubewrightError):
    """A lab that cannot be built here: no docker, no bundle, a node that does not boot."""

    exit_code = 182
    title = "the lab cannot be built here"


class LabCheckError(LabError):
    """A check of the lab that failed; the table names it, and the support bundle has what the nodes said."""

    exit_code = 183
    title = "a check of the lab failed"


class ConformanceError(LabError):
    """A conformance spec that failed, skipped itself or did not run, or a list that names one that does not exist."""

    exit_code = 184
    title = "conformance is not shown"
