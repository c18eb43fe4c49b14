"""Download one file: several mirrors, retried, resumed, and in place only once its digest is right.

What a URL may hide (a password, a token in its query) never gets into an error or a log: ``redact``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from kubewright.errors import IntegrityError, KubewrightError, NetworkError, OriginError
from kubewright.files.digest import sha256_file

if TYPE_CHECKING:
    import requests

#: gets the bytes that are there, and those that there will be (None: the server does not say)
Progress: TypeAlias = "Callable[[int, int | None], None]"

_CHUNK = 1 << 18
_SLOWEST = 1024  # bytes a second: what is slower for as long as one waits for a byte counts as silent
_LONGEST_PAUSE = 20.0
_LATER = (408, 425, 429, 500, 502, 503, 504)


def ignore_progress(done: int, total: int | None) -> None:
    """Progress for nobody."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What ``download`` was asked for."""

    sha256: str | None
    size: int | None
    target: Path
    limit: int
    progress: Progress
    attempts: int
    pause: float
    timeout: float

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")


class _TryAgain(Exception):  # noqa: N818 - a step of the download, not a failure that anybody sees
    """This attempt failed; the next one may not. ``after``: seconds that the server asked for."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def redact(url: str) -> str:
    """A URL without user, password, query and fragment. Also for git's ``user@host:path``."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "<unreadable URL>"
    if not parts.scheme or "//" not in url:
        return url.rpartition("@")[2].partition("?")[0]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def download(
    urls: Sequence[str],
    *,
    sha256: str | None,
    target: Path,
    size: int | None = None,
    max_size: int = 4 << 30,
    progress: Progress = ignore_progress,
    retries: int = 4,
    pause: float = 0.5,
    timeout: float = 30.0,
) -> Path:
    """Download into ``target`` from the first mirror that has the bytes; nothing happens when they are there already.

    ``sha256``: hex digits; None takes what the first mirror has (while locking). A pinned download that was interrupted
    goes on from ``TARGET.part``. ``retries``: further attempts per mirror, after ``pause`` seconds, then twice as many and
    so on. ``timeout``: seconds without a connection, without a byte, or with less than 1 kB each. http, https and file URLs.

    Raises NetworkError when a mirror could not be reached or broke off, OriginError when those that answered do not have
    the file, IntegrityError when one sent other bytes; whatever was first of these in the order of weight
    integrity, network, origin; the other mirrors' failures are the error's details.
    """
    limit = size if size is not None else max_size
    wanted = _Wanted(sha256, size, target, limit, progress, retries + 1, pause, timeout)
    if sha256 and target.is_file() and sha256_file(target) == f"sha256:{sha256}":
        return target
    if not urls:
        raise OriginError(f"no origin is known for {target.name}", remedy="name one in settings.toml")
    target.parent.mkdir(parents=True, exist_ok=True)
    failures: list[KubewrightError] = []
    for url in urls:
        try:
            return _from_mirror(url, wanted)
        except (NetworkError, OriginError, IntegrityError) as error:
            failures.append(error)
    raise _weightiest(failures)


def _weightiest(failures: list[KubewrightError]) -> KubewrightError:
    """The failure that says most, with the others as its details."""
    rank = [IntegrityError, NetworkError, OriginError]
    first = min(failures, key=lambda error: rank.index(type(error)))
    others = [error.message for error in failures if error is not first]
    return type(first)(first.message, remedy=first.remedy, details="\n".join(others))


def _from_mirror(url: str, wanted: _Wanted) -> Path:
    pause, reason = wanted.pause, ""
    for attempt in range(wanted.attempts):
        if attempt:
            time.sleep(min(pause, _LONGEST_PAUSE))
            pause *= 2
        try:
            return _attempt(url, wanted)
        except _TryAgain as again:
            reason = str(again)
            pause = max(pause, again.after)
    raise NetworkError(
        f"{redact(url)} cannot be fetched: {reason} ({wanted.attempts} attempts)",
        remedy="check the network or the mirror and run the command again",
    )


def _attempt(url: str, wanted: _Wanted) -> Path:
    there = wanted.part.stat().st_size if wanted.sha256 and wanted.part.is_file() else 0
    if there > wanted.limit:
        there = 0
    if url.startswith("file:"):
        _copy(Path(unquote(urlsplit(url).path)), url, wanted)
    else:
        with _answer(url, wanted, there) as answer:
            there = _receive(answer, url, wanted, there)
    return _checked(url, wanted, resumed=there > 0)


