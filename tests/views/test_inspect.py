"""``kubewright inspect``: what a set says, shown as what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from project_builder import ProjectBuilder

from kubewright.building.outputs import artifact_directory
from kubewright.errors import UsageError
from kubewright.trust import keys
from kubewright.trust.keys import SigningKey
from kubewright.trust.publish import sign_component
from kubewright.trust.release import sign_release
from kubewright.trust.sign import sign_statement
from kubewright.views.inspect import WARNING, as_data, as_text, inspect


def new_key(path: Path) -> SigningKey:
    keys.create(path, None)
    return keys.load(path, lambda: "")


@pytest.fixture
def made(tmp_path: Path) -> ProjectBuilder:
    return ProjectBuilder(tmp_path / "p").component("runc").stack("kubernetes", ["runc"]).lock()


@pytest.fixture
def site(made: ProjectBuilder, tmp_path: Path) -> SigningKey:
    """A signed set with one component."""
    made.record("runc")
    made.write("release.toml", "sequence = 3\n").write("digests.toml", "version = 1\n\n# end of digests.toml\n")
    key = new_key(tmp_path / "site.key")
    sign(made, key)
    sign_release(made.project(), key)
    return key


def sign(made: ProjectBuilder, key: SigningKey) -> None:
    project = made.project()
    sign_component(project, project.component("runc"), key, lambda *_: {"sbom.cdx.json": b'{"bomFormat":"CycloneDX"}'})


def artifact(made: ProjectBuilder) -> Path:
    project = made.project()
    return artifact_directory(project, project.component("runc")) / "runc"


def test_a_set(made: ProjectBuilder, site: SigningKey) -> None:
    text = as_text(inspect(made.root / "artifacts"))
    assert "runc 1.0.0 linux/amd64\n" in text
    assert f"names key  {site.public.fingerprint}" in text
    assert "builder    urn:kubewright:builder:bubblewrap:v1" in text
    assert "sequence    3" in text
    assert made.record("runc").digests()["runc"] in text
    assert "DISSENT" not in text
    assert text.endswith(WARNING + "\n")


@pytest.mark.parametrize("path", ["runc", "runc/1.0.0", "runc/1.0.0/linux-amd64", "attestations/runc"])
def test_a_component_without_the_release(made: ProjectBuilder, site: SigningKey, path: str) -> None:
    found = inspect(made.root / "artifacts" / path)
    assert [each.kind for each in found] == ["cyclonedx", "provenance"]
    assert {each.about for each in found} == {"runc 1.0.0 linux/amd64"}


def test_a_file_is_known_by_its_digest(made: ProjectBuilder, site: SigningKey) -> None:
    path = artifact(made)
    assert [each.kind for each in inspect(path)] == ["cyclonedx", "provenance"]
    path.write_bytes(b"changed")
    with pytest.raises(UsageError, match=r"nobody in .* says anything about"):
        inspect(path)


def test_a_bundle(made: ProjectBuilder, site: SigningKey) -> None:
    path = next((made.root / "artifacts/release").glob("*.sigstore.json"))
    (said,) = inspect(path)
    assert (said.kind, said.facts) == ("release", {"sequence": "3", "components": "1"})
    data = as_data([said])
    assert data["verified"] is False
    assert json.loads(json.dumps(data))["bundles"][0]["signer"] == site.public.fingerprint


def test_dissent_stands_out(made: ProjectBuilder, site: SigningKey, tmp_path: Path) -> None:
    made.record("runc", content="another")
    sign(made, new_key(tmp_path / "other.key"))
    assert "DISSENT about runc: sha256:" in as_text(inspect(made.root / "artifacts"))


def test_what_cannot_be_read_is_said(made: ProjectBuilder, site: SigningKey) -> None:
    (made.root / "artifacts/release/x.sigstore.json").write_text("{}")
    assert "x.sigstore.json\n    cannot be read: " in as_text(inspect(made.root / "artifacts"))


def test_links_are_not_followed(made: ProjectBuilder, site: SigningKey) -> None:
    path = next((made.root / "artifacts/release").glob("*.sigstore.json"))
    path.with_name("link.sigstore.json").symlink_to(path)
    assert len(inspect(made.root / "artifacts/release")) == 1


def test_a_bundle_does_not_write_on_the_terminal(tmp_path: Path) -> None:
    """Escape sequences and characters that turn text around are shown, not sent."""
    evil = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "x", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"runDetails": {"builder": {"id": "\x1b[2Jverified\u202e"}, "metadata": {"finishedOn": "\nverified: y"}}},
    }
    path = tmp_path / "provenance.0.sigstore.json"
    path.write_bytes(sign_statement(evil, new_key(tmp_path / "key")))
    text = as_text(inspect(path))
    assert "\\u001b[2Jverified\\u202e" in text
    assert not [line for line in text.splitlines() if line.lstrip().startswith("verified")]
    assert text.replace("\n", "").isprintable()


def test_predicates_of_another_shape_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    odd = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "x", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": [], "runDetails": {"builder": "x", "metadata": None}},
    }
    path = tmp_path / "provenance.0.sigstore.json"
    path.write_bytes(sign_statement(odd, new_key(tmp_path / "key")))
    assert "? ? ?" in as_text(inspect(path))


@pytest.mark.parametrize("name", ["absent", "loose", "."])
def test_nothing_to_say(tmp_path: Path, name: str) -> None:
    (tmp_path / "loose").write_text("x")
    with pytest.raises(UsageError):
        inspect(tmp_path / name)


def test_the_commands(made: ProjectBuilder, site: SigningKey, tmp_path: Path) -> None:
    """key new, key show and inspect as people start them; no project is needed for them."""

    def run(*words: str, passphrase: str = "") -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("KUBEWRIGHT_")}
        env |= {"KUBEWRIGHT_KEY_PASSPHRASE": passphrase} if passphrase else {}
        command = [sys.executable, "-m", "kubewright.cli", *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    made_key = run("key", "new", "--out", "new.key", passphrase="a b c")
    fingerprint = made_key.stdout.split("fingerprint")[1].split()[0]
    assert (made_key.returncode, fingerprint) == (0, keys.load_public(tmp_path / "new.pub").fingerprint)
    assert fingerprint in run("key", "show", "new.pub").stdout
    assert "BEGIN PUBLIC KEY" in run("key", "show", "new.key", passphrase="a b c").stdout
    assert run("key", "show", "new.key", passphrase="wrong").returncode == 102
    assert run("key", "show", "new.key").returncode == 102  # encrypted, and nobody to ask
    (tmp_path / "new.key").chmod(0o644)
    assert run("key", "show", "new.key", passphrase="a b c").returncode == 101
    assert run("key", "new", "--out", "new.key", "--no-passphrase").returncode == 100
    assert run("key", "new", "--out", "other.key").returncode == 102  # no --no-passphrase, no terminal
    assert not (tmp_path / "other.key").exists()
    shown = run("inspect", str(made.root / "artifacts"))
    assert (shown.returncode, shown.stdout[-len(WARNING) - 1 :]) == (0, WARNING + "\n")
    assert json.loads(run("inspect", str(made.root / "artifacts"), "--json").stdout)["verified"] is False
