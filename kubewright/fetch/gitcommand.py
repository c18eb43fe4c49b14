"""How git is run: which of the user's settings count, what is never allowed, and what its messages mean.

Decision: neither the user's nor the machine's git configuration is read as a whole, because it can name programs (hooks,
filters, file system monitors) and change bytes. What says *how to reach an origin* is picked from it by name
(``_ACCESS``): credential helpers, ``insteadOf``, proxies, certificates, the ssh command. It reaches git through the
environment; a user and password in the URL of an origin become the answer of a credential helper. So no secret is on a
command line, where all users of a machine could read it.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from kubewright.disk import refusal
from kubewright.errors import IntegrityError, NetworkError, OriginError
from kubewright.fetch.http import redact

if TYPE_CHECKING:
    from git.cmd import Git

#: gets the bytes received
Progress = Callable[[int], None]

REMOTE: Final = "origin"
_USER: Final = "KUBEWRIGHT_GIT_USER"
_PASSWORD: Final = "KUBEWRIGHT_GIT_PASSWORD"  # noqa: S105 - the name of a variable
_ACCESS: Final = r"^(credential\.|http\.|url\..*\.insteadof$|core\.sshcommand$|ssh\.|safe\.directory$|protocol\.version$)"
_FIXED: Final = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.alternateRefsCommand": "true",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    "fetch.fsck.badTimezone": "warn",  # old commits of real projects have these two, and no file depends on them
    "fetch.fsck.missingSpaceBeforeDate": "warn",
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.lowSpeedLimit": "1",
}
_SCHEMES: Final = ("https", "http", "ssh", "git", "file")
_SCP: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9_.-]+:[^:-][^:]*\Z")
_TAG: Final = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|\Z)))[A-Za-z0-9_][A-Za-z0-9_.+/@-]*(?<![./])\Z")
_RECEIVED: Final = re.compile(r"Receiving objects:.*?, ([0-9.]+) (bytes|KiB|MiB|GiB)")
_UNITS: Final = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SECRET_IN_URL: Final = re.compile(r"://[^/@\s']*@")


class RefusedError(Exception):
    """The server does not give out what was asked for in this way; another way may do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A URL to reach, and how long to be patient with it (seconds of silence; further attempts)."""

    url: str
    timeout: float = 120.0
    retries: int = 2


def check_url(url: str) -> None:
    """Raise OriginError for a URL that could make git do something else than talk to a repository."""
    allowed = _SCP.match(url) if "://" not in url else _scheme_and_host(url)
    if not allowed or re.search(r"[\x00-\x20\x7f]", url):
        raise OriginError(
            f"{redact(url)!r} is not a git URL that may be used",
            remedy=f"write it as https://HOST/PATH; allowed are {', '.join(_SCHEMES)} and USER@HOST:PATH",
        )


def _scheme_and_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, user = parts.hostname or "", parts.username or ""
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and not host.startswith("-") and not user.startswith("-")


def check_tag(ref: str) -> None:
    """Raise OriginError for refs/tags/NAME or refs/heads/NAME with a name that cannot be one, or that git could take for an
    option."""
    kind, name = {"refs/t": ("tag", ref[10:]), "refs/h": ("branch", ref[11:])}[ref[:6]]
    if not _TAG.match(name):
        raise OriginError(f"{name!r} cannot be the name of a git {kind}", remedy=f"correct `{kind}` in the recipe")


# -- environment --------------------------------------------------------------------------------------------------


def program(repository: Path | None, url: str = "", timeout: float = 120.0) -> Git:
    """GitPython's git for one bare repository (None: for no repository), with our environment only."""
    git = _git(str(repository or "/"))
    git.update_environment(**_environment(repository, url, timeout))
    return git


def _git(folder: str) -> Git:
    if shutil.which("git") is None:
        raise OriginError("the program git is not installed", remedy="install it (on Debian: apt-get install git)")
    from git.cmd import Git

    return Git(folder)


