"""Keyless signatures: an identity (OIDC) instead of a key, through a Sigstore instance that a trust configuration file names.

The file is a Sigstore ClientTrustConfig (JSON): where Fulcio, Rekor and the time-stamping authority are, and the roots to check
them with. Verifying needs that file and no network. This is sigstore-python's work; what is ours is that nothing is taken from
its defaults: no public instance, no TUF, an identity and an issuer that have to be named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubewright.canonical import canonical_json
from kubewright.errors import KeylessError
from kubewright.verify import strictjson
from kubewright.verify.bundle import PAYLOAD_TYPE, parse_bundle
from kubewright.verify.errors import CertificateError
from kubewright.verify.statement import Statement, parse_statement

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

_LIMIT = 16 * 1024 * 1024


def load_trust(path: Path) -> ClientTrustConfig:
    """The trust configuration in ``path``. Raises KeylessError."""
    from sigstore.models import ClientTrustConfig

    try:
        with path.open("rb") as file:
            return ClientTrustConfig.from_json(file.read(_LIMIT).decode())
    except (OSError, ValueError) as error:  # pydantic's errors are ValueErrors
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


def is_keyless(data: bytes, name: str = "bundle") -> bool:
    """Whether a bundle has a certificate where ours have a key. Raises BundleError for what is no bundle."""
    try:
        parse_bundle(data, name)
    except CertificateError:
        return True
    return False


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
