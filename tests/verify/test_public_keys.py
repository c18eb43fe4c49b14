"""P-256 verification: a file of vectors, and agreement with cryptography (OpenSSL) on generated signatures."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import vectors
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st
from setbuilder import private_key, public_key

from kubewright.verify.errors import PolicyError
from kubewright.verify.keys import PublicKey, fingerprint_of_hint, groups_of_four

DATA = json.loads(vectors.FILE.read_text())


def openssl_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    loaded = load_der_public_key(key)
    assert isinstance(loaded, ec.EllipticCurvePublicKey)
    try:
        loaded.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def test_the_vectors_are_those_that_the_script_writes() -> None:
    assert vectors.FILE.read_text() == vectors.text()
    assert len({each["comment"] for each in DATA["signatures"]}) == len(DATA["signatures"]) > 60


@pytest.mark.parametrize("vector", DATA["signatures"], ids=lambda vector: vector["comment"].replace(" ", "-"))
def test_a_signature(vector: dict[str, Any]) -> None:
    key, message, signature = (bytes.fromhex(vector[name]) for name in ("key", "message", "signature"))
    assert PublicKey(key).verify(message, signature) is vector["valid"]
    assert openssl_accepts(key, message, signature) is vector["valid"], "OpenSSL and the vector disagree"


@pytest.mark.parametrize("vector", DATA["keys"], ids=lambda vector: vector["comment"].replace(" ", "-"))
def test_a_key(vector: dict[str, Any]) -> None:
    key = bytes.fromhex(vector["key"])
    if vector["valid"]:
        assert PublicKey.from_pem(PublicKey(key).pem).der == key
        return
    with pytest.raises(PolicyError):
        PublicKey(key)


def test_openssl_takes_keys_that_we_do_not_and_never_the_other_way_round() -> None:
    """One encoding, one fingerprint: compressed points and explicit parameters are the same key to OpenSSL."""
    for vector in DATA["keys"]:
        try:
            taken = isinstance(load_der_public_key(bytes.fromhex(vector["key"])), ec.EllipticCurvePublicKey)
        except (ValueError, UnsupportedAlgorithm):
            taken = False
        assert taken or not vector["valid"], vector["comment"]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["site", "second"]), st.integers(0, 71), st.integers(0, 7))
def test_generated_signatures_and_their_mutants_are_judged_as_openssl_does(
    message: bytes, name: str, at: int, bit: int
) -> None:
    key = public_key(name)
    signature = private_key(name).sign(message, ec.ECDSA(hashes.SHA256()))
    assert key.verify(message, signature)
    mutant = bytearray(signature)
    mutant[at % len(signature)] ^= 1 << bit
    assert key.verify(message, bytes(mutant)) is openssl_accepts(key.der, message, bytes(mutant))
    assert not key.verify(message + b"x", signature)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_no_signature_and_no_exception(signature: bytes) -> None:
    assert not public_key("site").verify(b"message", signature)


def test_fingerprint_and_hint_are_the_hash_of_the_der() -> None:
    key = public_key("site")
    der = private_key("site").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.fingerprint == "sha256:" + hashlib.sha256(der).hexdigest()
    assert fingerprint_of_hint(key.hint) == key.fingerprint
    assert groups_of_four(key.fingerprint).replace(" ", "") == key.fingerprint[7:]


@pytest.mark.parametrize("hint", ["", "abc", "!", "AAAA", public_key("site").hint + "\n", public_key("site").hint.rstrip("=")])
def test_what_is_no_hint_names_no_key(hint: str) -> None:
    assert fingerprint_of_hint(hint) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PEM",
        public_key("site").pem.replace("PUBLIC", "PRIVATE"),
        public_key("site").pem + "more",
        public_key("site").pem * 2,
    ],
)
def test_what_is_no_pem_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        PublicKey.from_pem(text)
