"""What operators of a policy have signed of a mirror: the release in it, and its index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kubewright.fetch.mirror import INDEX
from kubewright.fetch.mirrorindex import Index
from kubewright.files.digest import sha256_bytes
from kubewright.mirror.errors import MirrorUnsignedError
from kubewright.mirror.statement import KIND, PREDICATE, read
from kubewright.verify import strictjson
from kubewright.verify.bundle import SUFFIX, parse_bundle
from kubewright.verify.check import verify_release
from kubewright.verify.dsse import pae
from kubewright.verify.errors import PolicyError, SignatureError
from kubewright.verify.facts import Signed
from kubewright.verify.pinned import Folder
from kubewright.verify.policy import Policy
from kubewright.verify.state import remember
from kubewright.verify.statement import Statement, parse_statement


def check_signed(
    root: Path, folder: Folder, index: Index, data: bytes, policy: Policy, policy_file: Path, now: Callable[[], float]
) -> tuple[str, ...]:
    """The operators who signed the index, after the release was verified.

    Raises RollbackError for an older release than one that was seen, VerifyErrors, MirrorUnsignedError.
    """
    state = policy_file.resolve().parent / policy.state.file
    for path in (policy_file.resolve(), state):
        if path.is_relative_to(root.resolve()):
            raise PolicyError(f"{path} lies in the mirror that it is to judge", remedy="keep policy and state elsewhere")
    said = _statements(folder, data, policy)
    release, seen = verify_release(root / index.releases[0].folder, policy, policy_file, now)
    for operator, statement, name in said:
        _compare(statement, name, operator, index, release)
    if not said:
        raise MirrorUnsignedError(
            f"no operator of the policy's [release] has signed {INDEX} as it is",
            remedy="where the mirror is made: set signing_key, ./doit sign mirror; and bring the signatures with it",
        )
    remember(state, seen)
    return tuple(sorted({operator for operator, _, _ in said}))


def _statements(folder: Folder, data: bytes, policy: Policy) -> list[tuple[str, Statement, str]]:
    """Operator, statement and file of each signature by a trusted key that may release; what others signed proves nothing."""
    found = []
    for name, is_folder in folder.names():
        if is_folder or not (name.startswith(f"{KIND}.") and name.endswith(SUFFIX)):
            continue
        bundle = parse_bundle(folder.read(name, strictjson.ENVELOPE.size), name)
        trusted = policy.key_of(bundle.hint)
        if trusted is None or policy.revoked_reason(bundle.hint) or trusted.operator not in policy.release.operators:
            continue
        if not trusted.key.verify(pae(bundle.payload_type, bundle.payload), bundle.signature):
            raise SignatureError(f"{name}: the payload is not what {trusted.operator} signed", remedy="bring it again")
        statement = parse_statement(bundle.payload, name)
        if statement.digests() == {INDEX: sha256_bytes(data)}:
            found.append((trusted.operator, statement, name))
    return found


def _compare(statement: Statement, name: str, operator: str, index: Index, release: Signed) -> None:
    if statement.predicate_type != PREDICATE:
        raise MirrorUnsignedError(f"{name}: {operator} signed {statement.predicate_type}, not {PREDICATE}")
    said, first = read(statement, name), index.releases[0]
    same = said.commit == first.commit and said.lock == first.lock and f"sha256:{said.lock}" == release.lock_digest
    if not same or said.sequence != release.release.sequence:
        raise MirrorUnsignedError(
            f"{name}: {operator} signed sequence {said.sequence} of lock {said.lock[:16]}, and the release is"
            f" sequence {release.release.sequence} of lock {release.lock_digest[7:23]}",
            remedy="where the mirror is made: ./doit sign mirror",
        )
