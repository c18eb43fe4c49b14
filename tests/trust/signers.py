"""Operators of tests: each has a key."""

from __future__ import annotations

from pathlib import Path

from kubewright.trust import keys
from kubewright.trust.keys import SigningKey


def new_key(folder: Path, name: str) -> SigningKey:
    folder.mkdir(parents=True, exist_ok=True)
    keys.create(folder / f"{name}.key", None)
    return keys.load(folder / f"{name}.key", lambda: "")
