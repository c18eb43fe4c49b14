"""Every way to tamper with a signed set: what is done, and the error that refuses it.

The table of docs/security.md is generated from ``CASES``; test_tamper.py runs them, each behind a control: the same set and
policy pass before the tampering and would pass without it.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setbuilder import SetBuilder, from_h1, h1, hexadecimal, key_id, place, public_key, signature, signed

from kubewright.canonical import canonical_json
from kubewright.errors import KeyPermissionError, KubewrightError
from kubewright.verify import errors

Act = Callable[..., object]


def nothing(made: SetBuilder) -> None:
    """No preparation."""


def verify_all(made: SetBuilder, **options: Any) -> None:
    made.verify(**{"workers": 1, **options})  # one after the other: what an attacker does meanwhile has its moment


@dataclass(frozen=True, slots=True)
class Case:
    """One class of tampering. ``arrange`` makes the control's set, which passes; ``tamper`` is the only difference."""

    name: str
    what: str
    error: type[KubewrightError]
    tamper: Act
    arrange: Act = nothing
    run: Act = verify_all


# -- tools --------------------------------------------------------------------------------------------------------


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def rewrite(made: SetBuilder, change: Callable[[dict], object], kind: str = "provenance", component: str = "etcd") -> None:
    """Change the JSON of a bundle as somebody without the key can."""
    path = made.bundle(component, kind, "site")
    bundle = json.loads(path.read_text())
    change(bundle)
    path.write_text(json.dumps(bundle))


def resign(made: SetBuilder, payload: bytes) -> None:
    """Put a payload, whatever it is, in the place of etcd's provenance, validly signed."""
    made.bundle("etcd", "provenance", "site").write_bytes(signed(payload, "site"))


def payload_of(path: Path) -> bytes:
    return base64.b64decode(json.loads(path.read_text())["dsseEnvelope"]["payload"])


def inputs_of(statement: dict) -> list[dict]:
    return statement["predicate"]["buildDefinition"]["resolvedDependencies"]


def other_bytes(statement: dict) -> None:
    statement["subject"][0]["digest"]["sha256"] = hexadecimal("other bytes")


def hear_third(made: SetBuilder) -> None:
    """2 of 3, where the third dissents; each has to be heard."""
    made.write_policy(operators="operators = OPERATORS")
    text = made.policy_text(silence='silence = "refuse"')
    made.policy.write_text(text.replace('operators = ["site", "second"]', 'operators = ["site", "second", "third"]'))
    for component in ("etcd", "runc"):
        made.sign_provenance(component, "third", other_bytes if component == "etcd" else lambda statement: None)


# -- the files ----------------------------------------------------------------------------------------------------


def flip(made: SetBuilder) -> None:
    edit(made.output("etcd", "etcd"), lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])


def truncate(made: SetBuilder) -> None:
    edit(made.output("etcd", "etcd"), lambda data: data[:-1])


def swap(made: SetBuilder) -> None:
    shutil.copyfile(made.output("runc", "runc"), made.output("etcd", "etcd"))


def add_file(made: SetBuilder) -> None:
    (made.set / place("etcd") / "etcdutl").write_bytes(b"\x7fELF who made this?")


def remove_file(made: SetBuilder) -> None:
    made.output("etcd", "etcdctl").unlink()


def link_artifact(made: SetBuilder) -> None:
    path = made.output("etcd", "etcd")
    path.rename(made.root / "elsewhere")
    path.symlink_to(made.root / "elsewhere")


def link_folder(made: SetBuilder) -> None:
    folder = made.attestations / "etcd"
    folder.rename(made.root / "elsewhere")
    folder.symlink_to(made.root / "elsewhere")


def pipe(made: SetBuilder) -> None:
    os.mkfifo(made.set / place("etcd") / "pipe")


