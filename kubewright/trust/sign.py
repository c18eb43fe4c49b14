"""Statements in signed envelopes: DSSE in a Sigstore bundle v0.3, ECDSA P-256 with a key of the site.

Equal statements give equal bytes (canonical JSON, RFC 6979), so that signing again writes nothing.
DSSE: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md;
bundle: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
"""

from __future__ import annotations

import base64
from typing import Any

from kubewright.canonical import canonical_json
from kubewright.trust.keys import SigningKey
from kubewright.verify.bundle import MEDIA_TYPE, PAYLOAD_TYPE
from kubewright.verify.dsse import pae


def sign_statement(statement: dict[str, Any], key: SigningKey) -> bytes:
    """The bundle's JSON: ``statement`` as its payload, one signature, the key's hint, no certificate, no log entry."""
    return sign_payload(canonical_json(statement), key)


def sign_payload(payload: bytes, key: SigningKey, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """The same for bytes as they are."""
    signature = key.sign(pae(payload_type, payload))
    return canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key.public.hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": _base64(payload),
                "payloadType": payload_type,
                "signatures": [{"sig": _base64(signature), "keyid": ""}],
            },
        }
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
