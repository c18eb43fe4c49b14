"""The site's signing key as tasks get it: settings say where, the environment or the terminal gives the passphrase."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path

from kubewright.errors import KeyFileError, PassphraseError
from kubewright.model.settings import Settings
from kubewright.trust.keys import PASSPHRASE_VARIABLE, SigningKey, load


def signing_key(settings: Settings) -> SigningKey:
    """Raises KeyFileError (none set), and what ``keys.load`` raises. Asked once in a process."""
    if settings.signing_key is None:
        raise KeyFileError(
            "no signing key is set",
            remedy='set signing_key = "site.key" in settings.toml, or KUBEWRIGHT_SIGNING_KEY; make one: '
            "kubewright key new --out site.key",
        )
    return _load(settings.signing_key)


@lru_cache
def _load(path: Path) -> SigningKey:
    return load(path, lambda: ask(f"Passphrase of {path}: "))


def ask(prompt: str) -> str:
    """The passphrase from the environment, else typed. Raises PassphraseError where there is no terminal."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise PassphraseError(
            "the key is encrypted, and there is no terminal to ask for its passphrase", remedy=f"set {PASSPHRASE_VARIABLE}"
        )
    from getpass import getpass

    return getpass(prompt)


def ask_twice(path: Path) -> str:
    """A new passphrase, typed twice; from the environment once. Raises PassphraseError."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    first = given if given is not None else ask(f"New passphrase for {path}: ")
    if not first:
        raise PassphraseError("the passphrase is empty", remedy="choose one, or say --no-passphrase")
    if given is None and ask("The same again: ") != first:
        raise PassphraseError("the two passphrases differ", remedy="type them again; nothing was written")
    return first
