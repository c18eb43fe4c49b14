"""Bundles that are as they should be, and bundles that are not: made from one good one, each with what was done to it.

Signed again where that is what an attacker with the key, or a careless signer, would do; otherwise as anybody can.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kubewright.canonical import canonical_json
from kubewright.trust.keys import SigningKey
from kubewright.trust.sign import sign_payload, sign_statement
from kubewright.verify.dsse import pae

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
IN_TOTO = "application/vnd.in-toto+json"

Json = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What mutants are made of: a statement about ``artifact``, and another one; our key, and somebody else's."""

    statement: Json
    other: Json
    key: SigningKey
    stranger: SigningKey

    @property
    def good(self) -> Json:
        parsed: Json = json.loads(sign_statement(self.statement, self.key))
        return parsed

    def edited(self, edit: Callable[[Json], object]) -> bytes:
        """The good bundle after ``edit`` of its parsed JSON."""
        bundle = self.good
        edit(bundle)
        return json.dumps(bundle).encode()

    def resigned(self, edit: Callable[[Json], object]) -> bytes:
        """A statement changed and signed with our key."""
        statement = json.loads(json.dumps(self.statement))
        edit(statement)
        return sign_statement(statement, self.key)

    def signature(self, change: Callable[[bytes], bytes]) -> bytes:
        old = base64.b64decode(self.good["dsseEnvelope"]["signatures"][0]["sig"])
        return self.edited(lambda bundle: signatures(bundle)[0].update(sig=b64(change(old))))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def signatures(bundle: Json) -> list[Json]:
    found: list[Json] = bundle["dsseEnvelope"]["signatures"]
    return found


def _with_s(signature: bytes, change: Callable[[int, int], tuple[int, int]]) -> bytes:
    return encode_dss_signature(*change(*decode_dss_signature(signature)))


def _certificate(key: SigningKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.private.public_key(), 1, now, now + timedelta(days=1))
    return b64(builder.sign(key.private, hashes.SHA256()).public_bytes(Encoding.DER))


def good(material: Material) -> Mapping[str, bytes]:
    """The same said in other words: everybody has to accept these."""
    m = material

    def reversed_keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reversed_keys(value[key]) for key in sorted(value, reverse=True)}
        return [reversed_keys(each) for each in value] if isinstance(value, list) else value

    return {
        "as we write it": sign_statement(m.statement, m.key),
        "indented": json.dumps(m.good, indent=4).encode(),
        "keys in another order": json.dumps(reversed_keys(m.good)).encode(),
        "statement indented, then signed": sign_payload(json.dumps(m.statement, indent=2).encode(), m.key),
        "no keyid": m.edited(lambda b: signatures(b)[0].pop("keyid")),
        "no tlogEntries, as protobuf writes an empty list": m.edited(lambda b: b["verificationMaterial"].pop("tlogEntries")),
        "the other s": m.signature(lambda old: _with_s(old, lambda r, s: (r, ORDER - s))),
        "JSON with escapes": json.dumps(m.good).replace("in-toto", "in\\u002dtoto").encode(),
    }


def bad(material: Material) -> Mapping[str, bytes]:
    """What has to be refused."""
    return {**_payloads(material), **_signatures(material), **_envelopes(material), **statements(material), **_bytes(material)}


def _payloads(m: Material) -> Mapping[str, bytes]:
    payload = canonical_json(m.statement)
    flipped = payload.replace(b'"_type"', b'"_tyqe"')
    return {
        "payload byte flipped": m.edited(lambda b: b["dsseEnvelope"].update(payload=b64(flipped))),
        "payload of another statement": m.edited(lambda b: b["dsseEnvelope"].update(payload=b64(canonical_json(m.other)))),
        "payload empty": m.edited(lambda b: b["dsseEnvelope"].update(payload="")),
        "payload missing": m.edited(lambda b: b["dsseEnvelope"].pop("payload")),
        "payload not base64": m.edited(lambda b: b["dsseEnvelope"].update(payload="*" + b["dsseEnvelope"]["payload"])),
        "payload type changed": m.edited(lambda b: b["dsseEnvelope"].update(payloadType="text/plain")),
        "payload type changed and signed": sign_payload(payload, m.key, "text/plain"),
        "payload type missing": m.edited(lambda b: b["dsseEnvelope"].pop("payloadType")),
    }


