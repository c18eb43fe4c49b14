"""A commented policy to start from: the current lock, given public keys, everything strict."""

from __future__ import annotations

import json
from collections.abc import Sequence

from kubewright.verify.keys import PublicKey, groups_of_four

_TEXT = """\
# What this verifier trusts: docs/policy.md. Keep it outside of what it judges, where only you can write.
# Every section is needed; what is not said here is refused.
version = 1

# Keys that are revoked, for good: { fingerprint = "sha256:...", reason = "lost laptop" }
revoked = []
{keys}
[release]
operators = {operators}  # who may sign lockfile.toml, digests.toml and the sequence number
minimum_sequence = {sequence}  # lower ones are refused; so are lower ones than this verifier has seen
unlisted = "refuse"  # "allow": also take artifacts that digests.toml does not list (two builds have not agreed on them)

[provenance]
operators = {operators}  # who may say how an artifact was built
builders = [
    "urn:kubewright:builder:bubblewrap:v1",
    "urn:kubewright:builder:docker:v1",
]

[sources]
# Accepted lockfiles (SHA-256). Empty: any lock that the release signs; then allow has to say something.
locks = {locks}
# Accepted origins of everything that went in: module:PATH, git:URL, url:URL, deb:NAME; a * at the end stands for anything.
# Empty: all that the accepted locks pin.
allow = []

[rebuilds]
operators = {operators}  # whose builds count; each once, whatever number of keys they have
threshold = 1  # so many of them have to have built the same bytes; the first builder counts
silence = "allow"  # "refuse": each of them has to be heard on each artifact, so that no dissent is taken out unnoticed

[sbom]
required = true
formats = ["cyclonedx"]  # each of these is needed: cyclonedx, spdx

[licences]
deny = []  # SPDX identifiers, such as "AGPL-3.0-only"
unknown = "allow"  # "refuse": an SBOM has to know every licence

[state]
file = "last-seen.json"  # beside this file: the highest sequence and the latest time seen
"""


def new_policy(keys: Sequence[tuple[str, PublicKey]], lock_digest: str, sequence: int = 1) -> str:
    """The text of a policy that trusts ``keys`` (operator, key); ``lock_digest`` may be empty."""
    operators = _array(sorted({operator for operator, _ in keys}))
    values = {
        "{keys}": "".join(_key(operator, key) for operator, key in keys),
        "{operators}": operators,
        "{sequence}": str(sequence),
        "{locks}": _array([lock_digest] if lock_digest else []),
    }
    text = _TEXT
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _key(operator: str, key: PublicKey) -> str:
    fingerprint = groups_of_four(key.fingerprint)
    return f'\n# {fingerprint}\n[[key]]\noperator = {json.dumps(operator)}\npublic_key = """\n{key.pem}"""\n'


def _array(items: Sequence[str]) -> str:
    return json.dumps(list(items))
