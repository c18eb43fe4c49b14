"""Keyless: a whole Sigstore instance in this process, then verification with its trust configuration and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import instance
import pytest
from signers import new_key

from kubewright.errors import KeylessError, KubewrightError
from kubewright.trust import keyless
from kubewright.trust.sign import sign_statement
from kubewright.verify.bundle import parse_bundle
from kubewright.verify.errors import CertificateError, DuplicateKeyError
from kubewright.verify.statement import PROVENANCE, TYPE

ME = "ci@example.org"
STATEMENT: dict[str, Any] = {
    "_type": TYPE,
    "subject": [{"name": "runc", "digest": {"sha256": "ab" * 32}}],
    "predicateType": PROVENANCE,
    "predicate": {"buildDefinition": {}},
}


@pytest.fixture(scope="module")
def sigstore() -> Iterator[instance.Instance]:
    with instance.running() as found:
        yield found


@pytest.fixture(scope="module")
def trust_file(sigstore: instance.Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trust") / "trust.json"
    path.write_text(json.dumps(sigstore.trust_config()))
    return path


@pytest.fixture(scope="module")
def signed(trust_file: Path) -> bytes:
    trust = keyless.load_trust(trust_file)
    keyless.sign_statement(STATEMENT, trust, instance.token("before@example.org"))  # so that the log's tree has branches
    return keyless.sign_statement(STATEMENT, trust, instance.token(ME))


def verify(data: bytes, trust_file: Path, identity: str = ME, issuer: str = instance.ISSUER) -> Any:
    return keyless.verify_statement(data, keyless.load_trust(trust_file), identity, issuer)


def test_what_was_signed_is_what_is_read(signed: bytes, trust_file: Path) -> None:
    assert verify(signed, trust_file).digests() == {"runc": "sha256:" + "ab" * 32}


def test_the_log_has_proof_and_the_authority_a_time(signed: bytes) -> None:
    material = json.loads(signed)["verificationMaterial"]
    assert material["tlogEntries"][0]["inclusionProof"]["hashes"]
    assert len(material["timestampVerificationData"]["rfc3161Timestamps"]) == 1


def test_verifying_asks_nobody(
    signed: bytes, trust_file: Path, sigstore: instance.Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    before = sigstore.requests
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    verify(signed, trust_file)
    assert sigstore.requests == before
    with pytest.raises(KeylessError, match="a connection"):  # the control: signing would
        keyless.sign_statement(STATEMENT, keyless.load_trust(trust_file), instance.token(ME))


def test_another_identity_or_issuer(signed: bytes, trust_file: Path) -> None:
    with pytest.raises(KeylessError, match="SANs do not match"):
        verify(signed, trust_file, identity="else@example.org")
    with pytest.raises(KeylessError, match="OIDCIssuer"):
        verify(signed, trust_file, issuer="https://other.example.org")


def test_another_instance_s_roots(signed: bytes, tmp_path: Path) -> None:
    with instance.running() as other:
        (tmp_path / "trust.json").write_text(json.dumps(other.trust_config()))
    with pytest.raises(KeylessError):
        verify(signed, tmp_path / "trust.json")


@pytest.mark.parametrize("part", ["ctlogs", "tlogs", "timestampAuthorities", "certificateAuthorities"])
def test_each_root_counts(signed: bytes, trust_file: Path, tmp_path: Path, part: str) -> None:
    """One of the four services replaced by another instance's."""
    mine = json.loads(trust_file.read_text())
    with instance.running() as other:
        mine["trustedRoot"][part] = other.trust_config()["trustedRoot"][part]
    (tmp_path / "trust.json").write_text(json.dumps(mine))
    with pytest.raises(KeylessError):
        verify(signed, tmp_path / "trust.json")