def _signatures(m: Material) -> Mapping[str, bytes]:
    payload = canonical_json(m.statement)
    message = pae(IN_TOTO, payload)
    ours = m.good["dsseEnvelope"]["signatures"][0]["sig"]
    foreign = b64(m.stranger.sign(message))
    sha512 = m.key.private.sign(message, ec.ECDSA(hashes.SHA512()))

    def raw(old: bytes) -> bytes:
        r, s = decode_dss_signature(old)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return {
        "signature of another statement": m.signature(lambda old: m.key.sign(pae(IN_TOTO, canonical_json(m.other)))),
        "signature bit flipped": m.signature(lambda old: old[:-1] + bytes([old[-1] ^ 1])),
        "signature truncated": m.signature(lambda old: old[:-1]),
        "signature with a byte behind it": m.signature(lambda old: old + b"\0"),
        "signature empty": m.edited(lambda b: signatures(b)[0].update(sig="")),
        "signature as r and s without DER": m.signature(raw),
        "signature of zeros": m.signature(lambda old: encode_dss_signature(0, 0)),
        "signature with r + n": m.signature(lambda old: _with_s(old, lambda r, s: (r + ORDER, s))),
        "signature with s + n": m.signature(lambda old: _with_s(old, lambda r, s: (r, s + ORDER))),
        "signature of the payload without its type": m.signature(lambda old: m.key.sign(payload)),
        "signature with SHA-512": m.signature(lambda old: sha512),
        "signature of another key under our hint": m.edited(lambda b: signatures(b)[0].update(sig=foreign)),
        "another key": sign_statement(m.statement, m.stranger),
        "hint of another key": m.edited(lambda b: b["verificationMaterial"]["publicKey"].update(hint=m.stranger.public.hint)),
        "a keyid, which nobody signs": m.edited(lambda b: signatures(b)[0].update(keyid="site")),
        "no signature": m.edited(lambda b: b["dsseEnvelope"].update(signatures=[])),
        "signature twice": m.edited(lambda b: signatures(b).append({"sig": ours, "keyid": ""})),
        "a second signature": m.edited(lambda b: signatures(b).append({"sig": foreign, "keyid": ""})),
        "another signature first": m.edited(lambda b: signatures(b).insert(0, {"sig": foreign, "keyid": ""})),
    }


def _envelopes(m: Material) -> Mapping[str, bytes]:
    certificate = {"certificate": {"rawBytes": _certificate(m.key)}, "tlogEntries": []}
    chain = {"x509CertificateChain": {"certificates": [{"rawBytes": _certificate(m.key)}]}, "tlogEntries": []}
    digest = {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(b"x").digest())}
    message = {"messageDigest": digest, "signature": b64(m.key.sign(b"x"))}
    return {
        "certificate of the very key": m.edited(lambda b: b.update(verificationMaterial=certificate)),
        "certificate chain of the very key": m.edited(lambda b: b.update(verificationMaterial=chain)),
        "certificate beside the key": m.edited(lambda b: b["verificationMaterial"].update(certificate)),
        "no verification material": m.edited(lambda b: b.pop("verificationMaterial")),
        "no envelope": m.edited(lambda b: b.pop("dsseEnvelope")),
        "message signature for the envelope": m.edited(lambda b: (b.pop("dsseEnvelope"), b.update(messageSignature=message))),
        "message signature beside the envelope": m.edited(lambda b: b.update(messageSignature=message)),
        "media type of no bundle": m.edited(lambda b: b.update(mediaType="application/json")),
        "media type missing": m.edited(lambda b: b.pop("mediaType")),
        "bundle v9": m.edited(lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle.v9+json")),
        "log entry of nothing": m.edited(lambda b: b["verificationMaterial"].update(tlogEntries=["x"])),
    }


def statements(m: Material) -> Mapping[str, bytes]:
    """What our key has signed and nobody should believe: an envelope is good, what is in it is not."""
    payload = canonical_json(m.statement)
    twice = payload.replace(b'{"_type":', b'{"_type":"x","_type":', 1)
    deep = b'{"_type":' + b"[" * 20000 + b"]" * 20000 + b"}"
    return {
        "statement of another type": m.resigned(lambda s: s.update(_type="https://in-toto.io/Statement/v9")),
        "statement without subjects": m.resigned(lambda s: s.update(subject=[])),
        "statement about another artifact": m.resigned(lambda s: s.update(subject=m.other["subject"])),
        "predicate of another type": m.resigned(lambda s: s.update(predicateType="https://spdx.dev/Document/v2.3")),
        "subject without digest": m.resigned(lambda s: s["subject"][0].pop("digest")),
        "no statement at all": sign_payload(b"hello", m.key),
        "statement with a key twice": sign_payload(twice, m.key),
        "statement with NaN": sign_payload(payload.replace(b'"predicate":{', b'"predicate":{"x":NaN,', 1), m.key),
        "statement nested deeply": sign_payload(deep, m.key),
        "statement not in UTF-8": sign_payload(payload.replace(b'"predicate":{', b'"predicate":{"\xff":1,', 1), m.key),
    }


def _bytes(m: Material) -> Mapping[str, bytes]:
    bundle = sign_statement(m.statement, m.key)
    foreign = json.dumps(json.loads(sign_statement(m.statement, m.stranger))["dsseEnvelope"]).encode()
    return {
        "nothing": b"",
        "truncated": bundle[:-40],
        "an array": b"[" + bundle.strip() + b"]",
        "two bundles": bundle + bundle,
        "envelope twice, the bad one last": bundle.strip()[:-1] + b',"dsseEnvelope":' + foreign + b"}",
        "not UTF-8": bundle.replace(b'"keyid":""', b'"keyid":"\xff"'),
        "UTF-16": bundle.decode().encode("utf-16"),
    }
