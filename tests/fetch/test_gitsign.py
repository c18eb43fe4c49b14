"""Signed tags: good is what a key of the recipe signed, whatever is in the user's key ring."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from loopback import GitRepository

from kubewright.errors import IntegrityError, SignatureMissingError
from kubewright.fetch import git, gitsign


@dataclass(frozen=True)
class Signer:
    """A key, and what makes git sign with it."""

    public: Path
    fingerprint: str
    settings: tuple[str, ...]
    env: dict[str, str]


def run(*command: str | Path, env: dict[str, str] | None = None, stdin: str = "") -> str:
    done = subprocess.run(command, env={**os.environ, **(env or {})}, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def gpg_signer(folder: Path, name: str) -> Signer:
    home = folder / name
    home.mkdir(0o700)
    env = {"GNUPGHOME": str(home)}
    parameters = (
        f"Key-Type: eddsa\nKey-Curve: ed25519\nName-Email: {name}@example.org\nExpire-Date: 0\n%no-protection\n%commit\n"
    )
    run("gpg", "--batch", "--quiet", "--gen-key", env=env, stdin=parameters)
    listed = run("gpg", "--batch", "--with-colons", "--list-keys", env=env)
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    public = folder / f"{name}.asc"
    public.write_text(run("gpg", "--batch", "--armor", "--export", env=env))
    return Signer(public, fingerprint, ("-c", f"user.signingKey={fingerprint}"), env)


def ssh_signer(folder: Path, name: str) -> Signer:
    key = folder / f"{name}-key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
    public = folder / f"{name}.signers"
    public.write_text(f"{name}@example.org {key.with_suffix('.pub').read_text()}")
    fingerprint = run("ssh-keygen", "-l", "-f", key).split()[1]
    return Signer(public, fingerprint, ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}"), {})


@pytest.fixture(params=[gpg_signer, ssh_signer])
def signer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Signer]:
    folder = tmp_path_factory.mktemp("k")
    return lambda name: request.param(folder, name)


def signed(origin: GitRepository, by: Signer, tag: str = "v1") -> git.Named:
    os.environ.update(by.env)
    try:
        origin.git(*by.settings, "tag", "-s", "-f", "-m", "signed", tag)
    finally:
        for name in by.env:
            del os.environ[name]
    return git.resolve(origin.url, f"refs/tags/{tag}")


def verify(origin: GitRepository, named: git.Named, keys: Path, folder: Path, tag: str = "v1") -> str:
    repository = folder / "r.git"
    wanted = git.origins(origin.url, {}, retries=0)
    git.fetch_commit(wanted, named.commit, ref=f"refs/tags/{tag}", repository=repository)
    git.fetch_tag(origin.url, tag, named.tag_object, repository=repository)
    return gitsign.verify_tag(repository, tag, named.tag_object, named.commit, keys)


def test_a_tag_signed_by_a_key_of_the_recipe(origin: GitRepository, signer: Callable[[str], Signer], tmp_path: Path) -> None:
    origin.commit({"a": "a"})
    alice = signer("alice")
    assert verify(origin, signed(origin, alice), alice.public, tmp_path) == alice.fingerprint


def test_a_tag_signed_by_somebody_else(origin: GitRepository, signer: Callable[[str], Signer], tmp_path: Path) -> None:
    origin.commit({"a": "a"})
    named = signed(origin, signer("mallory"))
    with pytest.raises(SignatureMissingError, match=r"not signed by a key in alice\.\w+: its signature is of none of them"):
        verify(origin, named, signer("alice").public, tmp_path)


def test_an_annotated_tag_without_a_signature(origin: GitRepository, signer: Callable[[str], Signer], tmp_path: Path) -> None:
    origin.commit({"a": "a"}, "v1", annotated=True)
    named = git.resolve(origin.url, "refs/tags/v1")
    with pytest.raises(SignatureMissingError, match="it has no signature"):
        verify(origin, named, signer("alice").public, tmp_path)


def test_a_signature_of_another_tag_or_commit(origin: GitRepository, signer: Callable[[str], Signer], tmp_path: Path) -> None:
    origin.commit({"a": "a"})
    alice = signer("alice")
    named = signed(origin, alice)
    verify(origin, named, alice.public, tmp_path)
    for tag, commit in (("v2", named.commit), ("v1", "1" * 40)):
        with pytest.raises(IntegrityError, match=f"is not the tag {tag} of {commit}"):
            gitsign.verify_tag(tmp_path / "r.git", tag, named.tag_object, commit, alice.public)


def test_a_signature_over_other_words(origin: GitRepository, signer: Callable[[str], Signer], tmp_path: Path) -> None:
    """The object is a tag of our commit, and its signature is real, but was made over another text."""
    origin.commit({"a": "a"})
    alice = signer("alice")
    named = signed(origin, alice)
    text = origin.git("cat-file", "tag", named.tag_object) + "\n"
    (tmp_path / "changed").write_text(text.replace("\nsigned\n", "\nsigned by Alice\n"))
    changed = origin.git("hash-object", "-t", "tag", "-w", str(tmp_path / "changed"))
    origin.git("update-ref", "refs/tags/v1", changed)
    with pytest.raises(SignatureMissingError, match="its signature is of none of them"):
        verify(origin, git.Named(named.commit, changed), alice.public, tmp_path)
