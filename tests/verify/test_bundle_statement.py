"""Bundles and statements: what is read, and what is not one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from setbuilder import SetBuilder, public_key, signed

from kubewright.verify import errors
from kubewright.verify.bundle import parse_bundle
from kubewright.verify.dsse import pae
from kubewright.verify.provenance import read_provenance
from kubewright.verify.statement import parse_statement

BUNDLE = json.loads(signed(b'{"a":1}', "site"))
STATEMENT: dict[str, Any] = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "a/b", "digest": {"sha256": "a" * 64}}],
    "predicateType": "https://example.com/x",
    "predicate": {"anything": [1, None]},
}


def test_pae_is_that_of_the_specification() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_a_bundle_is_read_as_it_was_written() -> None:
    bundle = parse_bundle(json.dumps(BUNDLE).encode())
    assert bundle.payload == b'{"a":1}'
    assert bundle.hint == public_key("site").fingerprint
    assert public_key("site").verify(pae(bundle.payload_type, bundle.payload), bundle.signature)


def test_absent_log_entries_and_key_id_are_no_difference() -> None:
    """Protobuf's JSON leaves out empty lists and strings."""
    changed = json.loads(json.dumps(BUNDLE))
    del changed["verificationMaterial"]["tlogEntries"]
    del changed["dsseEnvelope"]["signatures"][0]["keyid"]
    assert parse_bundle(json.dumps(changed).encode()) == parse_bundle(json.dumps(BUNDLE).encode())


def change(path: str, value: Any) -> bytes:
    changed = json.loads(json.dumps(BUNDLE))
    *parents, last = path.split(".")
    place = changed
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(changed).encode()


SIGNATURE = BUNDLE["dsseEnvelope"]["signatures"][0]


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("mediaType", None, errors.BundleError),
        ("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.1", errors.BundleError),
        ("verificationMaterial", None, errors.BundleError),
        ("verificationMaterial.publicKey", None, errors.BundleError),
        ("verificationMaterial.publicKey.hint", "", errors.BundleError),
        ("verificationMaterial.publicKey.hint", "AAAA", errors.BundleError),
        ("verificationMaterial.publicKey.rawBytes", "AAAA", errors.BundleError),
        ("verificationMaterial.certificate", {"rawBytes": "AAAA"}, errors.CertificateError),
        ("verificationMaterial.x509CertificateChain", {"certificates": []}, errors.CertificateError),
        ("verificationMaterial.unknown", 1, errors.BundleError),
        ("verificationMaterial.tlogEntries", {}, errors.BundleError),
        ("dsseEnvelope", None, errors.BundleError),
        ("dsseEnvelope", [], errors.BundleError),
        ("messageSignature", {"signature": "AAAA"}, errors.BundleError),
        ("unknown", 1, errors.BundleError),
        ("dsseEnvelope.payload", None, errors.BundleError),
        ("dsseEnvelope.payload", "eyJhIjoxfQ", errors.BundleError),
        ("dsseEnvelope.payload", "eyJhIjoxfR==", errors.BundleError),
        ("dsseEnvelope.payload", "eyJh\nIjoxfQ==", errors.BundleError),
        ("dsseEnvelope.payload", "eyJh_joxfQ==", errors.BundleError),
        ("dsseEnvelope.payload", "é", errors.BundleError),
        ("dsseEnvelope.payloadType", "application/vnd.in-toto+json; charset=utf-8", errors.PayloadTypeError),
        ("dsseEnvelope.payloadType", "Application/vnd.in-toto+json", errors.PayloadTypeError),
        ("dsseEnvelope.signatures", None, errors.SignatureCountError),
        ("dsseEnvelope.signatures", [], errors.SignatureCountError),
        ("dsseEnvelope.signatures", [SIGNATURE, SIGNATURE], errors.SignatureCountError),
        ("dsseEnvelope.signatures.0.sig", None, errors.BundleError),
        ("dsseEnvelope.signatures.0.sig", 1, errors.BundleError),
        ("dsseEnvelope.signatures.0.keyid", "somebody", errors.BundleError),
        ("dsseEnvelope.signatures.0.cert", "x", errors.BundleError),
    ],
)
def test_what_is_no_bundle(path: str, value: Any, error: type[errors.BundleError]) -> None:
    with pytest.raises(errors.BundleError) as caught:
        parse_bundle(change(path, value), "x.sigstore.json")
    assert type(caught.value) is error
    assert caught.value.message.startswith("x.sigstore.json: ")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_damaged_bundle_is_refused_or_means_something_else(at: int, patch: bytes) -> None:
    data = json.dumps(BUNDLE).encode()
    at %= len(data)
    damaged = data[:at] + patch + data[at + len(patch) :]
    try:
        bundle = parse_bundle(damaged)
    except errors.VerifyError:
        return
    same = bundle.payload == b'{"a":1}' and bundle.hint == public_key("site").fingerprint
    valid = public_key("site").verify(pae(bundle.payload_type, bundle.payload), bundle.signature)
    assert json.loads(damaged) == BUNDLE or not (same and valid)


