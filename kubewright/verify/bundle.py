"""Sigstore bundles v0.3 with a DSSE envelope and a public key's hint: the key path.

https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto. What a bundle may hold beside the key
(certificates, log entries, time stamps) has no meaning for a policy that names keys: a certificate is refused, since whoever
put it there expects it to be looked at; log entries and time stamps are neither checked nor believed.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from kubewright.verify import strictjson
from kubewright.verify.errors import BundleError, CertificateError, PayloadTypeError, SignatureCountError
from kubewright.verify.keys import fingerprint_of_hint
from kubewright.verify.shape import Shape

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
SUFFIX: Final = ".sigstore.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An envelope as it was read; nothing of it is believed yet. ``hint`` is the fingerprint of the key it names."""

    payload_type: str
    payload: bytes
    signature: bytes
    hint: str


def parse_bundle(data: bytes, name: str = "bundle") -> Bundle:
    """Read a bundle strictly; raises BundleError (or a JsonError) that calls it ``name``."""
    root = Shape.of(strictjson.loads(data, strictjson.ENVELOPE, name), name, BundleError)
    root.only("mediaType", "verificationMaterial", "dsseEnvelope", "messageSignature")
    if root.text("mediaType") != MEDIA_TYPE:
        raise root.refuse("mediaType", f"expected {MEDIA_TYPE}, found {root.text('mediaType')[:80]!r}")
    if "messageSignature" in root.value:
        raise root.refuse("messageSignature", "expected a DSSE envelope, found a signature over a file")
    fingerprint = _key(root.inner("verificationMaterial"))
    return _envelope(root.inner("dsseEnvelope"), fingerprint)


def _key(material: Shape) -> str:
    for key in ("certificate", "x509CertificateChain"):
        if key in material.value:
            raise CertificateError(
                f"{material.name}.{key}: a certificate, where this policy has keys",
                remedy="keyless bundles are verified with a trust configuration, not with a policy's keys (docs/policy.md)",
            )
    material.only("publicKey", "tlogEntries", "timestampVerificationData")
    material.objects("tlogEntries")
    material.maybe("timestampVerificationData")
    public_key = material.inner("publicKey")
    public_key.only("hint")
    fingerprint = fingerprint_of_hint(public_key.text("hint"))
    if not fingerprint:
        raise public_key.refuse("hint", "expected the base64 of a key's SHA-256")
    return fingerprint


def _envelope(envelope: Shape, fingerprint: str) -> Bundle:
    envelope.only("payload", "payloadType", "signatures")
    payload_type = envelope.text("payloadType")
    if payload_type != PAYLOAD_TYPE:
        raise PayloadTypeError(f"{envelope.name}.payloadType: expected {PAYLOAD_TYPE}, found {payload_type[:80]!r}")
    signatures = envelope.objects("signatures")
    if len(signatures) != 1:
        raise SignatureCountError(
            f"{envelope.name}.signatures: {len(signatures)} of them, and a bundle has exactly one",
            remedy="each signer writes a bundle of its own; somebody put this one together",
        )
    signatures[0].only("sig", "keyid")
    if signatures[0].value.get("keyid", "") != "":
        raise signatures[0].refuse("keyid", "expected nothing: it is not signed, and cosign refuses what it cannot match")
    return Bundle(payload_type, _base64(envelope, "payload"), _base64(signatures[0], "sig"), fingerprint)


def _base64(shape: Shape, key: str) -> bytes:
    text = shape.text(key)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise shape.refuse(key, "is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise shape.refuse(key, "is not base64 in its one spelling")  # or one payload would have many bundles
    return data
