"""The policy: what a verifier trusts, in a TOML file that it holds itself.

Every section and key is required: what a policy does not say is refused, so that a forgotten line never means "anything".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from kubewright.model import tomlfile
from kubewright.model.decode import decode
from kubewright.model.schema import AtLeast, Doc, Key, NotEmpty, Pattern, Problem
from kubewright.verify.errors import PolicyError, PolicySectionError, SharedKeyError
from kubewright.verify.keys import PublicKey

FORMAT: Final = 1

Operator = Annotated[str, Pattern(r"[A-Za-z0-9][A-Za-z0-9._@-]*", "an operator's name (letters, digits, . _ @ -)")]
Fingerprint = Annotated[str, Pattern(r"sha256:[0-9a-f]{64}", "a fingerprint (sha256: and 64 lower-case hexadecimal digits)")]
Origin = Annotated[
    str,
    Pattern(
        r"(module|git|url|deb):[^\s*]+\*?|(module|git|url|deb):\*", "module:, git:, url: or deb: and a name; * at its end only"
    ),
]
Denied = Annotated[
    str,
    Pattern(
        r"[A-Za-z0-9][A-Za-z0-9.:+-]*( WITH [A-Za-z0-9][A-Za-z0-9.:-]*)?", "one SPDX identifier, or one WITH one exception"
    ),
]
Operators = Annotated[tuple[Operator, ...], NotEmpty("minItems")]


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and the operator who holds its private part."""

    operator: Annotated[Operator, Doc("Who signs with it. One operator may have several keys; they count once.")]
    public_key: Annotated[str, Doc("PEM, as in the .pub file that `kubewright key new` writes."), NotEmpty()]

    @property
    def key(self) -> PublicKey:
        """The key itself; loading a policy has checked it."""
        return PublicKey.from_pem(self.public_key)


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """A key that counts no more, whatever it has signed and whenever it says it did."""

    fingerprint: Annotated[Fingerprint, Doc("Of the key.")]
    reason: Annotated[str, Doc("Shown when the key is met."), NotEmpty()]


@dataclass(frozen=True, slots=True)
class ReleaseRule:
    """Who may sign a release, and how old it may be."""

    operators: Annotated[Operators, Doc("Who may sign lock, digests.toml and sequence.")]
    minimum_sequence: Annotated[int, Doc("Lowest sequence number; older releases are refused."), AtLeast(1)]
    unlisted: Annotated[
        Literal["allow", "refuse"],
        Doc("What to do with artifacts that the signed digests.toml does not list: two builds have not agreed on them."),
    ]


@dataclass(frozen=True, slots=True)
class ProvenanceRule:
    """Who may say how an artifact was built, and in what."""

    operators: Annotated[Operators, Doc("Who may sign provenance.")]
    builders: Annotated[
        tuple[Annotated[str, NotEmpty()], ...], Doc("Accepted runDetails.builder.id, exactly."), NotEmpty("minItems")
    ]


@dataclass(frozen=True, slots=True)
class SourceRule:
    """What artifacts may be made of. Where both lists say something, both have to hold."""

    locks: Annotated[tuple[Fingerprint, ...], Doc("Accepted SHA-256 of lockfile.toml. Empty: any that the release signs.")]
    allow: Annotated[
        tuple[Origin, ...],
        Doc("Accepted origins of sources, modules, toolchain and packages. Empty: all that the accepted locks pin."),
    ]


@dataclass(frozen=True, slots=True)
class RebuildRule:
    """How many operators have to have built the same bytes, each on their own."""

    threshold: Annotated[int, Doc("Distinct operators with distinct keys; the first builder counts."), AtLeast(1)]
    operators: Annotated[Operators, Doc("Whose builds count.")]
    silence: Annotated[
        Literal["allow", "refuse"],
        Doc("refuse: each of them has to be heard on each artifact, agreeing or not; a dissent cannot be taken out unnoticed."),
    ]


@dataclass(frozen=True, slots=True)
class SbomRule:
    """Whether each artifact has to come with a signed SBOM."""

    required: Annotated[bool, Doc("Refuse artifacts without one.")]
    formats: Annotated[tuple[Literal["cyclonedx", "spdx"], ...], Doc("Each of these formats is needed."), NotEmpty("minItems")]


@dataclass(frozen=True, slots=True)
class LicenceRule:
    """Which licences the SBOMs may name."""

    deny: Annotated[tuple[Denied, ...], Doc("SPDX identifiers; X WITH Y denies X with that exception only.")]
    unknown: Annotated[Literal["allow", "refuse"], Doc("What to do where an SBOM does not know a licence.")]


