"""Public keys: ECDSA on P-256 with SHA-256, by the pure-Python package ``ecdsa``.

A key has one encoding here (DER SubjectPublicKeyInfo, named curve, uncompressed point; RFC 5480) and so one fingerprint.
A signature has one encoding too: DER of two positive integers, nothing before or after. ``s`` may be in either half of the
range, as for every Sigstore client: that makes a second valid signature of the same payload, never one of another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kubewright.verify.errors import PolicyError

if TYPE_CHECKING:
    import ecdsa

#: SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { 04 || X || Y } } up to the 04
_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_LENGTH: Final = len(_PREFIX) + 65
_LONGEST_SIGNATURE: Final = 72
_PEM: Final = re.compile(r"-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END PUBLIC KEY-----\n?")
_REMEDY: Final = "kubewright key new makes such a key, kubewright key show shows its public part"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A P-256 public key: ``der`` is its SubjectPublicKeyInfo."""

    der: bytes

    def __post_init__(self) -> None:
        _point(self.der)

    @classmethod
    def from_pem(cls, text: str) -> PublicKey:
        """The key in PEM; PolicyError for anything but an uncompressed P-256 key."""
        found = _PEM.fullmatch(text.strip().replace("\r\n", "\n") + "\n")
        if found is None:
            raise PolicyError("not a public key in PEM (-----BEGIN PUBLIC KEY-----)", remedy=_REMEDY)
        try:
            der = base64.b64decode(found.group(1).replace("\n", ""), validate=True)
        except binascii.Error:
            raise PolicyError("not a public key in PEM: its base64 is broken", remedy=_REMEDY) from None
        return cls(der)

    @property
    def pem(self) -> str:
        """The key as PEM, 64 columns."""
        text = base64.b64encode(self.der).decode()
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])

    @property
    def fingerprint(self) -> str:
        """``sha256:<hex>`` of the DER: what people write down and compare."""
        return "sha256:" + hashlib.sha256(self.der).hexdigest()

    @property
    def hint(self) -> str:
        """The same as a bundle's verificationMaterial.publicKey.hint has it: base64."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (DER) is this key's over ``message``. Never raises for what an attacker may write."""
        if len(signature) > _LONGEST_SIGNATURE:
            return False
        from ecdsa.der import UnexpectedDER
        from ecdsa.keys import BadSignatureError
        from ecdsa.util import MalformedSignature, sigdecode_der

        try:
            return bool(_point(self.der).verify_digest(signature, hashlib.sha256(message).digest(), sigdecode=sigdecode_der))
        except (BadSignatureError, UnexpectedDER, MalformedSignature):
            return False
        except TypeError:
            return False  # ecdsa's way to say that the sum of two points is the one at infinity, which has no x


def fingerprint_of_hint(hint: str) -> str:
    """A bundle's hint as a fingerprint; empty when it is none."""
    try:
        digest = base64.b64decode(hint, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return "sha256:" + digest.hex() if len(digest) == 32 and base64.b64encode(digest).decode() == hint else ""


def groups_of_four(fingerprint: str) -> str:
    """A fingerprint as people compare it: ``ab12 cd34 ...``."""
    digits = fingerprint.removeprefix("sha256:")
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _point(der: bytes) -> ecdsa.VerifyingKey:
    from ecdsa import NIST256p, VerifyingKey
    from ecdsa.keys import MalformedPointError

    if len(der) != _LENGTH or not der.startswith(_PREFIX) or der[len(_PREFIX)] != 4:
        raise PolicyError("not an ECDSA key on P-256 with an uncompressed point", remedy=_REMEDY)
    try:
        return VerifyingKey.from_string(der[len(_PREFIX) + 1 :], NIST256p, hashlib.sha256, validate_point=True)
    except MalformedPointError:
        raise PolicyError("not a public key: its point is not on the curve P-256", remedy=_REMEDY) from None
