"""ECDSA P-256 SHA-256 vectors in the manner of Wycheproof: valid signatures, and everything that only looks like one.

Written by this file (``python tests/verify/vectors.py`` writes data/ecdsa_p256.json), not copied: keys and nonces are fixed,
so the file is the same each time. ``valid`` is what the standard says (SEC 1 with DER, X.690), not what a library does.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import ecdsa
from ecdsa.curves import BRAINPOOLP256r1, Curve, NIST256p, NIST384p, SECP256k1

FILE = Path(__file__).parent / "data" / "ecdsa_p256.json"
N = NIST256p.order
P = NIST256p.curve.p()
SECRET = 0x5EC2E7

Vector = dict[str, Any]


def integer(value: int, length: int | None = None) -> bytes:
    """A DER INTEGER; with ``length``, zeros in front that DER does not allow."""
    data = value.to_bytes((value.bit_length() // 8) + 1, "big")
    if length is not None:
        data = data.rjust(length, b"\0")
    return b"\x02" + bytes([len(data)]) + data


def sequence(*items: bytes) -> bytes:
    content = b"".join(items)
    return b"\x30" + bytes([len(content)]) + content


def spki(curve: Curve = NIST256p, secret: int = SECRET, encoding: str = "named_curve") -> bytes:
    key = ecdsa.SigningKey.from_secret_exponent(secret, curve).verifying_key
    return bytes(key.to_der(curve_parameters_encoding=encoding))


def sign(message: bytes, nonce: int = 0xC0FFEE) -> tuple[int, int]:
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    r = int((NIST256p.generator * nonce).x()) % N
    return r, pow(nonce, -1, N) * (digest + r * SECRET) % N


def vectors() -> list[Vector]:
    message = b"kubewright"
    r, s = sign(message)
    low, high = min(s, N - s), max(s, N - s)
    good = sequence(integer(r), integer(s))
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    found: list[Vector] = []

    def add(comment: str, signature: bytes, valid: bool, key: bytes | None = None, text: bytes = message) -> None:
        found.append(
            {
                "comment": comment,
                "key": (key or spki()).hex(),
                "message": text.hex(),
                "signature": signature.hex(),
                "valid": valid,
            }
        )

    def numbers(comment: str, first: int, second: int, valid: bool = False) -> None:
        add(comment, sequence(integer(first), integer(second)), valid)

    add("valid", good, True)
    numbers("s in the lower half", r, low, True)
    numbers("s in the upper half", r, high, True)
    add("an empty message", sequence(*map(integer, sign(b""))), True, text=b"")
    add("a message of 4,096 bytes", sequence(*map(integer, sign(b"x" * 4096))), True, text=b"x" * 4096)
    for index in range(8):  # r and s of many lengths
        text = b"message %d" % index
        add(f"valid, nonce {index + 3}", sequence(*map(integer, sign(text, index + 3))), True, text=text)
    add("valid, nonce 1/2", sequence(*map(integer, sign(message, pow(2, -1, N)))), True)

    for name, value in {"0": 0, "n": N, "n + 1": N + 1, "p": P, "2^256 - 1": (1 << 256) - 1}.items():
        numbers(f"r = {name}", value, s)
        numbers(f"s = {name}", r, value)
        numbers(f"r = s = {name}", value, value)
    numbers("r and s exchanged", s, r)
    numbers("r + n", r + N, s)
    numbers("s + n", r, s + N)
    numbers("r = s = 1", 1, 1)
    numbers("r - 1", r - 1, s)
    numbers("s + 1", r, s + 1)
    add("-r", sequence(b"\x02\x21" + (-r).to_bytes(33, "big", signed=True), integer(s)), False)
    add("-s", sequence(integer(r), b"\x02\x21" + (-s).to_bytes(33, "big", signed=True)), False)
    infinity = (-digest * pow(SECRET, -1, N)) % N
    numbers("u1 G + u2 Q is the point at infinity", infinity, s)
    add("another message", good, False, text=b"kubewrong")
    add("another key", good, False, key=spki(secret=SECRET + 1))
    add("the key's inverse point", good, False, key=spki(secret=N - SECRET))

    for name, signature in encodings(r, s, good).items():
        add(name, signature, False)

    zero = sequence(integer(r), integer(pow(0xC0FFEE, -1, N) * r * SECRET % N))
    add("a signature of the digest 0", zero, False)
    return found


def encodings(r: int, s: int, good: bytes) -> dict[str, bytes]:
    """The right numbers, written otherwise than DER."""
    body = good[2:]
    return {
        "empty": b"",
        "one byte": b"\x30",
        "r and s as 64 bytes (IEEE P1363)": r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        "BER: long form of the length": b"\x30\x81" + good[1:],
        "BER: length in two bytes": b"\x30\x82\x00" + good[1:],
        "BER: indefinite length": b"\x30\x80" + body + b"\0\0",
        "BER: r with zeros in front": sequence(integer(r, 34), integer(s)),
        "BER: s with zeros in front": sequence(integer(r), integer(s, 34)),
        "BER: long form of r's length": sequence(b"\x02\x81" + integer(r)[1:], integer(s)),
        "a byte behind": good + b"\0",
        "two bytes behind": good + b"\x05\0",
        "a NULL inside": sequence(integer(r), integer(s), b"\x05\0"),
        "three numbers": sequence(integer(r), integer(s), integer(1)),
        "one number": sequence(integer(r)),
        "no number": sequence(),
        "cut by a byte": good[:-1],
        "cut in r": good[:10],
        "length too small": b"\x30" + bytes([len(body) - 1]) + body,
        "length too large": b"\x30" + bytes([len(body) + 1]) + body,
        "a SET": b"\x31" + good[1:],
        "OCTET STRINGs": sequence(b"\x04" + integer(r)[1:], b"\x04" + integer(s)[1:]),
        "a number without bytes": sequence(b"\x02\0", integer(s)),
        "a sequence in a sequence": sequence(good),
        "hexadecimal text": good.hex().encode(),
        "huge length": b"\x30\x84\xff\xff\xff\xff" + body,
        "a number of 1,000 bytes": b"\x30\x82\x03\xf0\x02\x82\x03\xe8" + b"\x01" * 1000 + integer(s),
    }


def keys() -> list[Vector]:
    """Public keys: each is DER of a SubjectPublicKeyInfo, or something that resembles it."""
    good = spki()
    x, y = good[27:59], good[59:]
    flipped = y[:-1] + bytes([y[-1] ^ 1])
    compressed = bytes([2 + (y[-1] & 1)])
    cases = {
        "valid": (good, True),
        "point not on the curve": (good[:59] + flipped, False),
        "point at the origin": (good[:27] + bytes(64), False),
        "x = p": (good[:27] + P.to_bytes(32, "big") + y, False),
        "y = p": (good[:59] + P.to_bytes(32, "big"), False),
        "x and y all ones": (good[:27] + b"\xff" * 64, False),
        "point at infinity": (bytes.fromhex("3019301306072a8648ce3d020106082a8648ce3d03010703020000"), False),
        "compressed point": (
            bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + compressed + x,
            False,
        ),
        "hybrid point": (good[:26] + bytes([6 + (y[-1] & 1)]) + x + y, False),
        "a byte behind": (good + b"\0", False),
        "cut": (good[:-1], False),
        "unused bits": (good[:25] + b"\x01" + good[26:], False),
        "P-384": (spki(NIST384p), False),
        "secp256k1": (spki(SECP256k1), False),
        "brainpoolP256r1": (spki(BRAINPOOLP256r1), False),
        "explicit parameters": (
            spki(encoding="explicit"),
            False,
        ),
        "Ed25519": (bytes.fromhex("302a300506032b6570032100") + bytes(range(32)), False),
        "RSA": (bytes.fromhex("30819f300d06092a864886f70d010101050003818d00") + bytes(141), False),
        "empty": (b"", False),
    }  # fmt: skip
    return [{"comment": name, "key": key.hex(), "valid": valid} for name, (key, valid) in cases.items()]


def text() -> str:
    return json.dumps({"signatures": vectors(), "keys": keys()}, indent=1) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text())
