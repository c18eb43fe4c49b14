"""Every failure a user can meet: what was wrong, why, what to do, and the exit code that says it to scripts.

Each subject has a class of its own so that a caller, a test and the table in docs/errors.md can name it.
``EXIT_CODES`` is generated from the classes; two classes never share a code.
"""

from __future__ import annotations

from typing import ClassVar


class KubewrightError(Exception):
    """A failure that is the user's to read: ``message`` names the value and where it stands, ``remedy`` says what to do.

    ``details`` holds lines that help but are not the reason (the tail of a log, a difference); never a secret.
    """

    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "failure"

    def __init__(self, message: str, *, remedy: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details

    def __reduce__(self) -> tuple[object, ...]:
        # doit may run a task in another process: the error crosses a pickle and must keep its parts
        return (_rebuild, (type(self), self.message, self.remedy, self.details))


def _rebuild(cls: type[KubewrightError], message: str, remedy: str, details: str) -> KubewrightError:
    return cls(message, remedy=remedy, details=details)


# -- what the user wrote ------------------------------------------------------------------------------------------


class UsageError(KubewrightError):
    """A name or option that does not exist."""

    exit_code = 2
    title = "unknown name or option"


class RecipeError(KubewrightError):
    """A recipe, builder, stack or settings file that does not say what its schema allows."""

    exit_code = 10
    title = "invalid recipe, builder, stack or settings"


class CycleError(RecipeError):
    """Components that need each other's outputs."""

    exit_code = 11
    title = "recipes depend on each other in a circle"


class LockError(KubewrightError):
    """lockfile.toml or digests.toml cannot be read: merge markers, duplicate keys, truncation, wrong types."""

    exit_code = 12
    title = "unreadable lock or digests file"


class LockOutdatedError(KubewrightError):
    """A recipe, builder or patch says something else than the lock."""

    exit_code = 13
    title = "the recipe is newer than its lock"


# -- inputs -------------------------------------------------------------------------------------------------------


class NetworkError(KubewrightError):
    """An origin that cannot be reached, or that went away half way."""

    exit_code = 20
    title = "origin out of reach"


class OriginError(KubewrightError):
    """An origin that answers, and does not have what the lock or the recipe names (tag, commit, package, version)."""

    exit_code = 21
    title = "the origin does not have it"


class TagMovedError(KubewrightError):
    """A tag that names another commit than when it was locked."""

    exit_code = 22
    title = "tag moved since the lock"


class IntegrityError(KubewrightError):
    """Bytes that do not have the digest that the lock names."""

    exit_code = 23
    title = "input differs from its pin"


class UnsafeArchiveError(KubewrightError):
    """An archive that would write outside its target, or holds links, devices or more than its bounds."""

    exit_code = 24
    title = "unsafe archive"


class PatchError(KubewrightError):
    """A patch that does not apply; the message names file and hunk."""

    exit_code = 25
    title = "patch does not apply"


# -- building -----------------------------------------------------------------------------------------------------


class BuildError(KubewrightError):
    """A step that ended with another status than 0; ``details`` has the last lines of its log."""

    exit_code = 30
    title = "build step failed"


class OutputError(KubewrightError):
    """Outputs that are missing, or that the recipe does not declare."""

    exit_code = 31
    title = "outputs are not what the recipe declares"


class SmokeError(KubewrightError):
    """A built program that does not run, or does not say what the recipe expects."""

    exit_code = 32
    title = "smoke check failed"


class IrreproducibleError(KubewrightError):
    """Two builds of one key with different bytes, or a build that differs from digests.toml."""

    exit_code = 33
    title = "builds differ"


class TimeLimitError(KubewrightError):
    """A step that ran longer than its limit."""

    exit_code = 34
    title = "time limit reached"


class CheckError(KubewrightError):
    """The quality gate or the tests found something."""

    exit_code = 35
    title = "checks failed"


# -- the machine --------------------------------------------------------------------------------------------------


class SandboxError(KubewrightError):
    """A sandbox that cannot be started here, or that went away half way."""

    exit_code = 40
    title = "sandbox not available"


class StoreError(KubewrightError):
    """A store that cannot be written: read-only, wrong owner, no space."""

    exit_code = 50
    title = "store not writable"


class StoreCorruptError(KubewrightError):
    """A stored object that no longer has its digest."""

    exit_code = 51
    title = "stored object damaged"


class InterruptedByUserError(KubewrightError):
    """Ended by the user."""

    exit_code = 130
    title = "interrupted"


def _subclasses(cls: type[KubewrightError]) -> list[type[KubewrightError]]:
    return [cls] + [found for sub in cls.__subclasses__() for found in _subclasses(sub)]


#: exit code -> class, for docs and for the test that no code is given twice
EXIT_CODES: dict[int, type[KubewrightError]] = {cls.exit_code: cls for cls in _subclasses(KubewrightError)}
