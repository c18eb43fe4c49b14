"""What a DSSE signature is over (https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md)."""

from __future__ import annotations


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: type and payload, each behind its length in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
