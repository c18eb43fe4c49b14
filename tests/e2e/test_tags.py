"""Tags of git sources as people meet them through ``./doit lock``: signed, by whom, and recorded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from loopback import GitRepository
from workshop import Workshop

from kubewright.errors import SignatureMissingError

STEP = '[[step]]\nrun = ["tool", "copy", "src/src/a", "out/x"]\n[[output]]\npath = "x"\nkind = "file"\n'


def key(folder: Path, name: str) -> Path:
    """An ssh key of ``name``; the public half is beside it."""
    made = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", made], check=True)
    return made


@pytest.fixture
def signed(shop: Workshop) -> Workshop:
    """A component of a repository whose tag alice signed; the recipe asks for a tag of hers."""
    alice = key(shop.folder, "alice")
    origin = GitRepository(shop.folder / "origins/big")
    origin.commit({"a": "a"})
    origin.git("-c", "gpg.format=ssh", "-c", f"user.signingKey={alice}", "tag", "-s", "-m", "signed", "v1.0.0")
    source = f'[[source]]\nname = "src"\nform = "tree"\ngit = "{origin.url}"\nsigned_by = "signers"\n'
    shop.recipe("x", source + STEP)
    shop.write("recipes/x/signers", f"alice@example.org {alice.with_suffix('.pub').read_text()}")
    return shop


def test_who_signed_a_tag_is_in_the_lock_and_told(signed: Workshop) -> None:
    signed.doit("lock:x")
    said = subprocess.run(["ssh-keygen", "-l", "-f", signed.folder / "alice.pub"], capture_output=True, text=True, check=True)
    assert signed.pin("x").signer == said.stdout.split()[1]
    assert signed.pin("x").tag_object == signed.git("big", {}).git("rev-parse", "refs/tags/v1.0.0")
    signed.doit("build:x")
    assert signed.pin("x").signer in signed.kubewright("why", "x").out


def test_a_tag_that_somebody_else_signed(signed: Workshop) -> None:
    mallory = key(signed.folder, "mallory")
    signed.write("recipes/x/signers", f"mallory@example.org {mallory.with_suffix('.pub').read_text()}")
    done = signed.doit("lock:x", status=SignatureMissingError.exit_code)
    assert "recipes/x/recipe.toml: source src: tag v1.0.0 is not signed by a key in signers" in done.err
    assert "find out who signs this upstream's tags before changing signers or `signed_by` in the recipe" in done.err
    assert "x" not in signed.project().lock.components
