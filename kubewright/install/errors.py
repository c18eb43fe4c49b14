"""What can go wrong between a verified bundle and a running node. Exit codes 170 to 189."""

from __future__ import annotations

from kubewright.errors import KubewrightError


class InstallError(KubewrightError):
    """A host that could not be changed as the plan says; the journal has what was done, and the same command goes on."""

    exit_code = 170
    title = "install failed"


class SiteError(InstallError):
    """Site settings (cluster.toml) that do not say what their schema allows, or that contradict each other."""

    exit_code = 171
    title = "invalid site settings"


class ContentError(InstallError):
    """A bundle or set that lacks a program, an image or a manifest that the plan needs, or that holds other bytes."""

    exit_code = 172
    title = "the content lacks what the plan needs"


class PreflightError(InstallError):
    """A host that is not ready: swap, ports in use, kernel features, architecture, left-overs, disk; nothing was changed."""

    exit_code = 173
    title = "the host is not ready"


class PlaceError(InstallError):
    """Files that could not be written: no space, read-only, a directory where a link has to be."""

    exit_code = 174
    title = "files could not be placed"


class CommandError(InstallError):
    """A program of the plan that ended with a failure or took too long; ``details`` has its last lines."""

    exit_code = 175
    title = "a step of the install failed"


class UnhealthyError(InstallError):
    """Everything was started, and the node does not become what it has to be."""

    exit_code = 176
    title = "the node does not become ready"


class RollbackError(InstallError):
    """A release with a lower sequence number than the one installed, without a reason given."""

    exit_code = 177
    title = "older than what is installed"


class JoinError(InstallError):
    """Join material that is expired, readable by others, or not what ``join-token`` writes."""

    exit_code = 178
    title = "unusable join material"


class DriftError(InstallError):
    """A node on which files, links or settings of the install are changed, missing or too many."""

    exit_code = 179
    title = "the node has drifted"


class UnknownProgramError(InstallError):
    """A running program that is neither of the bundle, nor of one of its images, nor of a known package."""

    exit_code = 180
    title = "a program of unknown origin runs"


class PullCheckError(InstallError):
    """A container runtime that pulls what nobody signed, or that does not pull what is signed."""

    exit_code = 189
    title = "pulls are not verified"


class JournalError(InstallError):
    """The record of an install that cannot be read."""

    exit_code = 181
    title = "unreadable install record"
