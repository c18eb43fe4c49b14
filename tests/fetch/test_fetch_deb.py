from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import files_of

from kubewright.errors import IntegrityError, NetworkError, OriginError
from kubewright.fetch.deb import download_packages
from kubewright.model.lockfile import LockedPackage

Serve = Callable[..., str]


def build_pool(root: Path, names: list[str]) -> list[LockedPackage]:
    """An archive's pool with one package per name, and their pins. A ``+`` and a ``~`` as real versions have them."""
    packages = []
    for name in names:
        data = name.encode() * 1000
        path = f"pool/main/{name[0]}/{name}/{name}_1.0+b1~rc1_amd64.deb"
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(data)
        packages.append(LockedPackage(name, "1.0+b1~rc1", "amd64", path, hashlib.sha256(data).hexdigest(), len(data)))
    return packages


def test_packages_arrive_in_the_order_of_the_lock(tmp_path: Path, serve: Serve) -> None:
    packages = build_pool(tmp_path / "archive", [f"p{number}" for number in range(20)])
    told: dict[str, tuple[int, int | None]] = {}
    paths = download_packages(
        packages,
        [serve(files_of(tmp_path / "archive")) + "/"],
        tmp_path / "into",
        builder="cgo",
        progress=lambda name, done, total: told.update({name: (done, total)}),
    )
    assert [path.read_bytes()[: len(package.name)].decode() for path, package in zip(paths, packages, strict=True)] == [
        package.name for package in packages
    ]
    assert set(told.values()) == {(package.size, package.size) for package in packages}


def test_any_archive_that_has_the_bytes_will_do(tmp_path: Path, serve: Serve) -> None:
    packages = build_pool(tmp_path / "one", ["a", "b"])
    (tmp_path / "two" / packages[1].path).parent.mkdir(parents=True)
    (tmp_path / "one" / packages[1].path).rename(tmp_path / "two" / packages[1].path)
    archives = [serve(files_of(tmp_path / "one")), f"file://{tmp_path}/two"]
    assert len(download_packages(packages, archives, tmp_path / "into", builder="cgo")) == 2


def test_a_package_that_vanished_names_itself_the_builder_and_the_remedy(tmp_path: Path, serve: Serve) -> None:
    packages = build_pool(tmp_path / "archive", ["a", "gcc"])
    (tmp_path / "archive" / packages[1].path).unlink()
    with pytest.raises(OriginError, match=r"package gcc 1\.0\+b1~rc1 \(amd64\) of builder cgo") as caught:
        download_packages(packages, [serve(files_of(tmp_path / "archive"))], tmp_path / "into", builder="cgo")
    assert "./doit lock:cgo" in caught.value.remedy


def test_a_package_with_other_bytes_is_refused(tmp_path: Path, serve: Serve) -> None:
    packages = build_pool(tmp_path / "archive", ["a"])
    data = bytearray((tmp_path / "archive" / packages[0].path).read_bytes())
    data[5] ^= 1
    (tmp_path / "archive" / packages[0].path).write_bytes(data)
    with pytest.raises(IntegrityError, match="other bytes than its pin"):
        download_packages(packages, [serve(files_of(tmp_path / "archive"))], tmp_path / "into", builder="cgo")
    assert list((tmp_path / "into").iterdir()) == []


def test_no_archive_and_no_network_are_two_things(tmp_path: Path) -> None:
    packages = build_pool(tmp_path / "archive", ["a"])
    with pytest.raises(OriginError, match="no Debian archive is known") as caught:
        download_packages(packages, [], tmp_path / "into", builder="cgo")
    assert "debian_archives" in caught.value.remedy
    with pytest.raises(NetworkError):
        download_packages(packages, ["http://nowhere.invalid/debian"], tmp_path / "into", builder="cgo", retries=0)