def test_a_statement_is_read() -> None:
    statement = parse_statement(json.dumps(STATEMENT).encode())
    assert statement.digests() == {"a/b": "sha256:" + "a" * 64}
    assert statement.predicate == {"anything": [1, None]}


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"_type": None},
        {"subject": []},
        {"subject": {}},
        {"subject": STATEMENT["subject"] * 2},
        {"subject": [{"name": "a"}]},
        {"subject": [{"name": "a", "digest": {"sha512": "a" * 128}}]},
        {"subject": [{"name": "a", "digest": {"sha256": "A" * 64}}]},
        {"subject": [{"name": "a", "digest": {"sha256": "a" * 63}}]},
        {"subject": [{"name": 1, "digest": {"sha256": "a" * 64}}]},
        {"subject": [{"name": "a", "digest": {"sha256": "a" * 64}, "uri": "x"}]},
        {"predicateType": ""},
        {"predicate": None},
        {"predicate": []},
        {"more": 1},
    ],
)
def test_what_is_no_statement(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.StatementError):
        parse_statement(json.dumps({**STATEMENT, **changes}).encode())


@pytest.mark.parametrize("name", ["/a", "../a", "a/../b", "a/..", "./a", "a//b", "a/", ".", "..", "a\\b", "a\nb", "a\x00"])
def test_a_subject_outside_of_its_folder_is_unsafe(name: str) -> None:
    subject = [{"name": name, "digest": {"sha256": "a" * 64}}]
    with pytest.raises(errors.UnsafeSetError):
        parse_statement(json.dumps({**STATEMENT, "subject": subject}).encode())


@pytest.mark.parametrize("name", ["a", "a/b.c", "..a", "a..", ".a/b", "a b", "ü"])
def test_a_subject_inside_is_not(name: str) -> None:
    subject = [{"name": name, "digest": {"sha256": "a" * 64}}]
    assert parse_statement(json.dumps({**STATEMENT, "subject": subject}).encode()).subjects[0].name == name


def mutations(value: Any) -> list[Any]:
    """``value`` with one thing left out, of another type, or added."""
    found: list[Any] = []
    if isinstance(value, dict):
        found += [{key: item for key, item in value.items() if key != left} for left in value]
        found += [{**value, key: changed} for key, item in value.items() for changed in mutations(item)]
        found += [{**value, "unknown": 1}]
    elif isinstance(value, list):
        found += [[*value[:at], changed, *value[at + 1 :]] for at, item in enumerate(value[:2]) for changed in mutations(item)]
    found.append([] if isinstance(value, dict) else {})
    return found


def test_our_provenance_has_no_key_that_may_change_its_type_or_be_unknown(tmp_path: Path) -> None:
    """Keys may be absent where they have a default; nothing else is taken."""
    made = SetBuilder(tmp_path)
    good = made.provenance("runc")
    statement = parse_statement(json.dumps(good).encode())
    read_provenance(statement, "x")
    refused = taken = 0
    for predicate in mutations(good["predicate"]):
        try:
            read_provenance(parse_statement(json.dumps({**good, "predicate": predicate}).encode()), "x")
            taken += 1
        except errors.StatementError:
            refused += 1
    assert refused > 150
    assert taken < 45, "only keys with defaults may be left out"


def test_a_twin_input_is_refused(tmp_path: Path) -> None:
    good = SetBuilder(tmp_path).provenance("etcd")
    inputs = good["predicate"]["buildDefinition"]["resolvedDependencies"]
    inputs.append(inputs[0])
    with pytest.raises(errors.StatementError, match="is there twice"):
        read_provenance(parse_statement(json.dumps(good).encode()), "x")


def test_base64_has_one_spelling() -> None:
    sig = base64.b64encode(b"\x30\x00").decode()
    assert sig == "MAA="
    with pytest.raises(errors.BundleError):
        parse_bundle(change("dsseEnvelope.signatures.0.sig", "MAB="))