def dots(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        statement["subject"][0]["name"] = "../../../../etc/passwd"

    made.sign_provenance("etcd", "site", change)


def swap_while_verifying(made: SetBuilder) -> None:
    """Somebody moves other bytes to the name after the good ones were opened."""
    done: list[str] = []

    def watch(path: str) -> None:
        if path.endswith("/etcdctl") and not done:
            done.append(path)
            other = made.root / "other"
            other.write_bytes(made.output("runc", "runc").read_bytes())
            first = made.output("etcd", "etcd")
            other.rename(first)

    made.watch = watch


# -- bundles ------------------------------------------------------------------------------------------------------


def change_payload(made: SetBuilder) -> None:
    def change(bundle: dict) -> None:
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        other_bytes(statement)
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(canonical_json(statement)).decode()

    rewrite(made, change)


def take_signature(made: SetBuilder) -> None:
    other = json.loads(made.bundle("runc", "provenance", "site").read_text())["dsseEnvelope"]["signatures"]
    rewrite(made, lambda bundle: bundle["dsseEnvelope"].update(signatures=other))


def extra_signature(made: SetBuilder) -> None:
    payload = payload_of(made.bundle("etcd", "provenance", "site"))
    second = {"sig": base64.b64encode(signature(payload, "second")).decode(), "keyid": ""}
    rewrite(made, lambda bundle: bundle["dsseEnvelope"]["signatures"].append(second))


def no_signature(made: SetBuilder) -> None:
    rewrite(made, lambda bundle: bundle["dsseEnvelope"].update(signatures=[]))


def payload_type(made: SetBuilder) -> None:
    path = made.bundle("etcd", "provenance", "site")
    path.write_bytes(signed(payload_of(path), "site", "application/json"))


def certificate(made: SetBuilder) -> None:
    chain = {"certificate": {"rawBytes": base64.b64encode(b"certificate").decode()}}
    rewrite(made, lambda bundle: bundle.update(verificationMaterial=chain))


def unknown_key(made: SetBuilder) -> None:
    made.bundle("etcd", "provenance", "site").unlink()
    made.sign_provenance("etcd", "mallory")


def revoke(made: SetBuilder) -> None:
    fingerprint = public_key("second").fingerprint
    made.policy.write_text(
        made.policy.read_text().replace(
            "revoked = []", f'revoked = [{{ fingerprint = "{fingerprint}", reason = "stolen laptop" }}]'
        )
    )


def second_also_first(made: SetBuilder) -> None:
    """Provenance by a key that is not revoked yet: site has two keys."""
    text = made.policy.read_text().replace('operator = "second"', 'operator = "site"')
    made.policy.write_text(
        text.replace('operators = ["site", "second"]', 'operators = ["site"]').replace("threshold = 2", "threshold = 1")
    )
    for component in ("etcd", "runc"):
        made.bundle(component, "provenance", "site").unlink()


def shared_key(made: SetBuilder) -> None:
    text = made.policy.read_text()
    made.policy.write_text(text.replace(public_key("second").pem, public_key("site").pem))


def predicate_swapped(made: SetBuilder) -> None:
    shutil.copyfile(made.bundle("etcd", "cyclonedx", "site"), made.bundle("etcd", "provenance", "site"))


def wrong_place(made: SetBuilder) -> None:
    shutil.copyfile(made.bundle("runc", "provenance", "site"), made.bundle("etcd", "provenance", "site"))


def not_a_bundle(made: SetBuilder) -> None:
    rewrite(made, lambda bundle: bundle.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"))


# -- JSON ---------------------------------------------------------------------------------------------------------


def payload_with(old: bytes, new: bytes) -> Act:
    def tamper(made: SetBuilder) -> None:
        payload = payload_of(made.bundle("etcd", "provenance", "site"))
        assert old in payload
        resign(made, payload.replace(old, new, 1))

    return tamper


def duplicate_key(made: SetBuilder) -> None:
    path = made.bundle("etcd", "provenance", "site")
    edit(path, lambda data: data.replace(b'"payloadType":', b'"payloadType":"application/json","payloadType":', 1))


# -- what statements say ------------------------------------------------------------------------------------------


def widen(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        statement["subject"].append({"name": "backdoor", "digest": {"sha256": hexadecimal("backdoor")}})
        outputs = statement["predicate"]["buildDefinition"]["internalParameters"]["outputs"]
        outputs.append({"path": "backdoor", "kind": "program", "size": 8})

    made.sign_provenance("etcd", "site", change)


def other_builder(made: SetBuilder) -> None:
    made.sign_provenance("etcd", "site", sandbox="laptop")


def other_key(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        statement["predicate"]["buildDefinition"]["externalParameters"]["key"] = f"sha256:{hexadecimal('other key')}"

    made.sign_provenance("etcd", "site", change)


def foreign_source(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        uri = "pkg:golang/evil.example/zap@v1.27.0"
        inputs_of(statement).append(
            {"name": "evil.example/zap@v1.27.0", "uri": uri, "digest": {"dirHash1": from_h1(h1("evil"))},
             "annotations": {"kubewright_kind": "module"}}
        )  # fmt: skip

    made.sign_provenance("etcd", "site", change)


def other_lock(made: SetBuilder) -> None:
    made.write_policy(locks=f'locks = ["sha256:{hexadecimal("the lock that was reviewed")}"]')


def patch_added(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        inputs_of(statement).append(
            {"name": "patches/etcd/0002-backdoor.patch", "digest": {"sha256": hexadecimal("backdoor")},
             "annotations": {"kubewright_kind": "patch"}}
        )  # fmt: skip

    made.sign_provenance("etcd", "site", change)


def patch_left_out(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        inputs_of(statement)[:] = [each for each in inputs_of(statement) if each["annotations"]["kubewright_kind"] != "patch"]

    made.sign_provenance("etcd", "site", change)


def lock_changed(made: SetBuilder) -> None:
    edit(made.release / "lockfile.toml", lambda data: data.replace(hexadecimal("patch").encode(), hexadecimal("x").encode()))


def digests_changed(made: SetBuilder) -> None:
    edit(
        made.release / "digests.toml",
        lambda data: data.replace(made.digest("etcd", "etcd").encode(), hexadecimal("x").encode()),
    )


def unsigned_release(made: SetBuilder) -> None:
    made.release_bundle().unlink()
    made.sign_release("second")


def foreign_component(made: SetBuilder) -> None:
    shutil.copytree(made.set / "etcd", made.set / "etcd2")


def not_listed(made: SetBuilder) -> None:
    text = (made.release / "digests.toml").read_text()
    start, end = text.index("[component.runc"), text.index("# end of")
    (made.release / "digests.toml").write_text(text[:start] + text[end:])
    made.sign_release()


def sbom_of_another(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        statement["subject"] = made.subjects("runc")

    made.sign_sbom("etcd", change=change)


def sbom_missing(made: SetBuilder) -> None:
    made.bundle("etcd", "cyclonedx", "site").unlink()


def sbom_document_changed(made: SetBuilder) -> None:
    path = made.attestations / place("etcd") / "sbom.cdx.json"
    edit(path, lambda data: data.replace(b"MIT", b"ISC"))


def denied_licence(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        statement["predicate"]["components"][0]["licenses"] = [
            {"expression": "MIT AND (ISC OR AGPL-3.0-only) AND agpl-3.0-ONLY"}
        ]

    made.sign_sbom("etcd", change=change)


def partly_unknown_licence(made: SetBuilder) -> None:
    def change(statement: dict) -> None:
        statement["predicate"]["components"][0]["licenses"] = [
            {"expression": "MIT AND (ISC OR LicenseRef-unknown-0123456789abcdef)"}
        ]

    made.sign_sbom("etcd", change=change)


def unknown_licence(made: SetBuilder) -> None:
    made.sign_sbom("etcd", change=lambda statement: statement["predicate"]["components"][0].pop("licenses"))


# -- over time and over operators ---------------------------------------------------------------------------------


def older(made: SetBuilder) -> None:
    made.sign_release(sequence=6)


def below_minimum(made: SetBuilder) -> None:
    made.write_policy(minimum_sequence="minimum_sequence = 8")


def clock_back(made: SetBuilder) -> None:
    made.now -= 86400


def state_damaged(made: SetBuilder) -> None:
    made.state.write_text('{"version": 1, "sequence": 0')


def one_short(made: SetBuilder) -> None:
    made.bundle("etcd", "provenance", "second").unlink()


def two_keys_of_one(made: SetBuilder) -> None:
    """The second voice is the first operator's other key."""
    made.bundle("etcd", "provenance", "second").unlink()
    text = made.policy.read_text().replace('operator = "third"', 'operator = "site"')
    made.policy.write_text(text)
    made.sign_provenance("etcd", "third")


def same_build(made: SetBuilder) -> None:
    """Two operators, two keys, one build: the second has signed what the first one's store says."""

    def change(statement: dict) -> None:
        first = json.loads(payload_of(made.bundle("etcd", "provenance", "site")))
        statement["predicate"]["runDetails"]["metadata"] = first["predicate"]["runDetails"]["metadata"]

    made.sign_provenance("etcd", "second", change)


def dissent(made: SetBuilder) -> None:
    made.sign_provenance("etcd", "second", other_bytes)


def hide_dissent(made: SetBuilder) -> None:
    made.bundle("etcd", "provenance", "third").unlink()


def disguise_dissent(made: SetBuilder) -> None:
    """The dissent is still there, under a name that says it is something else."""
    path = made.bundle("etcd", "provenance", "third")
    path.rename(path.with_name(f"note.{key_id('third')}.sigstore.json"))


# -- the policy and the key ---------------------------------------------------------------------------------------


def missing_section(made: SetBuilder) -> None:
    text = made.policy.read_text()
    start, end = text.index("[rebuilds]"), text.index("[sbom]")
    made.policy.write_text(text[:start] + text[end:])


def missing_rule(made: SetBuilder) -> None:
    made.policy.write_text(made.policy.read_text().replace("minimum_sequence = 1\n", ""))


def policy_in_the_set(made: SetBuilder) -> None:
    inside = made.set / "etcd" / "site.toml"
    shutil.copyfile(made.policy, inside)
    made.policy = inside


def make_key_file(made: SetBuilder) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from setbuilder import private_key

    path = made.root / "site.key"
    path.write_bytes(private_key("site").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)


def load_key(made: SetBuilder) -> None:
    from kubewright.trust.keys import load

    load(made.root / "site.key", lambda: "")


CASES = (
    Case("artifact byte flipped", "one bit of a program changes", errors.ArtifactChangedError, flip),
    Case("artifact truncated", "a program loses its last byte", errors.ArtifactTruncatedError, truncate),
    Case("artifact swapped", "another signed program lies in its place", errors.ArtifactSwappedError, swap),
    Case("file added", "a program that nobody signed lies beside the others", errors.ArtifactUnknownError, add_file),
    Case("component added", "a folder that the release does not have", errors.ArtifactUnknownError, foreign_component),
    Case("file missing", "a signed program is not there", errors.ArtifactMissingError, remove_file),
    Case("symbolic link", "an artifact is a link to its own bytes elsewhere", errors.UnsafeSetError, link_artifact),
    Case("symbolic link to a folder", "a folder of statements is a link", errors.UnsafeSetError, link_folder),
    Case("pipe", "a pipe lies among the artifacts", errors.UnsafeSetError, pipe),
    Case("../ in a layout", "a subject is called ../../../../etc/passwd, validly signed", errors.UnsafeSetError, dots),
    Case(
        "file swapped while being verified",
        "other bytes are renamed over a file after it was opened",
        errors.FileReplacedError,
        swap_while_verifying,
    ),
    Case("statement payload changed", "a digest in a signed statement changes", errors.SignatureError, change_payload),
    Case("signature of another statement", "it is taken from another bundle", errors.ForeignSignatureError, take_signature),
    Case("extra signature", "a second valid signature is added", errors.SignatureCountError, extra_signature),
    Case("no signature", "the list of signatures is empty", errors.SignatureCountError, no_signature),
    Case("wrong payloadType", "the envelope is signed as application/json", errors.PayloadTypeError, payload_type),
    Case("certificate on the key path", "a bundle brings a certificate", errors.CertificateError, certificate),
    Case("another bundle version", "the media type is that of v0.2", errors.BundleError, not_a_bundle),
    Case("unknown key", "provenance is signed by a key that the policy does not have", errors.UnknownKeyError, unknown_key),
    Case("revoked key", "the key of the only provenance is revoked", errors.RevokedKeyError, revoke, second_also_first),
    Case("predicate type swapped", "an SBOM's bundle is called provenance", errors.PredicateTypeError, predicate_swapped),
    Case("statement moved", "another component's provenance lies here", errors.StatementError, wrong_place),
    Case("build type changed", "a statement of a build type without rules", errors.StatementError,
         payload_with(b"urn:kubewright:build:v1", b"urn:kubewright:build:v9")),
    Case("subject list widened", "provenance speaks of a file more than digests.toml", errors.SubjectError, widen),
    Case("not in digests.toml", "the signed digests.toml does not list a component", errors.SubjectError, not_listed),
    Case("provenance from another builder", "the builder is not in the policy", errors.BuilderRefusedError, other_builder),
    Case("provenance of another build", "its build key is not the release's", errors.ProvenanceError, other_key),
    Case("source not in the policy", "a module's origin matches no pattern", errors.SourceRefusedError, foreign_source),
    Case("lock not in the policy", "the release is of a lock that nobody accepted", errors.SourceRefusedError, other_lock),
    Case("patch not in the lock", "a build had a patch that the lock does not pin", errors.NotLockedError, patch_added),
    Case("patch left out", "a build had not the patch that the lock pins", errors.NotLockedError, patch_left_out),
    Case("lock changed", "lockfile.toml is not what was signed", errors.ReleaseError, lock_changed),
    Case("digests.toml changed", "digests.toml is not what was signed", errors.ReleaseError, digests_changed),
    Case("release by another operator", "the policy does not let its signer", errors.ReleaseError, unsigned_release),
    Case("SBOM of another artifact", "its subjects are another component's files", errors.SbomError, sbom_of_another),
    Case("SBOM missing", "a required SBOM is not there", errors.SbomError, sbom_missing),
    Case("SBOM document changed", "sbom.cdx.json is not the signed one", errors.SbomError, sbom_document_changed),
    Case("denied licence", "the SBOM names AGPL-3.0-only", errors.LicenceError, denied_licence),
    Case("unknown licence", "the SBOM does not know one, and the policy refuses that", errors.LicenceError, unknown_licence),
    Case("unknown licence beside known ones", "a part of an expression says that nobody knows", errors.LicenceError,
         partly_unknown_licence),
    Case("older release offered", "a validly signed release, older than the last one seen", errors.RollbackError, older),
    Case("release below the minimum", "the policy asks for a newer one", errors.RollbackError, below_minimum),
    Case("clock set back", "the clock is a day earlier than at the last verification", errors.ClockError, clock_back),
    Case("last-seen state damaged", "the file is cut", errors.StateError, state_damaged),
    Case("threshold short by one", "one of two rebuilders' statements is missing", errors.ThresholdError, one_short),
    Case("two keys of one operator", "the second voice is the first one's other key", errors.ThresholdError, two_keys_of_one),
    Case("one build under two names", "the second operator signs the first one's build", errors.ThresholdError, same_build),
    Case("dissent below the threshold", "one of two rebuilders got other bytes", errors.ThresholdError, dissent),
    Case("dissent hidden", "the third's dissent is taken out of a 2-of-3 set", errors.SilenceError, hide_dissent, hear_third),
    Case("dissent disguised", "the third's dissent gets another name", errors.PredicateTypeError, disguise_dissent, hear_third),
    Case("one key under two names", "two operators of the policy have one key", errors.SharedKeyError, shared_key),
    Case("policy misses a section", "[rebuilds] is not there", errors.PolicySectionError, missing_section),
    Case("policy misses a rule", "minimum_sequence is not there", errors.PolicyError, missing_rule),
    Case("policy comes with the set", "the policy lies in the set that it judges", errors.PolicyError, policy_in_the_set),
    Case("duplicate JSON key", "payloadType is there twice", errors.DuplicateKeyError, duplicate_key),
    Case("duplicate JSON key, signed", "a signed statement names a key twice", errors.DuplicateKeyError,
         payload_with(b'"predicateType":', b'"predicateType":"x","predicateType":')),
    Case("NaN", "a signed statement holds NaN", errors.JsonNumberError, payload_with(b'"uid":1000', b'"uid":NaN')),
    Case("deep nesting", "a signed statement nests 100,000 levels", errors.JsonDepthError,
         payload_with(b'"argv":["go","build"]', b'"argv":' + b"[" * 100_000 + b"]" * 100_000)),
    Case("huge string", "a signed statement holds a string of 2 MB", errors.JsonSizeError,
         payload_with(b'"go","build"', b'"' + b"x" * 2_000_000 + b'"')),
    Case("huge document", "a bundle of 13 MB", errors.JsonSizeError,
         lambda made: edit(made.bundle("etcd", "provenance", "site"), lambda data: data + b" " * (13 << 20))),
    Case("invalid UTF-8", "a signed statement holds the byte FF", errors.JsonEncodingError,
         payload_with(b'"C.UTF-8"', b'"\xff"')),
    Case("not JSON", "a signed payload ends too early", errors.JsonError,
         lambda made: resign(made, payload_of(made.bundle("etcd", "provenance", "site"))[:-3])),
    Case("key file readable by others", "the private key's mode is 0644", KeyPermissionError,
         lambda made: (made.root / "site.key").chmod(0o644), make_key_file, load_key),
)  # fmt: skip
