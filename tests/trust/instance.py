"""A Sigstore instance in this process: Fulcio, a CT log, Rekor (v2) and a time-stamping authority on a loopback port.

Real keys, certificates, Merkle proofs and time stamps, made as the services make them; no database, and any identity token is
believed. ``trust_config`` is what a site would hand out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from ecdsa.der import encode_integer, encode_octet_string, encode_oid
from rfc3161_client import _rust

ISSUER = "https://issuer.example.org"
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_SIGSTORE = "1.3.6.1.4.1.57264.1."


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def token(identity: str, seconds: int = 600) -> str:
    """An OIDC token as an identity provider would give it to ``identity``."""
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": identity, "aud": "sigstore", "iat": now, "nbf": now, "exp": now + seconds}
    return jwt.encode(claims, "a key that is long enough for nobody to check", algorithm="HS256")


class Authority:
    """A root and what it issues."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._builder(_name(name), self.key.public_key(), _name(name), days=3650)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.root_certificate = (
            self.root.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name, days: float
    ) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc).replace(microsecond=0)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=5))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def leaf(self, key: ec.EllipticCurvePublicKey, subject: x509.Name, use: ObjectIdentifier) -> x509.CertificateBuilder:
        builder = self._builder(subject, key, self.root_certificate.subject, days=10 / 1440)
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        return (
            builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=use == ExtendedKeyUsageOID.TIME_STAMPING)
        )

    def in_trusted_root(self, *leaves: x509.Certificate) -> dict[str, Any]:
        chain = [*leaves, self.root_certificate]
        return {
            "subject": {"organization": "test", "commonName": "test"},
            "uri": "http://127.0.0.1",
            "certChain": {"certificates": [{"rawBytes": _base64(each.public_bytes(Encoding.DER))} for each in chain]},
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        }


class Log:
    """A key that signs what is logged, as the trusted root names it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = hashlib.sha256(_spki(self.key)).digest()

    def in_trusted_root(self, url: str) -> dict[str, Any]:
        key = {
            "rawBytes": _base64(_spki(self.key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        }
        return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": key, "logId": {"keyId": _base64(self.id)}}


# -- Fulcio and its CT log ----------------------------------------------------------------------------------------


class Fulcio(Authority):
    """Certificates of ten minutes for whoever has a token, each in the CT log (RFC 6962) before it goes out."""

    def __init__(self) -> None:
        super().__init__("fulcio")
        self.ctlog = Log()

    def issue(self, request: dict[str, Any], bearer: str) -> dict[str, Any]:
        claims = jwt.decode(bearer, options={"verify_signature": False})
        csr = x509.load_pem_x509_csr(base64.b64decode(request["certificateSigningRequest"]))
        builder = self.leaf(csr.public_key(), x509.Name([]), ExtendedKeyUsageOID.CODE_SIGNING)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(claims["sub"])]), critical=True)
        issuer = x509.UnrecognizedExtension(ObjectIdentifier(_SIGSTORE + "1"), claims["iss"].encode())
        builder = builder.add_extension(issuer, critical=False)
        before = builder.sign(self.key, hashes.SHA256())
        scts = x509.UnrecognizedExtension(_SCT_LIST, encode_octet_string(self._sct(before.tbs_certificate_bytes)))
        certificate = builder.add_extension(scts, critical=False).sign(self.key, hashes.SHA256())
        chain = [each.public_bytes(Encoding.PEM).decode() for each in (certificate, self.root_certificate)]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}

    def _sct(self, tbs: bytes) -> bytes:
        now = int(time.time() * 1000)
        entry = hashlib.sha256(_spki(self.key)).digest() + len(tbs).to_bytes(3, "big") + tbs
        signature = _sign(self.ctlog.key, struct.pack("!BBQH", 0, 0, now, 1) + entry + struct.pack("!H", 0))
        sct = struct.pack("!B32sQH", 0, self.ctlog.id, now, 0) + struct.pack("!BBH", 4, 3, len(signature)) + signature
        return struct.pack("!HH", len(sct) + 2, len(sct)) + sct


# -- Rekor --------------------------------------------------------------------------------------------------------


class Rekor(Log):
    """A transparency log of hashedrekord entries, v2: inclusion proof and signed checkpoint, no time."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[bytes] = []
        self._lock = threading.Lock()

    def add(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = request["hashedRekordRequestV002"]
        data = {"algorithm": "SHA2_256", "digest": asked["digest"]}
        spec = {"hashedRekordV002": {"data": data, "signature": asked["signature"]}}
        body = json.dumps({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}, sort_keys=True).encode()
        with self._lock:
            self.leaves.append(hashlib.sha256(b"\0" + body).digest())
            index, leaves = len(self.leaves) - 1, list(self.leaves)
        root = _tree(leaves)
        note = f"rekor.test\n{len(leaves)}\n{_base64(root)}\n"
        signature = _base64(self.id[:4] + _sign(self.key, note.encode()))
        return {
            "logIndex": str(index),
            "logId": {"keyId": _base64(self.id)},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": _base64(root),
                "treeSize": str(len(leaves)),
                "hashes": [_base64(each) for each in _proof(index, leaves)],
                "checkpoint": {"envelope": f"{note}\n— rekor.test {signature}\n"},
            },
            "canonicalizedBody": _base64(body),
        }


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    at = _split(len(leaves))
    return hashlib.sha256(b"\1" + _tree(leaves[:at]) + _tree(leaves[at:])).digest()