def _environment(repository: Path | None, url: str, timeout: float) -> dict[str, str]:
    config = [*_access_settings(), *_FIXED.items(), ("http.lowSpeedTime", str(max(1, int(timeout))))]
    if repository:
        config.append(("safe.directory", str(repository)))
    secret, settings = _remote(url)
    config += settings
    ours = secret | {
        "GIT_DIR": str(repository or "/dev/null"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_PARAMETERS": "",
        "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_NAMESPACE": "",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "GIT_CONFIG_COUNT": str(len(config)),
    }
    if "GIT_WORK_TREE" in os.environ:  # as in a hook; GitPython can set a variable, not unset it
        ours["GIT_WORK_TREE"] = str(repository or "/")
    if repository:
        ours["GIT_OBJECT_DIRECTORY"] = str(repository / "objects")
    if not {"GIT_SSH", "GIT_SSH_COMMAND"} & os.environ.keys() and "core.sshcommand" not in dict(config):
        ours["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"  # never ask: nobody may be there
    for number, (key, value) in enumerate(config):
        ours |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return ours


def _remote(url: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Environment and settings for the remote: its URL, and the password of the URL apart from it."""
    if not url:
        return {}, []
    parts = urlsplit(url) if url.startswith(("http://", "https://")) else None
    if parts is None or not parts.username:
        return {}, [(f"remote.{REMOTE}.url", url)]
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
    secret = {_USER: unquote(parts.username), _PASSWORD: unquote(parts.password or "")}
    helper = f'!printf \'username=%s\\npassword=%s\\n\' "${_USER}" "${_PASSWORD}" #'
    return secret, [(f"remote.{REMOTE}.url", bare), (f"credential.{place}.helper", helper)]


def _access_settings() -> list[tuple[str, str]]:
    """What the user's and the machine's configuration say about reaching origins."""
    return _settings(["--get-regexp", _ACCESS])


def settings_in(file: Path) -> list[tuple[str, str]]:
    """Keys and values of a file in the format of git's configuration; what it wants to include is not read."""
    return _settings(["--file", str(file), "--no-includes", "--list"])


def _settings(arguments: Sequence[str]) -> list[tuple[str, str]]:
    from git.exc import GitCommandError

    git = _git("/")
    git.update_environment(GIT_DIR="/dev/null")
    try:
        said = git.execute(["git", "config", "--null", *arguments], strip_newline_in_stdout=False)
    except GitCommandError:  # status 1: nothing of it is set
        return []
    entries = [entry.partition("\n") for entry in str(said).split("\0") if entry]
    return [(key, value if newline else "true") for key, newline, value in entries]


# -- running ------------------------------------------------------------------------------------------------------


def reach(origin: Origin, repository: Path | None, arguments: Sequence[str], progress: Progress | None = None) -> str:
    """Run a git command that talks to the origin, again when the network fails; gives its output.

    Raises RefusedError (ask in another way), NetworkError, OriginError, IntegrityError, StoreError (no space).
    """
    check_url(origin.url)
    git = program(repository, origin.url, origin.timeout)
    for attempt in range(origin.retries + 1):
        done = _run(git, ["git", *arguments], origin.timeout, progress or (lambda done: None))
        if done.status == 0:
            return done.out
        error = (repository and refusal(done.messages, repository)) or _meaning(origin.url, done.messages)
        if not isinstance(error, NetworkError) or attempt == origin.retries or done.silent:
            raise error
        time.sleep(2**attempt)
    raise AssertionError("unreachable: the loop returns or raises")


@dataclass(frozen=True, slots=True)
class _Done:
    status: int
    out: str
    messages: str
    silent: bool = False  # the origin said nothing for so long that there is no point in asking again


def _run(git: Git, command: Sequence[str], timeout: float, progress: Progress) -> _Done:
    """Run to the end. It is ended, children included, after ``timeout`` seconds of silence, or when we are interrupted."""
    guard = git.execute(command, as_process=True, start_new_session=True)  # ends the process when it is dropped
    process: subprocess.Popen[bytes] = guard.proc  # type: ignore[assignment]
    assert process.stdout is not None
    assert process.stderr is not None
    out, messages = bytearray(), bytearray()
    sinks = {process.stdout.fileno(): out, process.stderr.fileno(): messages}
    try:
        while sinks:
            ready, _, _ = select.select(list(sinks), [], [], timeout)
            if not ready:
                messages += b"\nfatal: silent for %d seconds" % timeout
                return _Done(1, "", messages.decode("utf-8", "replace"), silent=True)
            for stream in ready:
                data = os.read(stream, 1 << 16)
                sinks[stream] += data
                if not data:
                    del sinks[stream]
            _tell(messages, progress)
        status = process.wait(timeout)
    finally:
        _end(process)
    return _Done(status, out.decode("utf-8", "surrogateescape"), messages.decode("utf-8", "replace"))


def _tell(messages: bytearray, progress: Progress) -> None:
    """Report the bytes of the last progress line, ``Receiving objects:  45% (9/20), 12.50 MiB | 5.20 MiB/s``."""
    found = _RECEIVED.findall(messages[-200:].decode("utf-8", "replace"))
    if found:
        number, unit = found[-1]
        progress(int(float(number) * _UNITS[unit]))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process group if any of it still runs, and take in its status."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


# -- messages -----------------------------------------------------------------------------------------------------

_REFUSED: Final = re.compile(
    r"not our ref|unadvertised object|remote error: upload-pack: not our ref|does not support shallow|"
    r"couldn't find remote ref|no such remote ref|Server does not allow request"
)
_DAMAGED: Final = re.compile(
    r"fsck error|error in (?:tree|commit|blob|tag) [0-9a-f]{7}|SHA1 COLLISION|hash mismatch|pack is corrupted"
)
_ABSENT: Final = re.compile(
    r"[Rr]epository .*not found|does not appear to be a git repository|not a git repository|returned error: (?:404|410)|"
    r"dubious ownership|does not exist"
)
_FORBIDDEN: Final = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|terminal prompts disabled|Permission denied|"
    r"returned error: (?:401|403)|Host key verification failed|transport '.*' not allowed"
)


def _meaning(url: str, messages: str) -> Exception:
    """What git's words mean. None of them is shown before ``_cleaned`` has seen it."""
    details, where = _cleaned(url, messages), redact(url)
    if _DAMAGED.search(messages):
        return IntegrityError(f"{where} sends objects that git refuses", remedy="do not use this origin", details=details)
    if _REFUSED.search(messages):
        return RefusedError(details)
    if _FORBIDDEN.search(messages):
        remedy = "set up a credential helper or an ssh key for it in git's own configuration, or name a mirror in settings.toml"
        return OriginError(f"{where} does not let us in", remedy=remedy, details=details)
    if _ABSENT.search(messages):
        remedy = "check `git` in the recipe, or name a mirror in settings.toml (git_mirrors)"
        return OriginError(f"{where} is not a git repository", remedy=remedy, details=details)
    return NetworkError(
        f"{where} cannot be reached, or broke off: {_last_line(details)}",
        remedy="check the network, or name a mirror in settings.toml (git_mirrors)",
        details=details,
    )


def _cleaned(url: str, messages: str) -> str:
    """git's messages without progress and without anything that a URL hides."""
    text = _SECRET_IN_URL.sub("://", messages.replace(url, redact(url)))
    text = re.sub(r"(\w+://[^\s'?]+)\?[^\s']*", r"\1", text)
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not re.match(r"(remote: )?[A-Z][a-z]+ [a-z]+: +\d+", line))[-2000:]


def _last_line(details: str) -> str:
    fatal = [line for line in details.splitlines() if line.startswith(("fatal:", "error:", "ssh:"))]
    return (fatal or details.splitlines() or ["git said nothing"])[0]
