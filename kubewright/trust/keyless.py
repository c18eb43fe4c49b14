"""Keyless signatures: an identity (OIDC) instead of a key, through a Sigstore instance that a trust configuration file names.

The file is a Sigstore ClientTrustConfig (JSON): where Fulcio, Rekor and the time-stamping authority are, and the roots to check
them with. Verifying needs that file and no network. This is sigstore-python's work; what is ours is that nothing is taken from
its defaults: no public instance, no TUF, an identity and an issuer that have to be named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubewright.canonical import canonical_json
from kubewright.errors import KeylessError
from kubewright.files.digest import sha256_file
from kubewright.verify import strictjson
from kubewright.verify.bundle import PAYLOAD_TYPE, parse_bundle
from kubewright.verify.statement import Statement, parse_statement

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

TOKEN_VARIABLE = "SIGSTORE_ID_TOKEN"  # noqa: S105 - where it is, not what it is

_LIMIT = 16 * 1024 * 1024


def load_trust(path: Path) -> ClientTrustConfig:
    """The trust configuration in ``path``. Raises KeylessError."""
    from sigstore.models import ClientTrustConfig

    data = _read(path)
    try:
        return ClientTrustConfig.from_json(data.decode())
    except ValueError as error:  # of which pydantic's errors are some
        raise KeylessError(
            f"{path} is no trust configuration: {_first_line(error)}",
            remedy="name a Sigstore client trust configuration (application/vnd.dev.sigstore.clienttrustconfig.v0.1+json)",
        ) from error


def sign_statement(statement: dict[str, Any], trust: ClientTrustConfig, token: str) -> bytes:
    """The bundle's JSON for ``statement``, signed by the identity in the OIDC ``token``. Raises KeylessError."""
    from sigstore.dsse import Statement as SigstoreStatement
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    with _failures("signing", "look at the identity token's life time, and whether the services in the file answer"):
        context = SigningContext.from_trust_config(trust)
        with context.signer(IdentityToken(token)) as signer:
            bundle = signer.sign_dsse(SigstoreStatement(canonical_json(statement)))
        return canonical_json(json.loads(bundle.to_json()))


def verify_statement(data: bytes, trust: ClientTrustConfig, identity: str, issuer: str, name: str = "bundle") -> Statement:
    """The statement of a keyless bundle, signed by ``identity`` as ``issuer`` knows it. No network. Raises KeylessError, and
    what reading a statement strictly raises."""
    from sigstore.models import Bundle
    from sigstore.verify import Verifier
    from sigstore.verify.policy import Identity

    strictjson.loads(data, strictjson.ENVELOPE, name)  # sigstore-python's reader takes the last of two equal keys
    with _failures(f"verifying {name}", "somebody else signed it, or it has been changed, or the roots are another instance's"):
        bundle = Bundle.from_json(data)
        kind, payload = Verifier(trusted_root=trust.trusted_root).verify_dsse(
            bundle, Identity(identity=identity, issuer=issuer)
        )
    if kind != PAYLOAD_TYPE:
        raise KeylessError(f"{name}: the payload is {kind[:80]!r}, not {PAYLOAD_TYPE}")
    return parse_statement(payload, name)


def verify_file(path: Path, artifact: Path | None, trust: ClientTrustConfig, identity: str, issuer: str) -> Statement:
    """The same for a file; KeylessError also when the statement is not about the bytes of ``artifact``."""
    said = verify_statement(_read(path), trust, identity, issuer, path.name)
    if artifact is not None and not artifact.is_file():
        raise KeylessError(f"{artifact} is no file", remedy="name the file that the statement is to be about")
    if artifact is not None and sha256_file(artifact) not in said.digests().values():
        raise KeylessError(
            f"{path.name} says nothing about {artifact}", remedy="it is not the file that was signed, or was changed"
        )
    return said


def statement_of(path: Path) -> dict[str, Any]:
    """The statement in ``path``: a bundle signed with a key, or the statement itself. Raises VerifyError when it is neither."""
    data = _read(path)
    parsed = strictjson.loads(data, strictjson.STATEMENT, path.name)
    if isinstance(parsed, dict) and "dsseEnvelope" in parsed:
        data = parse_bundle(data, path.name).payload
    parse_statement(data, path.name)
    statement: dict[str, Any] = json.loads(data)
    return statement


def token(path: Path | None) -> str:
    """The OIDC identity token from a file, or from SIGSTORE_ID_TOKEN. Raises KeylessError without any."""
    found = os.environ.get(TOKEN_VARIABLE, "") if path is None else _read(path).decode("ascii", "replace")
    if not found.strip():
        raise KeylessError("there is no identity token", remedy=f"set {TOKEN_VARIABLE}, or name a file with --token-file")
    return found.strip()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT)
    except OSError as error:
        raise KeylessError(f"cannot read {path}: {error.strerror}", remedy="name a file that is there") from error


@contextmanager
def _failures(what: str, remedy: str) -> Iterator[None]:
    """sigstore-python's errors have no common class beside Exception: all of them end here, never as success."""
    try:
        yield
    except KeylessError:
        raise
    except Exception as error:
        raise KeylessError(f"{what}: {_first_line(error)}", remedy=remedy) from error


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