def _copy(source: Path, url: str, wanted: _Wanted) -> None:
    if not source.is_file():
        raise OriginError(f"{redact(url)} is not there", remedy="check the path of the mirror")
    size = source.stat().st_size
    with source.open("rb") as content:
        _write(iter(lambda: content.read(_CHUNK), b""), url, wanted, 0, size)


@contextmanager
def _answer(url: str, wanted: _Wanted, there: int) -> Iterator[requests.Response]:
    """The server's answer; what goes wrong on the wire inside the block becomes _TryAgain, and names no URL."""
    import requests
    import urllib3

    # identity: what counts is the file's bytes, and a range of a compressed answer is another range
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=(wanted.timeout, wanted.timeout)) as answer:
            yield answer
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema) as error:
        raise OriginError(f"{redact(url)} is not a usable http, https or file URL", remedy="correct it") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _TryAgain(_reason(error)) from None


def _receive(answer: requests.Response, url: str, wanted: _Wanted, there: int) -> int:
    """Take in the body; gives the offset at which it began."""
    if answer.status_code == 416 and there:  # the part is as long as the file, or longer: its digest will tell
        return there
    if answer.status_code in _LATER:
        raise _TryAgain(f"HTTP {answer.status_code}", _retry_after(answer))
    if answer.status_code not in (200, 206):
        missing = answer.status_code in (404, 410)
        raise OriginError(
            f"{redact(url)} {'is not there' if missing else 'was not given out'}: HTTP {answer.status_code}",
            remedy="check the version, or name a mirror that has it",
        )
    if answer.status_code == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {there}-"):
        wanted.part.unlink(missing_ok=True)
        raise _TryAgain("the server answered with another range than asked for")
    start = there if answer.status_code == 206 else 0
    length = answer.headers.get("Content-Length", "")
    _write(_pieces(answer, wanted.timeout), url, wanted, start, start + int(length) if length.isdigit() else None)
    return start


def _pieces(answer: requests.Response, patience: float) -> Iterator[bytes]:
    """The body as it arrives; _TryAgain where it only trickles. A byte now and then would keep any time-out away."""
    since, received = time.monotonic(), 0
    while piece := answer.raw.read1(_CHUNK, decode_content=False):
        yield piece
        received += len(piece)
        passed = time.monotonic() - since
        if passed >= patience:
            if received < _SLOWEST * passed:
                raise _TryAgain(f"{received} bytes in {passed:.0f} seconds")
            since, received = time.monotonic(), 0


def _write(pieces: Iterator[bytes], url: str, wanted: _Wanted, start: int, announced: int | None) -> None:
    done, total = start, announced if announced is not None else wanted.size
    with wanted.part.open("ab" if start else "wb") as part:
        wanted.progress(done, total)
        for piece in pieces:
            done += len(piece)
            if done > wanted.limit:
                break
            part.write(piece)
            wanted.progress(done, total)
    if done > wanted.limit:
        wanted.part.unlink()
        raise IntegrityError(
            f"{redact(url)} sends more than the {wanted.limit} bytes that it may have",
            remedy="nothing was kept of it; the origin has another file than the one that was locked",
        )
    if announced is not None and done < announced:
        raise _TryAgain(f"the connection ended after {done} of {announced} bytes")


def _checked(url: str, wanted: _Wanted, *, resumed: bool) -> Path:
    found = sha256_file(wanted.part)
    if wanted.sha256 and found != f"sha256:{wanted.sha256}":
        size = wanted.part.stat().st_size
        wanted.part.unlink()
        if resumed:
            raise _TryAgain("what was left of an earlier download did not belong to this file")
        raise IntegrityError(
            f"{redact(url)} has other bytes than its pin: wanted sha256:{wanted.sha256}, got {found} ({size} bytes)",
            remedy="nothing was kept of it; find out why the file changed before locking it again",
        )
    wanted.part.replace(wanted.target)
    return wanted.target


def _retry_after(answer: requests.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0


def _reason(error: Exception) -> str:
    """What went wrong on the wire, in words that cannot hold a URL."""
    import requests

    names: dict[type[Exception], str] = {
        requests.exceptions.ConnectTimeout: "no connection in time",
        requests.exceptions.ReadTimeout: "no answer in time",
        requests.exceptions.ProxyError: "the proxy refused, or is not there",
        requests.exceptions.SSLError: "no valid TLS connection or certificate",
        requests.exceptions.TooManyRedirects: "redirected in a circle",
        requests.exceptions.ConnectionError: "no connection",
    }
    return next((text for kind, text in names.items() if isinstance(error, kind)), "the connection broke off or went silent")
