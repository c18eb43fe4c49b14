"""Signing keys: ECDSA P-256, the private part as PKCS#8 PEM (encrypted unless asked otherwise), the public part beside it.

A private key is created under its final name or not at all, with mode 0600, and never overwritten. One that others can read is
not used. Signatures are deterministic (RFC 6979): signing the same bytes again gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubewright.errors import KeyFileError, KeyPermissionError, PassphraseError
from kubewright.verify.errors import PolicyError
from kubewright.verify.keys import PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PASSPHRASE_VARIABLE = "KUBEWRIGHT_KEY_PASSPHRASE"  # noqa: S105 - where it is, not what it is

#: more than any key in PEM, so that a wrong file is not read to its end
_LIMIT = 64 * 1024
#: scrypt's cost for each guess: 16 MB and a quarter of a second. OpenSSL reads no key that needs 32 MB, hence P and not N
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 14, 8, 5
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A loaded private key."""

    private: EllipticCurvePrivateKey
    public: PublicKey

    @property
    def key_id(self) -> str:
        """The beginning of the fingerprint, for names of files: it selects, it proves nothing."""
        return self.public.fingerprint.removeprefix("sha256:")[:16]

    def sign(self, message: bytes) -> bytes:
        """ECDSA-SHA256 of ``message``, DER, deterministic."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return self.private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def grouped(fingerprint: str) -> str:
    """A fingerprint in groups of four, two lines of eight: to write down and to read out."""
    digits = fingerprint.removeprefix("sha256:")
    groups = [digits[at : at + 4] for at in range(0, len(digits), 4)]
    return "\n".join(" ".join(groups[at : at + 8]) for at in range(0, len(groups), 8))


# -- creating -----------------------------------------------------------------------------------------------------


def create(path: Path, passphrase: str | None) -> PublicKey:
    """Make a new key at ``path`` and its public part at ``public_path(path)``; ``None`` leaves it unencrypted.

    Raises KeyFileError when either exists, PassphraseError for an empty passphrase.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if passphrase is not None and not passphrase:
        raise PassphraseError("the passphrase is empty", remedy="choose one, or say --no-passphrase")
    beside = check_free(path)
    private = ec.generate_private_key(ec.SECP256R1())
    plain = private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = _public_part(private)
    text = _pem("PRIVATE KEY", plain) if passphrase is None else _pem("ENCRYPTED PRIVATE KEY", _encrypted(plain, passphrase))
    _write_new(path, text.encode(), 0o600)
    try:
        _write_new(beside, public.pem.encode(), 0o644)
    except BaseException:
        path.unlink()
        raise
    return public


def check_free(path: Path) -> Path:
    """Raise KeyFileError when the key or its public part exists; returns the latter's path."""
    beside = public_path(path)
    for each in (path, beside):
        if os.path.lexists(each):
            raise _exists(each)
    return beside


def public_path(path: Path) -> Path:
    """site.key -> site.pub."""
    return path.with_suffix(".pub") if path.suffix not in ("", ".pub") else path.with_name(path.name + ".pub")


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}", remedy="choose a folder that you may write") from error
    try:
        os.fchmod(descriptor, mode)  # whatever the umask said
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise


def _exists(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path} exists, and a key is never overwritten", remedy="choose another name, or move it away yourself"
    )


