"""Every failure a user can meet: what was wrong, why, what to do, and the exit code that says it to scripts.

Each subject has a class of its own so that a caller, a test and the table in docs/errors.md can name it.
A class enters ``EXIT_CODES`` when it is defined, here or in the package of its subject; two never share a code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

#: exit code -> class, for docs and for a failure that crosses a process
EXIT_CODES: dict[int, type[KubewrightError]] = {}


class KubewrightError(Exception):
    """A failure that is the user's to read: ``message`` names the value and where it stands, ``remedy`` says what to do.

    ``details`` holds lines that help but are not the reason (the tail of a log, a difference); never a secret.
    """

    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "failure"

    def __init_subclass__(cls) -> None:
        known = EXIT_CODES.setdefault(cls.exit_code, cls)
        if known is not cls and "exit_code" in vars(cls):
            raise TypeError(f"{cls.__name__} and {known.__name__} have the same exit code {cls.exit_code}")

    def __init__(self, message: str, *, remedy: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details

    def __reduce__(self) -> tuple[object, ...]:
        # doit may run a task in another process: the error crosses a pickle and must keep its parts
        return (_rebuild, (type(self), self.message, self.remedy, self.details))


def plain(text: str) -> str:
    """``text`` for a terminal: whoever named a file in it does not get to move the cursor, or to turn words around."""
    return "".join(each if each.isprintable() or each in "\n\t" else f"\\u{ord(each):04x}" for each in text)


def one_line(text: str) -> str:
    """The same for what has to stay on its line: a line break in a name does not begin a line that we seem to say."""
    return plain(text).replace("\n", "\\u000a")


@contextmanager
def naming(where: str, *kinds: type[KubewrightError]) -> Iterator[None]:
    """Put ``where``, the file and key that they are about, before the message of errors of ``kinds``."""
    try:
        yield
    except kinds as error:
        raise type(error)(f"{where}: {error.message}", remedy=error.remedy, details=error.details) from error


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


class NeverLockedError(LockOutdatedError):
    """A component that is not in the lock: its recipe is there, and has not been run on the real source yet."""

    exit_code = 14
    title = "the component has never been locked"


# -- inputs -------------------------------------------------------------------------------------------------------


class NetworkError(KubewrightError):
    """An origin that cannot be reached, or that went away half way."""

    exit_code = 20
    title = "origin out of reach"


class OriginError(KubewrightError):
    """An origin that answers, and does not have what the lock or the recipe names (tag, commit, package, version)."""

    exit_code = 21
    title = "the origin does not have it"


class MirrorLacksError(OriginError):
    """A mirror that does not have what the lock names, where nobody else may be asked."""

    exit_code = 150
    title = "the mirror lacks it"


class MirrorIndexError(KubewrightError):
    """A mirror's index.json that cannot be read, or that names paths outside of the mirror."""

    exit_code = 151
    title = "unusable mirror index"


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


class FactError(KubewrightError):
    """A source that does not hold what the recipe repeats of it (``facts``, ``{module:PATH}``)."""

    exit_code = 26
    title = "the source says something else than the recipe"


class SignatureMissingError(KubewrightError):
    """A tag that none of the recipe's keys has signed."""

    exit_code = 27
    title = "the tag is not signed by a key of the recipe"


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


# -- signing (what verify refuses has classes of its own: kubewright/verify/errors.py) ------------------------------


class KeyFileError(KubewrightError):
    """A signing key that is missing, would be overwritten, or is no ECDSA P-256 key."""

    exit_code = 100
    title = "unusable signing key"


class KeyPermissionError(KeyFileError):
    """A private key that others than its owner can read."""

    exit_code = 101
    title = "key file readable by others"


class PassphraseError(KeyFileError):
    """A passphrase that does not open the key, that is missing, or that was not typed twice alike."""

    exit_code = 102
    title = "wrong or missing passphrase"


class SequenceError(KubewrightError):
    """A release under a sequence number that has stood for other content, or that is lower than the one signed last."""

    exit_code = 103
    title = "release sequence used already"


class DissentError(KubewrightError):
    """A rebuild whose digests differ from those that somebody else has signed for the same inputs; it has been attested."""

    exit_code = 104
    title = "rebuild attested, and it disagrees"


class KeylessError(KubewrightError):
    """A keyless signature that could not be made or that does not hold: identity token, trust configuration, service."""

    exit_code = 105
    title = "keyless signing failed"


class InterruptedByUserError(KubewrightError):
    """Ended by the user."""

    exit_code = 130
    title = "interrupted"


EXIT_CODES[KubewrightError.exit_code] = KubewrightError
