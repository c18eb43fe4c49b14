"""The real apt, against a signed archive made here, in a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kubewright.errors import IntegrityError, NetworkError, OriginError
from kubewright.fetch import apt
from kubewright.fetch.deb import download_packages
from kubewright.files.deb import unpack_root
from kubewright.model.lockfile import LockedPackage

needs_apt = pytest.mark.skipif(
    not all(map(shutil.which, ("apt-get", "gpg", "gpgv", "dpkg-deb"))), reason="needs apt, gpg and dpkg-deb"
)


class Archive:
    """A Debian archive with a suite ``test``, signed with a key of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root / "debian archive"
        self.home = root / "gnupg"
        self.home.mkdir(parents=True, mode=0o700)
        self.keyring = root / "keyring.gpg"
        self._gpg("--quick-gen-key", "--passphrase", "", "archive@test.example", "ed25519", "sign")
        self._gpg("--output", str(self.keyring), "--export")
        self.stanzas: list[str] = []

    @property
    def uri(self) -> str:
        return f"file://{self.root}".replace(" ", "%20")

    def _gpg(self, *arguments: str) -> None:
        subprocess.run(["gpg", "--homedir", self.home, "--batch", "--yes", *arguments], check=True, capture_output=True)

    def add(self, name: str, version: str, fields: str = "", architecture: str = "amd64") -> None:
        work = self.root.parent / "work"
        shutil.rmtree(work, ignore_errors=True)
        (work / "DEBIAN").mkdir(parents=True, mode=0o755)
        (work / "usr").mkdir()
        (work / "usr" / name).write_text(version)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: a <a@b.example>\n{fields}"
        (work / "DEBIAN" / "control").write_text(f"{control}Description: x\n")
        path = f"pool/main/{name[0]}/{name}/{name}_{version.rpartition(':')[2]}_{architecture}.deb"
        (self.root / path).parent.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-Zxz", "--build", work, self.root / path], check=True, capture_output=True)
        data = (self.root / path).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self.stanzas.append(f"{control}Description: x\nFilename: {path}\nSize: {len(data)}\nSHA256: {digest}\n")

    def publish(self, *, sign: bool = True, valid_until: str = "Mon, 01 Jan 2120 00:00:00 UTC") -> None:
        lines = []
        for architecture in ("amd64", "arm64"):
            index = self.root / f"dists/test/main/binary-{architecture}/Packages"
            index.parent.mkdir(parents=True, exist_ok=True)
            kept = [text for text in self.stanzas if f"Architecture: {architecture}" in text or "Architecture: all" in text]
            index.write_text("\n".join(kept))
            data = index.read_bytes()
            lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-{architecture}/Packages")
        release = self.root / "dists/test/Release"
        release.write_text(
            "Origin: Debian\nSuite: test\nCodename: test\nArchitectures: amd64 arm64\nComponents: main\n"
            f"Date: Mon, 01 Jan 2024 00:00:00 UTC\nValid-Until: {valid_until}\nSHA256:\n" + "\n".join(lines) + "\n"
        )
        if sign:
            self._gpg("--clearsign", "--output", str(release.with_name("InRelease")), str(release))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    made.add("gcc", "4:12.2.0-3+b1~x", "Depends: libc, doc\nRecommends: extra\nSuggests: extra\n")
    made.add("libc", "2.36")
    made.add("doc", "1", architecture="all")
    made.add("extra", "1")
    made.publish()
    return made


def resolve(archive: Archive, *packages: str, suite: str = "test", architecture: str = "amd64") -> list[LockedPackage]:
    return apt.resolve(suite, packages, architecture, archives=[archive.uri], keyring=str(archive.keyring))


@needs_apt
def test_a_set_is_resolved_without_recommendations_and_without_a_host(archive: Archive) -> None:
    found = resolve(archive, "gcc")
    assert [(each.name, each.version, each.architecture) for each in found] == [
        ("doc", "1", "all"),
        ("gcc", "4:12.2.0-3+b1~x", "amd64"),
        ("libc", "2.36", "amd64"),
    ]
    for each in found:
        data = (archive.root / each.path).read_bytes()
        assert (each.sha256, each.size) == (hashlib.sha256(data).hexdigest(), len(data))


@needs_apt
def test_what_is_resolved_can_be_fetched_and_unpacked(archive: Archive, tmp_path: Path) -> None:
    debs = download_packages(resolve(archive, "gcc"), [archive.uri], tmp_path / "debs", builder="cgo")
    unpack_root(debs, tmp_path / "root")
    assert (tmp_path / "root/usr/gcc").read_text() == "4:12.2.0-3+b1~x"


@needs_apt
def test_another_architecture_than_the_machine_s(archive: Archive) -> None:
    archive.add("only-arm", "1", architecture="arm64")
    archive.publish()
    assert [each.architecture for each in resolve(archive, "only-arm", architecture="arm64")] == ["arm64"]


