"""Who signed an annotated tag: checked against the public keys of a recipe, by the programs gpg or ssh-keygen.

Neither the user's key ring nor git's configuration counts: a signature is good when it is of one of the keys in the file.
https://git-scm.com/docs/gitformat-signature
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubewright.errors import IntegrityError, OriginError, SignatureMissingError
from kubewright.fetch.gitcommand import program
from kubewright.files.digest import git_object_id

_SIGNATURE: Final = re.compile(rb"^-----BEGIN (PGP|SSH) (SIGNATURE|MESSAGE)-----$", re.MULTILINE)
_VALID: Final = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]{40,64})(?: .*? ([0-9A-F]{40,64}))?$", re.MULTILINE)
_GOOD: Final = re.compile(r'^Good "git" signature for .+ with \S+ key (SHA256:\S+)$', re.MULTILINE)


def verify_tag(repository: Path, tag: str, tag_object: str, commit: str, keys: Path) -> str:
    """The fingerprint of the key in the file ``keys`` that signed the tag.

    The tag object is in ``repository``. Raises SignatureMissingError, IntegrityError when the object is not that tag of that
    commit, OriginError when the program that checks is not there.
    """
    git = program(repository)
    try:
        data = git.get_object_data(tag_object)[3]
    finally:
        git.clear_cache()
    head = data.partition(b"\n\n")[0].split(b"\n")
    if git_object_id("tag", data) != tag_object or head[:3] != [
        f"object {commit}".encode(),
        b"type commit",
        f"tag {tag}".encode(),
    ]:
        raise IntegrityError(f"object {tag_object} is not the tag {tag} of {commit}", remedy="do not use this origin")
    found = _SIGNATURE.search(data)
    if found is None:
        raise _unsigned(tag, keys, "it has no signature")
    check = _by_gpg if found[1] == b"PGP" else _by_ssh
    with tempfile.TemporaryDirectory(prefix="kw-") as folder:  # short: gpg makes sockets in it
        scratch = Path(folder)
        (scratch / "signed").write_bytes(data[: found.start()])
        (scratch / "signature").write_bytes(data[found.start() :])
        signer, said = check(keys.absolute(), scratch)
    if signer is None:
        raise _unsigned(tag, keys, "its signature is of none of them", said)
    return signer


def _unsigned(tag: str, keys: Path, why: str, details: str = "") -> SignatureMissingError:
    remedy = f"find out who signs this upstream's tags before changing {keys.name} or `signed_by` in the recipe"
    return SignatureMissingError(
        f"tag {tag} is not signed by a key in {keys.name}: {why}", remedy=remedy, details=details[-2000:]
    )


def _by_gpg(keys: Path, scratch: Path) -> tuple[str | None, str]:
    home = scratch / "home"
    home.mkdir(0o700)
    gpg = [
        _program("gpg", "gnupg"),
        "--homedir",
        str(home),
        "--batch",
        "--no-autostart",
        "--no-auto-key-retrieve",
        "--status-fd",
        "1",
    ]
    _run([*gpg, "--import", str(keys)], scratch)
    status, said = _run([*gpg, "--trust-model", "always", "--verify", "signature", "signed"], scratch)
    valid = _VALID.search(said)
    return (valid[2] or valid[1] if valid and status == 0 else None), said


def _by_ssh(keys: Path, scratch: Path) -> tuple[str | None, str]:
    ssh = [_program("ssh-keygen", "openssh-client"), "-Y"]
    status, said = _run([*ssh, "find-principals", "-s", "signature", "-f", str(keys)], scratch)
    if status:
        return None, said
    principal = said.splitlines()[0]
    verify = ["verify", "-n", "git", "-s", "signature", "-f", str(keys), "-I", principal]
    status, said = _run([*ssh, *verify], scratch, scratch / "signed")
    good = _GOOD.search(said)
    return (good[1] if good and status == 0 else None), said


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise OriginError(
            f"the program {name}, which checks the tag's signature, is not installed",
            remedy=f"install it (on Debian: {package})",
        )
    return found


def _run(command: Sequence[str], folder: Path, stdin: Path | None = None) -> tuple[int, str]:
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(folder)}
    with open(stdin or os.devnull, "rb") as source:
        done = subprocess.run(
            command,
            cwd=folder,
            env=env,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
    return done.returncode, done.stdout.decode("utf-8", "replace")