def _encrypted(plain: bytes, passphrase: str) -> bytes:
    """EncryptedPrivateKeyInfo with PBES2, scrypt and AES-256-CBC (RFC 5958, 8018, 7914); what OpenSSL and cryptography read.

    Written here because cryptography's own encryption of PKCS#8 takes 2048 rounds of PBKDF2, which is no hurdle any more.
    """
    from cryptography.hazmat.primitives import padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from ecdsa.der import encode_integer, encode_octet_string, encode_oid, encode_sequence

    salt, initial = os.urandom(16), os.urandom(16)
    key = hashlib.scrypt(
        passphrase.encode(), salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, maxmem=256 * _SCRYPT_N * _SCRYPT_R, dklen=32
    )
    pad = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(initial)).encryptor()
    secret = encryptor.update(pad.update(plain) + pad.finalize()) + encryptor.finalize()
    costs = [encode_integer(each) for each in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P)]
    derivation = encode_sequence(encode_oid(1, 3, 6, 1, 4, 1, 11591, 4, 11), encode_sequence(encode_octet_string(salt), *costs))
    cipher = encode_sequence(encode_oid(2, 16, 840, 1, 101, 3, 4, 1, 42), encode_octet_string(initial))
    scheme = encode_sequence(encode_oid(1, 2, 840, 113549, 1, 5, 13), encode_sequence(derivation, cipher))
    return bytes(encode_sequence(scheme, encode_octet_string(secret)))


def _pem(label: str, der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


# -- loading ------------------------------------------------------------------------------------------------------


def load(path: Path, passphrase: Callable[[], str]) -> SigningKey:
    """The private key in ``path``; ``passphrase`` is called only when the key is encrypted.

    Raises KeyFileError (missing, unreadable, not ECDSA P-256), KeyPermissionError, PassphraseError.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _read_private(path)
    secret = passphrase().encode() if _ENCRYPTED in text else None
    try:
        private = load_pem_private_key(text, secret)
    except (ValueError, TypeError) as error:
        if secret is not None:
            raise PassphraseError(
                f"the passphrase does not open {path}", remedy=f"type it again, or correct {PASSPHRASE_VARIABLE}"
            ) from error
        raise _not_a_key(path) from error
    except Exception as error:  # cryptography.exceptions.UnsupportedAlgorithm and what later versions think of
        raise _not_a_key(path) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        kind = private.curve.name if isinstance(private, ec.EllipticCurvePrivateKey) else type(private).__name__.lstrip("_")
        raise KeyFileError(f"{path} holds a key of another kind ({kind}), not ECDSA P-256", remedy=_MAKE)
    return SigningKey(private, _public_part(private))


def is_private(path: Path) -> bool:
    """Whether the file says that it holds a private key. Raises KeyFileError when it cannot be read."""
    return b"PRIVATE KEY-----" in _read(path)


def load_public(path: Path) -> PublicKey:
    """The public key in ``path``. Raises KeyFileError."""
    try:
        return PublicKey.from_pem(_read(path).decode("ascii"))
    except UnicodeDecodeError:
        raise _not_a_key(path, "public") from None
    except PolicyError as error:
        raise KeyFileError(f"{path}: {error.message}", remedy=_MAKE) from None


_MAKE = "make one: kubewright key new --out site.key"


def _read(path: Path, check: Callable[[os.stat_result], None] = lambda status: None) -> bytes:
    """The bytes of a regular file; ``check`` sees the status of what has been opened, not of a name that may change."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"cannot read the key {path}: {error.strerror}", remedy=_MAKE) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"the key {path} is no regular file", remedy=_MAKE)
        check(status)
        return os.read(descriptor, _LIMIT)
    finally:
        os.close(descriptor)


def _read_private(path: Path) -> bytes:
    """The same of a file that nobody but its owner can read or write. Raises KeyPermissionError."""

    def check(status: os.stat_result) -> None:
        if status.st_mode & 0o077:
            raise KeyPermissionError(
                f"the signing key {path} has mode {stat.S_IMODE(status.st_mode):04o}: others can read or write it",
                remedy=f"if nobody has read it: chmod 600 {path}; else make a new one and revoke this one in the policies",
            )

    return _read(path, check)


def _public_part(private: EllipticCurvePrivateKey) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return PublicKey(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _not_a_key(path: Path, kind: str = "private") -> KeyFileError:
    return KeyFileError(f"{path} holds no {kind} key in PEM", remedy=_MAKE)
