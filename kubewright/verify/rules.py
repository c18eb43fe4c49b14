"""The decision: pure functions over what was found, what the policy asks, and what was seen before.

The first rule that does not hold is raised as its error; there is no way through but past all of them. The order is that of
the questions: is this the release, is it new enough, who built it, from what, who agrees, what is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

from kubewright.model.digestsfile import parse_digests
from kubewright.model.lockfile import parse_lock
from kubewright.verify.errors import (
    ArtifactUnknownError,
    BuilderRefusedError,
    ClockError,
    LicenceError,
    ProvenanceError,
    ReleaseError,
    RevokedKeyError,
    RollbackError,
    SbomError,
    SourceRefusedError,
    SubjectError,
    ThresholdError,
    UnknownKeyError,
    VerifyError,
)
from kubewright.verify.evidence import Evidence, Ignored
from kubewright.verify.facts import Accepted, Passed, Place, ReleaseFolder, Signed
from kubewright.verify.inputs import check_locked, check_origins
from kubewright.verify.policy import Policy
from kubewright.verify.provenance import Provenance
from kubewright.verify.rebuilds import Judge, check_rebuilds
from kubewright.verify.state import Seen
from kubewright.verify.statement import Subject

LOCK: Final = "lockfile.toml"
DIGESTS: Final = "digests.toml"
#: seconds that a clock may be earlier than last time: time servers correct by less
CLOCK_SLACK: Final = 120


def check_clock(now: int, seen: Seen) -> None:
    """ClockError when the verifier's clock is earlier than when it last verified something."""
    if now + CLOCK_SLACK < seen.time:
        raise ClockError(
            f"this machine's clock is {seen.time - now} seconds earlier than at the last verification",
            remedy="set the clock; if it was ahead then, restore the last-seen file from before",
        )


# -- the release --------------------------------------------------------------------------------------------------


def check_release(found: ReleaseFolder, lock: bytes, digests: bytes, policy: Policy, seen: Seen) -> Signed:
    """The release that an allowed operator signed: these very files, new enough. Raises the first rule's error."""
    by = _signers(found, policy)
    release = by[0].release
    assert release is not None  # gather() reads every release statement
    if release.sequence < policy.release.minimum_sequence:
        _refuse_old(by[0], release.sequence, policy.release.minimum_sequence, "the policy's minimum_sequence")
    if release.sequence < seen.sequence:
        _refuse_old(by[0], release.sequence, seen.sequence, "the sequence that was verified here before")
    lock_digest = found.files[LOCK]
    if policy.sources.locks and lock_digest not in policy.sources.locks:
        raise SourceRefusedError(
            f"release/{LOCK}: {lock_digest} is none of the policy's [sources] locks",
            remedy="review the lock's changes (kubewright diff), then add its digest to the policy",
        )
    return Signed(release, parse_lock(_text(lock), LOCK), lock_digest, parse_digests(_text(digests), DIGESTS), tuple(by))


def _signers(found: ReleaseFolder, policy: Policy) -> list[Evidence]:
    for name in (LOCK, DIGESTS):
        if name not in found.files:
            raise ReleaseError(f"release/{name} is not there", remedy="take the whole set from where it was signed")
    statements = [each for each in found.evidence if each.kind == "release"]
    allowed = [each for each in statements if each.operator in policy.release.operators]
    if not allowed:
        _refuse_absent(found.ignored, "release", "release", statements, ReleaseError)
    by = [each for each in allowed if each.digests() == dict(found.files)]
    if not by:
        raise ReleaseError(
            f"release/{_differing(allowed[0], found)} is not what {allowed[0].says} signed",
            remedy="take the folder release/ from where it was signed",
        )
    if any(each.release != by[0].release for each in by):
        raise ReleaseError(f"{by[0].says} and {by[1].says} signed different releases of the same files")
    return by


def _differing(statement: Evidence, found: ReleaseFolder) -> str:
    signed = statement.digests()
    names = sorted(signed.keys() | found.files.keys())
    return next(name for name in names if signed.get(name) != found.files.get(name))