def _proof(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    at = _split(len(leaves))
    if index < at:
        return [*_proof(index, leaves[:at]), _tree(leaves[at:])]
    return [*_proof(index - at, leaves[at:]), _tree(leaves[:at])]


# -- time stamps --------------------------------------------------------------------------------------------------


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    return bytes([tag]) + (size if len(body) < 128 else bytes([128 + len(size)]) + size) + body


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, *parts)


def _oid(text: str) -> bytes:
    return bytes(encode_oid(*map(int, text.split("."))))


_SHA256 = _sequence(_oid("2.16.840.1.101.3.4.2.1"))
_TST_INFO = _oid("1.2.840.113549.1.9.16.1.4")


class TimeStamps(Authority):
    """RFC 3161 responses: a TSTInfo in CMS SignedData (RFC 5652)."""

    def __init__(self) -> None:
        super().__init__("tsa")
        self.leaf_key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.leaf(self.leaf_key.public_key(), _name("tsa leaf"), ExtendedKeyUsageOID.TIME_STAMPING).sign(
            self.key, hashes.SHA256()
        )

    def stamp(self, query: bytes) -> bytes:
        asked = _rust.parse_timestamp_request(query)
        moment = datetime.now(timezone.utc).strftime("%Y%m%d%H%M%SZ").encode()
        info = _sequence(
            encode_integer(1),
            _oid("1.3.6.1.4.1.57264.2"),
            _sequence(_SHA256, encode_octet_string(asked.message_imprint.message)),
            encode_integer(int(time.time() * 1e6)),
            _der(0x18, moment),
            *([encode_integer(asked.nonce)] if asked.nonce is not None else []),
        )
        signed = _sequence(
            encode_integer(3),
            _der(0x31, _SHA256),
            _sequence(_TST_INFO, _der(0xA0, encode_octet_string(info))),
            _der(0xA0, self.certificate.public_bytes(Encoding.DER)),
            _der(0x31, self._signer(info)),
        )
        content = _sequence(_oid("1.2.840.113549.1.7.2"), _der(0xA0, signed))
        return _sequence(_sequence(encode_integer(0)), content)

    def _signer(self, info: bytes) -> bytes:
        certificate = hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()
        attributes = [
            ("1.2.840.113549.1.9.3", _TST_INFO),
            ("1.2.840.113549.1.9.4", encode_octet_string(hashlib.sha256(info).digest())),
            ("1.2.840.113549.1.9.16.2.47", _sequence(_sequence(_sequence(encode_octet_string(certificate))))),
        ]
        encoded = sorted(_sequence(_oid(oid), _der(0x31, value)) for oid, value in attributes)
        return _sequence(
            encode_integer(1),
            _sequence(self.certificate.issuer.public_bytes(), encode_integer(self.certificate.serial_number)),
            _SHA256,
            _der(0xA0, *encoded),
            _sequence(_oid("1.2.840.10045.4.3.2")),
            encode_octet_string(_sign(self.leaf_key, _der(0x31, *encoded))),
        )


# -- the instance -------------------------------------------------------------------------------------------------


class Instance:
    """All services behind one port; ``requests`` counts what was asked of them."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.fulcio, self.rekor, self.tsa = Fulcio(), Rekor(), TimeStamps()
        self.requests = 0

    def answer(self, path: str, body: bytes, bearer: str) -> tuple[str, bytes]:
        self.requests += 1
        if path == "/api/v1/timestamp":
            return "application/timestamp-reply", self.tsa.stamp(body)
        asked = json.loads(body)
        answer = self.rekor.add(asked) if path == "/api/v2/log/entries" else self.fulcio.issue(asked, bearer)
        return "application/json", json.dumps(answer).encode()

    def trust_config(self) -> dict[str, Any]:
        def service(path: str, version: int) -> list[dict[str, Any]]:
            start = {"start": "2020-01-01T00:00:00Z"}
            return [{"url": self.url + path, "majorApiVersion": version, "validFor": start, "operator": "test"}]

        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [self.rekor.in_trusted_root(self.url)],
                "certificateAuthorities": [self.fulcio.in_trusted_root()],
                "ctlogs": [self.fulcio.ctlog.in_trusted_root(self.url)],
                "timestampAuthorities": [self.tsa.in_trusted_root(self.tsa.certificate)],
            },
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": service("", 1),
                "oidcUrls": service("", 1),
                "rekorTlogUrls": service("", 2),
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": service("/api/v1/timestamp", 1),
                "tsaConfig": {"selector": "ANY"},
            },
        }


@contextmanager
def running() -> Iterator[Instance]:
    """The instance, as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            kind, answer = instance.answer(self.path, body, bearer)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        instance = Instance(server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield instance
        finally:
            server.shutdown()
