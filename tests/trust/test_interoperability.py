"""Other people's verifiers and ours on the same bundles: cosign, the JavaScript @sigstore/verify.

What is good is accepted by all three. What one of them refuses, we refuse. Where only we refuse, the mutant is named here with
the reason: a list that can be read, and that a change on either side breaks.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mutants
import pytest
import tools

from kubewright.errors import KubewrightError, NetworkError
from kubewright.trust import keys
from kubewright.verify.bundle import parse_bundle
from kubewright.verify.dsse import pae
from kubewright.verify.errors import SignatureError as SignatureRefusedError
from kubewright.verify.errors import StatementError, UnknownKeyError
from kubewright.verify.keys import PublicKey
from kubewright.verify.statement import PROVENANCE, TYPE, parse_statement

pytestmark = pytest.mark.network

ARTIFACT = b"what was built\n"

#: accepted by cosign with the artifact and the type given, refused by us
STRICTER_THAN_COSIGN = {
    "hint of another key",  # a hint is not signed; our policy looks keys up by it, so it has to be right
    "predicate of another type",  # in spite of --type
    "statement of another type",
    "signature as r and s without DER",
}
#: accepted by @sigstore/verify, beside all statements: it looks at signatures and leaves those and the artifact to its caller
STRICTER_THAN_JAVASCRIPT = {
    "a keyid, which nobody signs",
    "certificate beside the key",
    "payload not base64",  # Buffer.from passes over what is none
    "payload type changed and signed",
}


def statement(name: str, content: bytes) -> dict[str, Any]:
    return {
        "_type": TYPE,
        "subject": [{"name": name, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}],
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {"buildType": "urn:x", "externalParameters": {}},
            "runDetails": {"builder": {"id": "urn:b"}},
        },
    }


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> mutants.Material:
    folder = tmp_path_factory.mktemp("keys")

    def key(name: str) -> keys.SigningKey:
        keys.create(folder / name, None)
        return keys.load(folder / name, lambda: "")

    return mutants.Material(statement("built", ARTIFACT), statement("other", b"other\n"), key("site.key"), key("other.key"))


def fetched(fetch: Callable[[], Any]) -> Any:
    """A tool; without a network the test is skipped, except in CI."""
    try:
        return fetch()
    except (NetworkError, subprocess.CalledProcessError):
        if os.environ.get("CI"):
            raise
        pytest.skip("no network to fetch the tool with")


@pytest.fixture(scope="module")
def files(material: mutants.Material, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Mutant -> its bundle on disk."""
    folder = tmp_path_factory.mktemp("bundles")
    found = {}
    for number, (name, data) in enumerate({**mutants.good(material), **mutants.bad(material)}.items()):
        found[name] = folder / f"{number}.sigstore.json"
        found[name].write_bytes(data)
    (folder / "artifact").write_bytes(ARTIFACT)
    (folder / "site.pub").write_text(material.key.public.pem)
    (folder / "root.json").write_text('{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    return found


@pytest.fixture(scope="module")
def cosign(files: dict[str, Path]) -> dict[str, str]:
    """Mutant -> why cosign refuses it; empty when it accepts."""
    command = fetched(tools.cosign)

    def ask(path: Path) -> str:
        folder = path.parent
        options = ["--key", folder / "site.pub", "--bundle", path, "--type", "slsaprovenance1", "--new-bundle-format"]
        options += ["--insecure-ignore-tlog", "--trusted-root", folder / "root.json", folder / "artifact"]
        run = subprocess.run(
            [*command, "verify-blob-attestation", *map(str, options)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
        return "" if run.returncode == 0 and "Verified OK" in run.stderr + run.stdout else run.stderr or "refused"

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(files, pool.map(ask, files.values()), strict=True))


@pytest.fixture(scope="module")
def javascript(files: dict[str, Path]) -> dict[str, str]:
    """Mutant -> why @sigstore/verify refuses it; empty when it accepts."""
    modules = fetched(tools.javascript)
    key = next(iter(files.values())).parent / "site.pub"
    script = tools.HERE / "js" / "verify.mjs"
    run = subprocess.run(
        ["node", str(script), str(modules), str(key), *map(str, files.values())], capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    return {name: answer.get("refused", "") for name, answer in zip(files, answers, strict=True)}


def ours(data: bytes, key: PublicKey) -> str:
    """Why we refuse a bundle; empty when we accept it."""
    try:
        bundle = parse_bundle(data)
        if bundle.hint != key.fingerprint:
            raise UnknownKeyError("another key")
        if not key.verify(pae(bundle.payload_type, bundle.payload), bundle.signature):
            raise SignatureRefusedError("does not fit")
        said = parse_statement(bundle.payload)
        if said.predicate_type != PROVENANCE or "sha256:" + hashlib.sha256(ARTIFACT).hexdigest() not in said.digests().values():
            raise StatementError("about something else")
    except KubewrightError as error:
        return f"{type(error).__name__}: {error.message}"
    return ""


def test_what_is_good_everybody_accepts(
    material: mutants.Material, files: dict[str, Path], cosign: dict[str, str], javascript: dict[str, str]
) -> None:
    for name, data in mutants.good(material).items():
        assert (name, ours(data, material.key.public), cosign[name], javascript[name]) == (name, "", "", "")


def test_what_is_bad_we_refuse(material: mutants.Material) -> None:
    accepted = [name for name, data in mutants.bad(material).items() if not ours(data, material.key.public)]
    assert accepted == []


def test_what_others_refuse_we_refuse(
    files: dict[str, Path], material: mutants.Material, cosign: dict[str, str], javascript: dict[str, str]
) -> None:
    refused = [name for name in files if cosign[name] or javascript[name]]
    assert len(refused) > 20
    assert [name for name in refused if not ours(files[name].read_bytes(), material.key.public)] == []


def test_where_we_are_stricter_is_known(
    material: mutants.Material, files: dict[str, Path], cosign: dict[str, str], javascript: dict[str, str]
) -> None:
    bad = mutants.bad(material)
    assert {name for name in bad if not cosign[name]} == STRICTER_THAN_COSIGN
    assert {name for name in bad if not javascript[name]} == STRICTER_THAN_JAVASCRIPT | set(mutants.statements(material))
