"""Keys on disk: how they are made, and which ones are not used."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from ecdsa.der import encode_integer

from kubewright.errors import KeyFileError, KeyPermissionError, KubewrightError, PassphraseError
from kubewright.trust import keys
from kubewright.trust.unlock import ask_twice


def never() -> str:
    raise AssertionError("asked for a passphrase")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    keys.create(tmp_path / "site.key", None)
    return tmp_path / "site.key"


def write(path: Path, private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


# -- making -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_the_private_part_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        public = keys.create(tmp_path / "site.key", None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "site.key").stat().st_mode) == 0o600
    assert keys.load_public(tmp_path / "site.pub") == public == keys.load(tmp_path / "site.key", never).public


@pytest.mark.parametrize("there", ["site.key", "site.pub"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(KeyFileError, match=f"{there} exists"):
        keys.create(tmp_path / "site.key", None)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "site.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="exists"):
        keys.create(tmp_path / "site.key", None)
    assert not (tmp_path / "elsewhere").exists()


def test_of_two_at_a_time_one_wins(tmp_path: Path) -> None:
    made: list[object] = []

    def make() -> None:
        try:
            made.append(keys.create(tmp_path / "site.key", None))
        except KeyFileError:
            made.append(None)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [public for public in made if public is not None]
    assert winners == [keys.load(tmp_path / "site.key", never).public]


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot write"):
        keys.create(tmp_path / "no" / "site.key", None)


def test_encrypted_unless_asked_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEWRIGHT_KEY_PASSPHRASE", "correct horse")
    keys.create(tmp_path / "site.key", ask_twice(tmp_path / "site.key"))
    assert (tmp_path / "site.key").read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert keys.load(tmp_path / "site.key", lambda: "correct horse").public == keys.load_public(tmp_path / "site.pub")


def test_others_can_read_what_we_encrypt(tmp_path: Path) -> None:
    keys.create(tmp_path / "site.key", "pass: wörd")
    text = (tmp_path / "site.key").read_bytes()
    assert isinstance(load_pem_private_key(text, "pass: wörd".encode()), ec.EllipticCurvePrivateKey)
    (tmp_path / "pass").write_text("pass: wörd\n")
    command = ["openssl", "pkey", "-in", "site.key", "-passin", "file:pass", "-pubout"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == (tmp_path / "site.pub").read_text(), done.stderr


def test_a_guess_costs_memory_and_time(tmp_path: Path) -> None:
    """scrypt with N = 2^14, r = 8, p = 5, as the file says it."""
    keys.create(tmp_path / "site.key", "x")
    der = base64.b64decode(b"".join((tmp_path / "site.key").read_bytes().splitlines()[1:-1]))
    assert b"".join(encode_integer(each) for each in (1 << 14, 8, 5)) in der


def test_an_empty_passphrase_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEWRIGHT_KEY_PASSPHRASE", "")
    with pytest.raises(PassphraseError, match="empty"):
        ask_twice(tmp_path / "site.key")
    with pytest.raises(PassphraseError, match="empty"):
        keys.create(tmp_path / "site.key", "")


# -- loading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601, 0o602])
def test_a_key_that_others_reach_is_not_used(site: Path, mode: int) -> None:
    site.chmod(mode)
    with pytest.raises(KeyPermissionError, match=f"mode {mode:04o}"):
        keys.load(site, never)
    site.chmod(0o400)
    assert keys.load(site, never)


def test_permissions_are_those_behind_a_link(site: Path) -> None:
    link = site.with_name("link.key")
    link.symlink_to(site)
    assert keys.load(link, never)
    site.chmod(0o644)
    with pytest.raises(KeyPermissionError):
        keys.load(link, never)


def test_a_wrong_passphrase(tmp_path: Path) -> None:
    keys.create(tmp_path / "site.key", "right")
    with pytest.raises(PassphraseError, match="does not open"):
        keys.load(tmp_path / "site.key", lambda: "wrong")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1(), ec.SECP521R1()])
def test_another_curve(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    path = write(tmp_path / "site.key", ec.generate_private_key(curve))
    with pytest.raises(KeyFileError, match=f"another kind .*{curve.name}.*, not ECDSA P-256"):
        keys.load(path, never)


def test_another_algorithm(tmp_path: Path) -> None:
    path = write(tmp_path / "site.key", ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(KeyFileError, match="another kind"):
        keys.load(path, never)


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_no_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="no private key"):
        keys.load(path, never)


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, message in (("absent", "cannot read"), (".", "no regular file"), ("pipe", "no regular file")):
        with pytest.raises(KeyFileError, match=message):
            keys.load(tmp_path / name, never)


def test_a_public_key_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "site.pub").write_text("hello")
    with pytest.raises(KeyFileError, match=r"site\.pub"):
        keys.load_public(tmp_path / "site.pub")
    (tmp_path / "site.pub").write_bytes(b"\xff")
    with pytest.raises(KeyFileError, match=r"site\.pub"):
        keys.load_public(tmp_path / "site.pub")


# -- using --------------------------------------------------------------------------------------------------------


def test_signatures_are_deterministic_and_hold(site: Path) -> None:
    key = keys.load(site, never)
    first = key.sign(b"message")
    assert first == key.sign(b"message") == keys.load(site, never).sign(b"message")
    assert key.public.verify(b"message", first)
    assert not key.public.verify(b"another", first)


def test_a_fingerprint_to_write_down(site: Path) -> None:
    fingerprint = keys.load(site, never).public.fingerprint
    lines = keys.grouped(fingerprint).splitlines()
    assert [len(line.split()) for line in lines] == [8, 8]
    assert "sha256:" + "".join("".join(lines).split()) == fingerprint
    command = "openssl pkey -pubin -in site.pub -outform DER | sha256sum"
    there = subprocess.run(["sh", "-c", command], cwd=site.parent, capture_output=True, text=True, check=True)
    assert there.stdout.split()[0] == fingerprint.removeprefix("sha256:")


def test_errors_have_remedies(tmp_path: Path) -> None:
    with pytest.raises(KubewrightError) as caught:
        keys.load(tmp_path / "absent", never)
    assert "kubewright key new" in caught.value.remedy
