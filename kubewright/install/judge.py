"""What containerd runs before it fetches an image: our verifier, with the site's policy; and its log.

One line of JSON for every image that was asked about, whether allowed or not. What cannot be written down is not allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from kubewright.errors import KubewrightError
from kubewright.install.host import Host
from kubewright.install.plan import CURRENT
from kubewright.install.pulls import LOG, POLICY, TRUST
from kubewright.verify import strictjson
from kubewright.verify.bundle_errors import ImageRefusedError
from kubewright.verify.errors import VerifyError
from kubewright.verify.policy import load_policy
from kubewright.verify.pulled import accept_pull

_DESCRIPTOR: Final = strictjson.Limits(size=1 << 20, string=1 << 16, depth=16, values=10_000)
_LONGEST_LOG: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Judgement:
    """A line of the log."""

    name: str
    digest: str
    allowed: bool
    reason: str


def answer(words: Sequence[str]) -> int:
    """``node verify-pull``, with the arguments that containerd gives (docs/image-verification.md of containerd)."""
    parser = argparse.ArgumentParser(prog="kubewright node verify-pull", description="Whether an image may be fetched.")
    parser.add_argument("-name", required=True, metavar="REFERENCE", help="the image that is asked for")
    parser.add_argument("-digest", required=True, metavar="DIGEST", help="what the registry answered")
    parser.add_argument("-stdin-media-type", default="", metavar="TYPE", help="of what containerd says on standard input")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="another root than /: for tests")
    found = parser.parse_args(words)
    try:
        print(judge(Host(found.root), found.name, found.digest, sys.stdin.buffer))
    except KubewrightError as error:
        print(error.message)  # containerd shows the standard output of a verifier
        return error.exit_code
    return 0


def judge(host: Host, name: str, digest: str, descriptor: BinaryIO) -> str:
    """Why the image may be fetched; raises the KubewrightError that says why not. Written to the log either way."""
    folder = host.path(CURRENT)
    try:
        _compare(descriptor, digest)
        policy_file = folder / POLICY
        reason = accept_pull(folder / TRUST, load_policy(policy_file), policy_file, name, digest)
    except KubewrightError as error:
        _write(host, Judgement(name, digest, False, error.message))
        raise
    _write(host, Judgement(name, digest, True, reason))
    return reason


def _compare(descriptor: BinaryIO, digest: str) -> None:
    """containerd says the digest twice: what it is going to fetch is in the descriptor."""
    value = strictjson.loads(descriptor.read(_DESCRIPTOR.size + 1), _DESCRIPTOR, "the descriptor")
    if not isinstance(value, dict) or value.get("digest") != digest:
        raise ImageRefusedError(f"{digest[:80]} was asked about, and something else is in the descriptor")


# -- the log -------------------------------------------------------------------------------------------------------------


def _write(host: Host, judgement: Judgement) -> None:
    path = host.path(LOG)
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "name": judgement.name[:500],
        "digest": judgement.digest[:100],
        "allowed": judgement.allowed,
        "reason": judgement.reason[:1000],
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _LONGEST_LOG:
            path.replace(path.with_suffix(".jsonl.1"))
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "ab") as stream:
            stream.write((json.dumps(line) + "\n").encode())
    except OSError as reason:
        raise VerifyError(f"{path}: {reason.strerror}; what cannot be written down is not pulled") from None


def log_size(host: Host) -> int:
    """Bytes of the log."""
    path = host.path(LOG)
    return path.stat().st_size if path.exists() else 0


def judgements(host: Host, since: int) -> Iterator[Judgement]:
    """What was written to the log after its first ``since`` bytes; all of it where it has begun anew."""
    path = host.path(LOG)
    if not path.exists():
        return
    with path.open("rb") as stream:
        stream.seek(since if path.stat().st_size >= since else 0)
        for line in stream:
            value = json.loads(line)
            yield Judgement(value["name"], value["digest"], value["allowed"], value["reason"])