@needs_apt
def test_an_unknown_package_or_suite_is_named(archive: Archive) -> None:
    with pytest.raises(OriginError, match="no package nosuch"):
        resolve(archive, "gcc", "nosuch")
    with pytest.raises(OriginError, match="suite nosuite"):
        resolve(archive, "gcc", suite="nosuite")


@needs_apt
def test_dependencies_that_cannot_be_met_are_an_origin_s_fault(archive: Archive) -> None:
    archive.add("broken", "1", "Depends: nosuch\n")
    archive.publish()
    with pytest.raises(OriginError, match="no set that fits together"):
        resolve(archive, "broken")


@needs_apt
def test_an_archive_signed_by_somebody_else_is_refused(archive: Archive, tmp_path: Path) -> None:
    other = Archive(tmp_path / "other")
    with pytest.raises(IntegrityError, match="does not accept its signatures"):
        apt.resolve("test", ["gcc"], "amd64", archives=[archive.uri], keyring=str(other.keyring))


@needs_apt
def test_an_unsigned_archive_is_refused(archive: Archive) -> None:
    (archive.root / "dists/test/InRelease").unlink()
    archive.publish(sign=False)
    with pytest.raises(IntegrityError, match="does not accept its signatures"):
        resolve(archive, "gcc")


@needs_apt
def test_an_index_that_is_not_the_signed_one_is_refused(archive: Archive) -> None:
    index = archive.root / "dists/test/main/binary-amd64/Packages"
    index.write_text(index.read_text().replace("Version: 2.36", "Version: 6.66"))
    with pytest.raises(IntegrityError, match="does not accept its signatures"):
        resolve(archive, "gcc")


@needs_apt
def test_a_release_out_of_date_is_said(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "_acquire_settings", list)  # a machine may be told to accept old archives
    archive.publish(valid_until="Tue, 02 Jan 2024 00:00:00 UTC")
    with pytest.raises(OriginError, match="out of date"):
        resolve(archive, "gcc")


@needs_apt
def test_an_archive_out_of_reach_is_the_network_s_fault(archive: Archive) -> None:
    with pytest.raises(NetworkError, match=r"suite test of http://nowhere\.invalid/debian"):
        apt.resolve("test", ["gcc"], "amd64", archives=["http://user:hunter2@nowhere.invalid/debian"])


@needs_apt
def test_neither_locale_nor_the_machine_s_settings_change_the_result(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = resolve(archive, "gcc")
    (tmp_path / "apt.conf").write_text(
        'APT::Install-Recommends "true";\nAPT::Update::Post-Invoke {"touch ' + f"{tmp_path}/pwned" + '";};\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    assert resolve(archive, "gcc") == before
    assert not (tmp_path / "pwned").exists()


def test_without_apt_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OriginError, match="apt is not on this machine") as caught:
        apt.archives()
    assert "debian_archives" in caught.value.remedy
    with pytest.raises(OriginError, match="apt is not on this machine"):
        apt.resolve("test", ["gcc"], "amd64")


# -- reading sources ----------------------------------------------------------------------------------------------

DEB822 = """\
# a comment
Types: deb
# http://h/elsewhere
URIs: http://h/debian http://h/second/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/a.gpg

Types: deb
URIs: http://h/inline
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
Suites: x
"""


@pytest.mark.parametrize(
    ("uri", "signed_by"),
    [
        ("http://h/debian/", "/usr/share/keyrings/a.gpg"),
        ("http://h/second", "/usr/share/keyrings/a.gpg"),
        ("http://h/elsewhere", ""),
        ("http://h/inline/", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----"),
    ],
)
def test_the_keyring_of_a_deb822_source(tmp_path: Path, uri: str, signed_by: str) -> None:
    (tmp_path / "debian.sources").write_text(DEB822)
    assert apt.signed_by(f"{tmp_path}/debian.sources:1", uri) == signed_by


@pytest.mark.parametrize(
    ("line", "signed_by"),
    [
        ("deb [arch=amd64 signed-by=/k.gpg] http://h/debian bookworm main", "/k.gpg"),
        ("deb http://h/debian bookworm main", ""),
        ("# deb [signed-by=/k.gpg] http://h/debian bookworm main", ""),
        ("deb-src [signed-by=/k.gpg] http://h/debian bookworm main", ""),
    ],
)
def test_the_keyring_of_a_line(tmp_path: Path, line: str, signed_by: str) -> None:
    (tmp_path / "sources.list").write_text(f"deb http://h/other x main\n{line}\n")
    assert apt.signed_by(f"{tmp_path}/sources.list:2", "http://h/debian/") == signed_by


@pytest.mark.network
@needs_apt
def test_this_machine_s_own_archive_gives_a_compiler() -> None:
    assert apt.archives()
    found = apt.resolve("bookworm", ["gcc", "libc6-dev"], os.environ.get("DEB_HOST_ARCH", "amd64"))
    assert {"gcc", "libc6-dev", "libc6"} <= {each.name for each in found}
    assert all(each.path.startswith("pool/") for each in found)