def _refuse_old(statement: Evidence, sequence: int, lowest: int, why: str) -> NoReturn:
    raise RollbackError(
        f"{statement.file}: sequence {sequence} is lower than {lowest}, {why}",
        remedy="somebody offers an older release; ask for the current one",
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")  # what is not UTF-8 is no TOML that the lock's reader takes


# -- one component ------------------------------------------------------------------------------------------------


def check_place(place: Place, signed: Signed, policy: Policy) -> Accepted:
    """Everything but the bytes: what the files of a component have to be, and why. Raises the first rule's error."""
    _check_known(place, signed)
    good, refused = statements_of(place, signed, policy, judge)
    first = good[0]
    assert first.provenance is not None
    passed = [
        Passed(
            "release", signed.by[0].says, f"sequence {signed.release.sequence}, key {_short(first.provenance.external.key)}"
        ),
        Passed("provenance", first.says, f"builder {first.provenance.run.builder.id}"),
        *_listed(place, signed, first),
        Passed("sources", first.says, _sources_note(first.provenance, signed, policy)),
    ]
    agreed, dissent = check_rebuilds(place, first, good, refused, signed, policy, judge)
    boms, notes = check_sboms(place, first, policy)
    built = first.provenance.run.metadata.finished if first.provenance else ""
    return Accepted(place.path, _subjects(first), (*passed, agreed, *boms), dissent, (*map(str, refused), *notes), built)


def _check_known(place: Place, signed: Signed) -> None:
    keys = signed.release.components.get(place.component, {})
    locked = signed.lock.components.get(place.component)
    if place.platform not in keys or locked is None or locked.version != place.version:
        raise ArtifactUnknownError(
            f"{place.path} is not in the signed release",
            remedy="remove it from the set, or sign a release that has it",
        )


def statements_of(place: Place, signed: Signed, policy: Policy, judge: Judge) -> tuple[list[Evidence], list[VerifyError]]:
    """Statements of allowed operators that pass every rule, and why others do not."""
    statements = place.of_kind("provenance")
    allowed = [each for each in statements if each.operator in policy.provenance.operators]
    if not allowed:
        _refuse_absent(place.ignored, place.path, "provenance", statements, ProvenanceError)
    good: list[Evidence] = []
    refused: list[VerifyError] = []
    for statement in allowed:
        try:
            judge(statement, place, signed, policy)
        except VerifyError as reason:
            refused.append(reason)
        else:
            good.append(statement)
    if not good:
        raise refused[0]
    return _of_one_mind(good, place), refused


def _of_one_mind(good: list[Evidence], place: Place) -> list[Evidence]:
    """The statements that most operators make. They can differ only where digests.toml does not decide."""
    voices: dict[tuple[tuple[str, str], ...], set[str]] = {}
    for each in good:
        voices.setdefault(tuple(each.digests().items()), set()).add(each.operator)
    most, *others = sorted(voices.items(), key=lambda item: -len(item[1]))
    if others and len(others[0][1]) == len(most[1]):
        raise ThresholdError(
            f"{place.path}: {', '.join(sorted(most[1]))} and {', '.join(sorted(others[0][1]))} name different bytes, "
            "and digests.toml decides for neither",
            remedy="find out why the builds differ",
        )
    return [each for each in good if tuple(each.digests().items()) == most[0]]


def judge(statement: Evidence, place: Place, signed: Signed, policy: Policy) -> None:
    """Raise the first rule that one provenance statement does not satisfy by itself."""
    provenance = statement.provenance
    assert provenance is not None
    key = signed.release.components[place.component][place.platform]
    if provenance.external.key != key:
        raise ProvenanceError(
            f"{statement.file}: it is about a build of key {provenance.external.key}, the release has {key}",
            remedy="build and sign what the release names",
        )
    if provenance.run.builder.id not in policy.provenance.builders:
        raise BuilderRefusedError(
            f"{statement.file}: built by {provenance.run.builder.id}",
            remedy=f"the policy allows {', '.join(policy.provenance.builders)}",
        )
    _check_subjects(statement, place, signed, policy)
    check_locked(provenance, signed, statement.file)
    check_origins(provenance.inputs, policy, statement.file)


def _check_subjects(statement: Evidence, place: Place, signed: Signed, policy: Policy) -> None:
    listed = signed.digests.find(place.component, place.platform)
    if listed is None:
        if policy.release.unlisted == "refuse":
            raise SubjectError(
                f"{place.path}: the signed digests.toml does not list it",
                remedy=f'./doit accept:{place.component} after a rebuild, or unlisted = "allow" in the policy\'s [release]',
            )
        return
    said = statement.digests()
    for name in sorted(said.keys() ^ listed.outputs.keys()):
        where = "which digests.toml does not list" if name in said else "which digests.toml lists, is missing"
        raise SubjectError(
            f"{statement.file}: the subject {name}, {where}", remedy="take the statement from where it was signed"
        )
    if listed.key == statement.provenance.external.key and said != dict(listed.outputs):  # type: ignore[union-attr]
        name = next(name for name in sorted(said) if said[name] != listed.outputs[name])
        raise SubjectError(f"{statement.file}: {name} is {said[name]}, digests.toml says {listed.outputs[name]}")
    if listed.key != statement.provenance.external.key:  # type: ignore[union-attr]
        raise SubjectError(
            f"{place.path}: digests.toml lists another build (key {_short(listed.key)}) than the release",
            remedy=f"./doit accept:{place.component}, then sign again",
        )


def _listed(place: Place, signed: Signed, first: Evidence) -> list[Passed]:
    listed = signed.digests.find(place.component, place.platform)
    if listed is None:
        return [Passed("digests.toml", signed.by[0].says, "does not list it; the policy allows that")]
    return [Passed("digests.toml", signed.by[0].says, f"{len(listed.outputs)} outputs, the same as in {first.file}")]


def _sources_note(provenance: Provenance, signed: Signed, policy: Policy) -> str:
    origins = f", {len(policy.sources.allow)} patterns cover their origins" if policy.sources.allow else ""
    return f"{len(provenance.inputs)} inputs, those of the lock {_short(signed.lock_digest)}{origins}"


def _subjects(statement: Evidence) -> tuple[Subject, ...]:
    """The subjects with the kind and size that the predicate gives them."""
    assert statement.provenance is not None
    outputs = {output.path: output for output in statement.provenance.definition.internal.outputs}
    return tuple(
        Subject(subject.name, subject.sha256, outputs[subject.name].kind, outputs[subject.name].size)
        for subject in statement.subjects
    )


# -- SBOMs and licences -------------------------------------------------------------------------------------------


def check_sboms(place: Place, first: Evidence, policy: Policy) -> tuple[list[Passed], list[str]]:
    """Which SBOMs there are about these very files; raises SbomError, LicenceError."""
    passed: list[Passed] = []
    notes: list[str] = []
    for format_name in policy.sbom.formats:
        statements = [each for each in place.of_kind(format_name) if each.operator in policy.provenance.operators]
        if not statements:
            if policy.sbom.required:
                _refuse_absent(place.ignored, place.path, format_name, place.of_kind(format_name), SbomError)
            notes.append(f"{place.path}: no {format_name} SBOM; the policy does not require one")
            continue
        fitting = [each for each in statements if each.digests() == first.digests()]
        if not fitting:
            raise SbomError(
                f"{statements[0].file}: it is about other files than {place.path} has",
                remedy="take the SBOM from where the artifact was signed",
            )
        passed += [Passed(f"sbom {format_name}", each.says, f"{len(each.licences)} components") for each in fitting]
        passed += [_licences(each, policy) for each in fitting]
    if not passed and policy.licences.unknown == "refuse":
        raise LicenceError(
            f"{place.path}: no SBOM says its licences",
            remedy='the policy has unknown = "refuse" in [licences]: require an SBOM, or allow unknown licences',
        )
    return passed, notes


def _licences(statement: Evidence, policy: Policy) -> Passed:
    deny = frozenset(each.lower() for each in policy.licences.deny)
    for component, terms in sorted(statement.licences.items()):
        denied = terms.denied(deny)
        if denied:
            raise LicenceError(
                f"{statement.file}: {component} is under {', '.join(sorted(denied))}, which the policy denies",
                remedy="do without it, or take the licence out of the policy's [licences] deny",
            )
        if terms.unknown and policy.licences.unknown == "refuse":
            said = " AND ".join(terms.expressions)
            raise LicenceError(
                f"{statement.file}: nobody knows the licence of {component}" + (f" ({said[:200]})" if said else ""),
                remedy='find it out and sign again, or set unknown = "allow" in [licences]',
            )
    unknown = sum(terms.unknown for terms in statement.licences.values())
    return Passed("licences", statement.says, f"none of {len(deny)} denied; {unknown} unknown")


# -- shared -------------------------------------------------------------------------------------------------------


def _refuse_absent(
    ignored: Iterable[Ignored], where: str, kind: str, others: Sequence[Evidence], error: type[VerifyError]
) -> NoReturn:
    """No allowed operator says it: because the key is revoked, or unknown, or its operator may not, or nobody does."""
    near = [each for each in ignored if each.kind == kind]
    for standing, cls in (("revoked", RevokedKeyError), ("unknown", UnknownKeyError)):
        found = [each for each in near if each.standing == standing]
        if found:
            raise cls(f"{found[0].file}: {found[0].reason}", remedy="nothing else here says what this statement says")
    if others:
        raise error(f"{where}: {others[0].says} signed its {kind}, and the policy does not let them")
    raise error(f"{where}: there is no signed {kind}", remedy="take the whole set from where it was signed")


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:16]