def _entry(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "payload": lambda b: b["dsseEnvelope"].update(payload=base64.b64encode(b"{}").decode()),
    "no signature": lambda b: b["dsseEnvelope"].update(signatures=[]),
    "no log entry": lambda b: b["verificationMaterial"].update(tlogEntries=[]),
    "no time": lambda b: b["verificationMaterial"].pop("timestampVerificationData"),
    "no proof": lambda b: _entry(b)["inclusionProof"].update(hashes=[]),
    "another log index": lambda b: _entry(b)["inclusionProof"].update(logIndex="0"),
    "another checkpoint": lambda b: _entry(b)["inclusionProof"]["checkpoint"].update(envelope="x\n1\neA==\n\n— x eHh4eHg=\n"),
    "another body": lambda b: _entry(b).update(canonicalizedBody=base64.b64encode(b"{}").decode()),
    "media type": lambda b: b.update(mediaType="x"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_what_was_changed_is_refused(signed: bytes, trust_file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    bundle = json.loads(signed)
    verify(json.dumps(bundle).encode(), trust_file)  # the control
    edit(bundle)
    with pytest.raises(KubewrightError):
        verify(json.dumps(bundle).encode(), trust_file)


def test_a_key_twice_is_seen_before_sigstore_s_reader(signed: bytes, trust_file: Path) -> None:
    with pytest.raises(DuplicateKeyError):
        verify(signed.replace(b'{"dsseEnvelope":', b'{"dsseEnvelope":{},"dsseEnvelope":', 1), trust_file)


def test_the_key_path_refuses_it(signed: bytes) -> None:
    with pytest.raises(CertificateError):
        parse_bundle(signed)


def test_an_old_token(trust_file: Path) -> None:
    with pytest.raises(KeylessError, match=r"signing: .*oken"):
        keyless.sign_statement(STATEMENT, keyless.load_trust(trust_file), instance.token(ME, seconds=-60))


def test_a_service_that_is_gone(tmp_path: Path) -> None:
    with instance.running() as gone:
        (tmp_path / "trust.json").write_text(json.dumps(gone.trust_config()))
    with pytest.raises(KeylessError, match="signing"):
        keyless.sign_statement(STATEMENT, keyless.load_trust(tmp_path / "trust.json"), instance.token(ME))


def test_the_commands(signed: bytes, sigstore: instance.Instance, trust_file: Path, tmp_path: Path) -> None:
    """A statement that a key has signed is signed by an identity as well, and verified with an artifact."""
    site = new_key(tmp_path / "keys", "site")
    (tmp_path / "artifact").write_bytes(b"built")
    digest = hashlib.sha256(b"built").hexdigest()
    about = {**STATEMENT, "subject": [{"name": "built", "digest": {"sha256": digest}}]}
    (tmp_path / "key.sigstore.json").write_bytes(sign_statement(about, site))

    def run(*words: object, token: str = "") -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "SIGSTORE_ID_TOKEN": token}
        command = [sys.executable, "-m", "kubewright.cli", "keyless", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    arguments = ("sign", "key.sigstore.json", "--trust", trust_file, "--out", "identity.sigstore.json")
    assert run(*arguments).returncode == KeylessError.exit_code  # nobody
    assert run(*arguments, token=instance.token(ME)).returncode == 0
    who = ("--trust", trust_file, "--identity", ME, "--issuer", instance.ISSUER)
    good = run("verify", "identity.sigstore.json", "artifact", *who)
    assert (good.returncode, f"sha256:{digest}" in good.stdout, ME in good.stdout) == (0, True, True)
    (tmp_path / "artifact").write_bytes(b"changed")
    assert run("verify", "identity.sigstore.json", "artifact", *who).returncode == KeylessError.exit_code
    assert run("verify", "identity.sigstore.json", *who).returncode == 0
    (tmp_path / "statement.json").write_text(json.dumps(about))
    again = ("sign", "statement.json", "--trust", trust_file, "--out", "second.sigstore.json")
    assert run(*again, token=instance.token(ME)).returncode == 0


@pytest.mark.parametrize("text", ["", "{}", '{"mediaType": "x"}', "\xff"])
def test_no_trust_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "trust.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(KeylessError, match="is no trust configuration"):
        keyless.load_trust(tmp_path / "trust.json")


def test_sigstore_is_loaded_late() -> None:
    code = "import sys, kubewright.trust.keyless, kubewright.trust.publish; sys.exit('sigstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