@dataclass(frozen=True, slots=True)
class StateRule:
    """Where the verifier remembers what it has seen."""

    file: Annotated[str, Doc("Relative to the policy: highest sequence and latest time seen."), NotEmpty()]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a verifier trusts. Every section is required; an empty list has to be written as one."""

    version: Annotated[Literal[1], Doc("Format of this file.")]
    keys: Annotated[tuple[TrustedKey, ...], Key("key"), Doc("Trusted keys."), NotEmpty("minItems")]
    revoked: Annotated[tuple[RevokedKey, ...], Doc("Revoked keys; `revoked = []` when there are none.")]
    release: Annotated[ReleaseRule, Doc("Releases.")]
    provenance: Annotated[ProvenanceRule, Doc("Provenance.")]
    sources: Annotated[SourceRule, Doc("Sources.")]
    rebuilds: Annotated[RebuildRule, Doc("Independent rebuilds.")]
    sbom: Annotated[SbomRule, Doc("SBOMs.")]
    licences: Annotated[LicenceRule, Doc("Licences.")]
    state: Annotated[StateRule, Doc("State.")]

    def key_of(self, fingerprint: str) -> TrustedKey | None:
        """The trusted key with that fingerprint, revoked or not."""
        return next((each for each in self.keys if each.key.fingerprint == fingerprint), None)

    def revoked_reason(self, fingerprint: str) -> str:
        """Why a key is revoked; empty when it is not."""
        return next((each.reason for each in self.revoked if each.fingerprint == fingerprint), "")


SECTIONS: Final = ("key", "revoked", "release", "provenance", "sources", "rebuilds", "sbom", "licences", "state")


def load_policy(path: Path) -> Policy:
    """The policy in the file ``path``; PolicyError with file, line and key of everything that is wrong."""
    return _from_document(tomlfile.read(path, PolicyError))


def parse_policy(text: str, name: str = "policy.toml") -> Policy:
    """The policy in ``text``; messages call it ``name``."""
    return _from_document(tomlfile.parse(text, name, PolicyError))


def _from_document(document: tomlfile.Document) -> Policy:
    missing = [section for section in SECTIONS if section not in document.data]
    if missing:
        raise PolicySectionError(
            f"{document.name}: there is no section {', '.join(missing)}",
            remedy="write it: what a policy does not say is refused, never assumed (docs/policy.md; kubewright policy new)",
        )
    problems: list[Problem] = []
    policy = decode(Policy, document.data, problems)
    if policy is None:
        raise document.failure(problems)
    found = [*_key_problems(policy)]
    if found:
        raise document.failure(found)
    _refuse_shared(policy, document)
    found = [*_operator_problems(policy), *_rule_problems(policy)]
    if found:
        raise document.failure(found)
    return policy


def _key_problems(policy: Policy) -> Iterator[Problem]:
    for index, each in enumerate(policy.keys):
        try:
            PublicKey.from_pem(each.public_key)
        except PolicyError as reason:
            yield Problem(("key", index, "public_key"), reason.message, reason.remedy)


def _refuse_shared(policy: Policy, document: tomlfile.Document) -> None:
    first: dict[str, TrustedKey] = {}
    for index, each in enumerate(policy.keys):
        known = first.setdefault(each.key.fingerprint, each)
        if known is not each:
            where = document.where(Problem(("key", index), ""))
            raise SharedKeyError(
                f"{where}: the key {each.key.fingerprint} of {each.operator!r} is there already, as that of {known.operator!r}",
                remedy="one key is one voice: leave it with the operator who holds it",
            )


def _operator_problems(policy: Policy) -> Iterator[Problem]:
    known = {each.operator for each in policy.keys if not policy.revoked_reason(each.key.fingerprint)}
    places = {
        "release": policy.release.operators,
        "provenance": policy.provenance.operators,
        "rebuilds": policy.rebuilds.operators,
    }
    for section, operators in places.items():
        for index, operator in enumerate(operators):
            path = (section, "operators", index)
            if operator in operators[:index]:
                yield Problem(path, f"{operator!r} is there twice", "an operator counts once")
            elif operator not in known:
                yield Problem(path, f"{operator!r} has no [[key]] that is not revoked", _known(known))


def _rule_problems(policy: Policy) -> Iterator[Problem]:
    if not policy.sources.locks and not policy.sources.allow:
        yield Problem(("sources",), "allows nothing: locks and allow are both empty", "name locks, or origins, or both")
    if policy.rebuilds.threshold > len(policy.rebuilds.operators):
        message = f"{policy.rebuilds.threshold} can never be met by {len(policy.rebuilds.operators)} operators"
        yield Problem(("rebuilds", "threshold"), message, "lower it, or name more operators")


def _known(operators: Iterable[str]) -> str:
    return f"operators with keys: {', '.join(sorted(operators)) or 'none'}"
