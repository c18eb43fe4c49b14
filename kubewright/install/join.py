"""Join material: what a worker needs to find the control plane, to know that it is the right one, and to be let in.

A JSON file of mode 0600 with endpoint, hashes of the CA's public key (kubeadm's discovery-token-ca-cert-hash) and a token
that is good for a short time. The token goes through pipes and private files, never through arguments or logs.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubewright.files.digest import sha256_bytes
from kubewright.install.errors import JoinError
from kubewright.install.host import Host
from kubewright.install.plan import current
from kubewright.verify import strictjson
from kubewright.verify.errors import VerifyError

FORMAT: Final = 1
CA: Final = "/etc/kubernetes/pki/ca.crt"
_LIMITS: Final = strictjson.Limits(size=65536, string=8192, depth=4, values=200)
_TOKEN: Final = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_ENDPOINT: Final = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}")
#: of the year 9999, the last that a time can be written in
_LAST: Final = 253_402_300_799
#: kubeadm dates certificates back by so many seconds
_CLOCKS_DIFFER: Final = 300
_REMEDY: Final = "make new join material on the control plane: kubewright join-token --out FILE"


@dataclass(frozen=True, slots=True)
class JoinMaterial:
    """``made`` and ``expires``: seconds since 1970 by the control plane's clock. ``repr`` leaves the token out."""

    endpoint: str
    ca_hashes: tuple[str, ...]
    token: str
    made: int
    expires: int

    def __repr__(self) -> str:
        return f"JoinMaterial(endpoint={self.endpoint!r}, ca_hashes={self.ca_hashes!r}, expires={self.expires})"


def load_join(path: Path, now: float | None = None) -> JoinMaterial:
    """The material in ``path``. Raises JoinError: readable by others, damaged, expired, made later than it is here."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as reason:
        raise JoinError(f"{path}: {reason.strerror}", remedy=_REMEDY) from None
    with open(handle, "rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise JoinError(
                f"{path} can be read by others (mode {stat.S_IMODE(mode):04o})", remedy=f"{_REMEDY}; keep it at 0600"
            )
        data = stream.read(_LIMITS.size + 1)
    try:
        value = strictjson.loads(data, _LIMITS, str(path))
    except VerifyError as reason:
        raise JoinError(reason.message, remedy=_REMEDY) from None
    material = _material(value, path)
    _in_time(material, path, time.time() if now is None else now)
    return material


def _in_time(material: JoinMaterial, path: Path, now: float) -> None:
    """Hosts whose clocks differ do not accept each other's certificates; the material is what tells the other's clock."""
    if now > material.expires:
        raise JoinError(
            f"{path} has expired at {_utc(material.expires)} UTC, and the clock of this host says {_utc(now)}",
            remedy=f"{_REMEDY}; where a clock is wrong, set it first",
        )
    if now < material.made - _CLOCKS_DIFFER:
        raise JoinError(
            f"{path} was made at {_utc(material.made)} UTC by the control plane's clock, and this host's says {_utc(now)}",
            remedy="set the clock that is wrong: all nodes have to agree",
        )


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _material(value: object, path: Path) -> JoinMaterial:
    keys = {"version", "endpoint", "ca_hashes", "token", "made", "expires"}
    if not isinstance(value, dict) or set(value) != keys or not strictjson.is_version(value["version"], FORMAT):
        raise JoinError(f"{path} is no join material", remedy=_REMEDY)
    hashes = value["ca_hashes"]
    fits = (
        isinstance(value["endpoint"], str)
        and _ENDPOINT.fullmatch(value["endpoint"])
        and isinstance(value["token"], str)
        and _TOKEN.fullmatch(value["token"])
        and isinstance(hashes, list)
        and hashes
        and all(isinstance(each, str) and _HASH.fullmatch(each) for each in hashes)
        and all(strictjson.is_integer(value[each]) and 0 <= value[each] <= _LAST for each in ("made", "expires"))
    )
    if not fits:
        raise JoinError(f"{path} is damaged", remedy=_REMEDY)
    return JoinMaterial(value["endpoint"], tuple(hashes), value["token"], value["made"], value["expires"])


def new_join(host: Host, endpoint: str, minutes: int, out: Path) -> JoinMaterial:
    """Ask the API server for a token and write the material to the new file ``out``. Raises JoinError."""
    from kubewright.install.kubernetes import ADMIN

    if not host.path(ADMIN).is_file():
        raise JoinError(f"{ADMIN} is not there", remedy="join-token runs on a control plane")
    hashes = (ca_hash(host.path(CA).read_text("ascii")),)
    handle = _new_file(out)
    try:
        with open(handle, "w") as stream:
            result = host.run((current("bin/kubeadm"), "--kubeconfig", ADMIN, "token", "create", "--ttl", f"{minutes}m"))
            token = result.output.strip()
            if result.status or not _TOKEN.fullmatch(token):
                raise JoinError("kubeadm token create gave no token", details="\n".join(result.errors.splitlines()[-10:]))
            now = int(time.time())
            material = JoinMaterial(endpoint, hashes, token, now, now + minutes * 60)
            stream.write(_as_text(material))
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return material


def _as_text(material: JoinMaterial) -> str:
    value = {
        "version": FORMAT,
        "endpoint": material.endpoint,
        "ca_hashes": list(material.ca_hashes),
        "token": material.token,
        "made": material.made,
        "expires": material.expires,
    }
    return json.dumps(value, indent=1) + "\n"


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise JoinError(f"{path} exists", remedy="join material is written to a new file") from None
    except OSError as reason:
        raise JoinError(f"{path}: {reason.strerror}") from None


def ca_hash(pem: str) -> str:
    """``sha256:`` of the DER of a certificate's SubjectPublicKeyInfo, as kubeadm pins it (RFC 7469)."""
    found = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.DOTALL)
    try:
        der = base64.b64decode("".join(found.group(1).split()), validate=True) if found else b""
        certificate = _value(der)
        rest = _value(certificate)  # tbsCertificate
        for index in range(7):
            whole, rest = _split(rest)
            if index == 0 and whole[0] != 0xA0:  # version is left out in v1 certificates
                rest = whole + rest
        # after version, serialNumber, signature, issuer, validity, subject: subjectPublicKeyInfo is what was split off last
    except (ValueError, IndexError, binascii.Error):
        raise JoinError("the cluster's CA certificate cannot be read", remedy=f"look at {CA}") from None
    return sha256_bytes(whole)


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The first DER element of ``data``, and what follows it."""
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    end = start + length
    if len(data) < end:
        raise ValueError("cut off")
    return data[:end], data[end:]


def _value(data: bytes) -> bytes:
    """What is in the first DER element."""
    whole, _ = _split(data)
    head = 2 + (whole[1] & 0x7F if whole[1] & 0x80 else 0)
    return whole[head:]
