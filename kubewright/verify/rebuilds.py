"""m of n: how many operators built the same bytes, each on their own, and who got others.

What counts is an operator, once, whatever number of keys and files speak for them; the policy cannot give one key to two. An
operator whose statements contradict each other counts for nothing. A build counts once as well, whoever signs it: statements
with one invocationId are about one build.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubewright.verify.errors import ProvenanceError, SilenceError, ThresholdError, VerifyError
from kubewright.verify.evidence import Evidence
from kubewright.verify.facts import Dissent, Passed, Place, Signed
from kubewright.verify.policy import Policy

Judge = Callable[[Evidence, Place, Signed, Policy], None]


def check_rebuilds(
    place: Place,
    first: Evidence,
    good: Sequence[Evidence],
    refused: list[VerifyError],
    signed: Signed,
    policy: Policy,
    judge: Judge,
) -> tuple[Passed, tuple[Dissent, ...]]:
    """The threshold's result and every dissent; raises ThresholdError or SilenceError.

    Adds to ``refused`` why a voice does not count.
    """
    voices = [each for each in place.of_kind("provenance") if each.key and each.key == first.key]
    dissent = tuple(_dissent(place, first, each) for each in voices if each.digests() != first.digests())
    dissenting = {each.operator for each in voices if each.digests() != first.digests()}
    agreeing: dict[str, list[Evidence]] = {}
    for voice in voices:
        if voice.operator not in dissenting and _counts(voice, place, good, refused, signed, policy, judge):
            agreeing.setdefault(voice.operator, []).append(voice)
    agreed = [agreeing[name] for name in policy.rebuilds.operators if name in agreeing]
    counted = _independent(agreed, refused)
    shared = len(agreed) - len(counted)
    _check_voices(place, counted, dissenting | agreeing.keys(), dissent, refused, policy, shared)
    note = f"{len(counted)} of {len(policy.rebuilds.operators)} agree, {policy.rebuilds.threshold} needed"
    return Passed("rebuilds", " and ".join(each[0].says for each in counted), note), dissent


def _counts(
    voice: Evidence,
    place: Place,
    good: Sequence[Evidence],
    refused: list[VerifyError],
    signed: Signed,
    policy: Policy,
    judge: Judge,
) -> bool:
    if voice in good:
        return True
    if voice.operator in policy.provenance.operators:
        return False  # judged already, and refused
    try:
        judge(voice, place, signed, policy)
    except VerifyError as reason:
        refused.append(reason)
        return False
    return True


def _independent(agreeing: Sequence[Sequence[Evidence]], refused: list[VerifyError]) -> list[Sequence[Evidence]]:
    """As many operators as can be given a build each that no other one stands for; the others go to ``refused``."""
    builder: dict[str, int] = {}  # invocation -> whose it is

    def find(index: int, tried: set[str]) -> bool:
        for voice in agreeing[index]:
            build = voice.invocation
            if build in tried:
                continue
            tried.add(build)
            if build not in builder or find(builder[build], tried):
                builder[build] = index
                return True
        return False

    counted = []
    for index, statements in enumerate(agreeing):
        if find(index, set()):
            counted.append(statements)
        else:
            refused.append(
                ProvenanceError(
                    f"{statements[0].file}: {statements[0].operator} signs the very build that another operator signed "
                    f"({statements[0].invocation})"
                )
            )
    return counted


def _check_voices(
    place: Place,
    counted: Sequence[Sequence[Evidence]],
    heard: set[str],
    dissent: Sequence[Dissent],
    refused: Sequence[VerifyError],
    policy: Policy,
    shared: int,
) -> None:
    silent = [operator for operator in policy.rebuilds.operators if operator not in heard]
    lines = [*(f"dissent: {each}" for each in dissent), *(f"not counted: {each}" for each in refused)]
    details = "\n".join([*lines, *(f"not counted: {each.file}: {each.reason}" for each in place.ignored)])
    if len(counted) < policy.rebuilds.threshold:
        agree = ", ".join(map(_voice, counted)) or "nobody"
        raise ThresholdError(
            f"{place.path}: {agree} of {', '.join(policy.rebuilds.operators)} agree: "
            f"{len(counted)} of {policy.rebuilds.threshold} that the policy asks for"
            + (f"; {len(dissent)} dissent" if dissent else "")
            + (f"; {shared} more signed the very same build" if shared else ""),
            remedy="have another operator rebuild it (./doit attest)" if not dissent else "find out why the builds differ",
            details=details,
        )
    if silent and policy.rebuilds.silence == "refuse":
        raise SilenceError(
            f"{place.path}: {', '.join(silent)} says nothing about it",
            remedy='the policy has silence = "refuse" in [rebuilds]: a dissent may have been taken out; ask them',
            details=details,
        )


def _voice(statements: Sequence[Evidence]) -> str:
    keys = len({each.fingerprint for each in statements})
    return statements[0].operator + (f" (with {keys} keys, counted once)" if keys > 1 else "")


def _dissent(place: Place, first: Evidence, voice: Evidence) -> Dissent:
    ours, theirs = first.digests(), voice.digests()
    names = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    return Dissent(place.path, voice.says, {name: (ours.get(name, ""), theirs.get(name, "")) for name in names})
