"""JSON with one spelling: equal values have equal bytes. Cache keys, records and references to them are made of it."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> bytes:
    """Sorted keys, no white space that does not matter, UTF-8, a final newline."""
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n").encode()


def canonical_digest(value: object) -> str:
    """``sha256:`` of the canonical JSON of ``value``."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()
