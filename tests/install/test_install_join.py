"""Join material: short-lived, private, bound to one CA."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from contents import program

from kubewright.install.errors import JoinError
from kubewright.install.host import Host
from kubewright.install.join import JoinMaterial, ca_hash, load_join, new_join

GOOD: dict[str, Any] = {
    "version": 1,
    "endpoint": "192.0.2.10:6443",
    "ca_hashes": ["sha256:" + "0" * 64],
    "token": "abcdef.0123456789abcdef",
    "made": 1_999_998_200,
    "expires": 2_000_000_000,
}
NOW = 1_999_999_000


def written(path: Path, value: object, mode: int = 0o600) -> Path:
    path.write_text(json.dumps(value))
    path.chmod(mode)
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = load_join(written(tmp_path / "join", GOOD), now=NOW)
    assert found == JoinMaterial(
        "192.0.2.10:6443", ("sha256:" + "0" * 64,), "abcdef.0123456789abcdef", 1_999_998_200, 2_000_000_000
    )


def test_it_never_shows_its_token(tmp_path: Path) -> None:
    assert "0123456789abcdef" not in repr(load_join(written(tmp_path / "join", GOOD), now=NOW))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_others_may_not_read_or_write_it(tmp_path: Path, mode: int) -> None:
    with pytest.raises(JoinError, match="can be read by others"):
        load_join(written(tmp_path / "join", GOOD, mode), now=NOW)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    written(tmp_path / "join", GOOD)
    (tmp_path / "link").symlink_to("join")
    with pytest.raises(JoinError):
        load_join(tmp_path / "link", now=NOW)


def test_it_expires(tmp_path: Path) -> None:
    with pytest.raises(
        JoinError, match="has expired at 2033-05-18 03:33:20 UTC, and the clock of this host says 2033-05-18 03:33:21"
    ):
        load_join(written(tmp_path / "join", GOOD), now=2_000_000_001)


def test_a_clock_behind_the_control_planes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "join", GOOD)
    load_join(path, now=GOOD["made"] - 300)  # as much as kubeadm allows for
    with pytest.raises(
        JoinError, match="was made at 2033-05-18 03:03:20 UTC by the control plane's clock, and this host's says"
    ):
        load_join(path, now=GOOD["made"] - 301)


@pytest.mark.parametrize(
    "change",
    [
        {"token": "abcdef.0123456789abcde\n"},
        {"token": 7},
        {"endpoint": "192.0.2.10:6443 --insecure"},
        {"ca_hashes": []},
        {"ca_hashes": ["sha256:00"]},
        {"expires": "2999"},
        {"version": 2},
        {"version": True},
        {"version": 1.0},
        {"expires": True},
        {"expires": 10**30},
        {"made": -1},
        {"more": 1},
    ],
)
def test_anything_else_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(JoinError):
        load_join(written(tmp_path / "join", {**GOOD, **change}), now=NOW)


_NEW_CERTIFICATE = [
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-subj",
    "/CN=ca",
]


def certificate(folder: Path) -> str:
    subprocess.run(
        [*_NEW_CERTIFICATE, "-keyout", str(folder / "key"), "-out", str(folder / "ca.crt")],
        check=True,
        capture_output=True,
    )
    return (folder / "ca.crt").read_text()


def test_the_hash_is_that_of_the_public_key(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    key = subprocess.run(["openssl", "pkey", "-in", str(tmp_path / "key"), "-pubout", "-outform", "DER"], capture_output=True)
    import hashlib

    assert ca_hash(pem) == "sha256:" + hashlib.sha256(key.stdout).hexdigest()


@pytest.mark.parametrize("pem", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_no_certificate_no_hash(pem: str) -> None:
    with pytest.raises(JoinError):
        ca_hash(pem)


def test_a_new_file_of_mode_0600(host: Host, tmp_path: Path) -> None:
    control_plane(host, tmp_path)
    made = new_join(host, "192.0.2.10:6443", 30, tmp_path / "join")
    assert load_join(tmp_path / "join") == made
    assert (tmp_path / "join").stat().st_mode & 0o777 == 0o600


def test_no_file_is_overwritten(host: Host, tmp_path: Path) -> None:
    control_plane(host, tmp_path)
    (tmp_path / "join").write_text("mine")
    with pytest.raises(JoinError, match="exists"):
        new_join(host, "192.0.2.10:6443", 30, tmp_path / "join")
    assert (tmp_path / "join").read_text() == "mine"


def test_only_a_control_plane_gives_it(host: Host, tmp_path: Path) -> None:
    with pytest.raises(JoinError, match="is not there"):
        new_join(host, "192.0.2.10:6443", 30, tmp_path / "join")
    assert not (tmp_path / "join").exists()


def control_plane(host: Host, scratch: Path) -> None:
    files = {
        "etc/kubernetes/admin.conf": b"",
        "etc/kubernetes/pki/ca.crt": certificate(scratch).encode(),
        "var/lib/kubewright/current/bin/kubeadm": program("kubeadm"),
    }
    for path, data in files.items():
        (host.root / path).parent.mkdir(parents=True, exist_ok=True)
        (host.root / path).write_bytes(data)
    (host.root / "var/lib/kubewright/current/bin/kubeadm").chmod(0o755)
