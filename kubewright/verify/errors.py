"""What can be wrong with a signed set: one class and one exit code (60 to 99) for each way to tamper with it."""

from __future__ import annotations

from kubewright.errors import KubewrightError


class VerifyError(KubewrightError):
    """A signed set that is refused. Nothing was written."""

    exit_code = 60
    title = "verification refused"


# -- the policy ---------------------------------------------------------------------------------------------------


class PolicyError(VerifyError):
    """A policy that does not say what its schema allows."""

    exit_code = 61
    title = "invalid policy"


class PolicySectionError(PolicyError):
    """A policy without one of its sections: what is not said is refused, never assumed."""

    exit_code = 62
    title = "the policy misses a section"


class SharedKeyError(PolicyError):
    """One public key under two operators' names: it would count twice for a threshold."""

    exit_code = 63
    title = "one key under two names"


# -- JSON ---------------------------------------------------------------------------------------------------------


class JsonError(VerifyError):
    """Bytes that are not JSON as RFC 8259 has it."""

    exit_code = 64
    title = "not JSON"


class DuplicateKeyError(JsonError):
    """A JSON object that has one key twice: two readers would see two documents."""

    exit_code = 65
    title = "duplicate key in JSON"


class JsonNumberError(JsonError):
    """NaN, Infinity or a number that a reader may round."""

    exit_code = 66
    title = "number that JSON does not have"


class JsonDepthError(JsonError):
    """JSON nested deeper than any document of ours."""

    exit_code = 67
    title = "JSON nested too deeply"


class JsonSizeError(JsonError):
    """A JSON document or string that is larger than any of ours."""

    exit_code = 68
    title = "JSON too large"


class JsonEncodingError(JsonError):
    """JSON that is not valid UTF-8, or begins with a byte order mark."""

    exit_code = 69
    title = "JSON is not UTF-8"


# -- bundles and statements ---------------------------------------------------------------------------------------


class BundleError(VerifyError):
    """A file that is no Sigstore bundle v0.3 with a DSSE envelope."""

    exit_code = 70
    title = "not a bundle"


class SignatureCountError(BundleError):
    """An envelope with another number of signatures than exactly one."""

    exit_code = 71
    title = "not exactly one signature"


class PayloadTypeError(BundleError):
    """An envelope that says its payload is something else than an in-toto statement."""

    exit_code = 72
    title = "wrong payload type"


class CertificateError(BundleError):
    """A bundle with a certificate where a policy with keys expects a key."""

    exit_code = 73
    title = "certificate where a key is expected"


class StatementError(VerifyError):
    """A signed payload that is no in-toto statement, or whose predicate lacks what a rule relies on."""

    exit_code = 74
    title = "not a statement"


class PredicateTypeError(StatementError):
    """A statement of another predicate type than its file's name says."""

    exit_code = 75
    title = "wrong predicate type"


class UnknownKeyError(VerifyError):
    """What is needed is signed by keys only that the policy does not have."""

    exit_code = 76
    title = "unknown key"


class RevokedKeyError(VerifyError):
    """What is needed is signed by keys only that the policy revokes."""

    exit_code = 77
    title = "revoked key"


class SignatureError(VerifyError):
    """A payload that is not what was signed."""

    exit_code = 78
    title = "the signature does not fit"


class ForeignSignatureError(SignatureError):
    """A signature that belongs to another statement."""

    exit_code = 79
    title = "signature of another statement"


# -- the files ----------------------------------------------------------------------------------------------------


class ArtifactChangedError(VerifyError):
    """An artifact with other bytes than those that were signed."""

    exit_code = 80
    title = "artifact changed"


class ArtifactTruncatedError(ArtifactChangedError):
    """An artifact that is shorter than what was signed."""

    exit_code = 81
    title = "artifact truncated"


class ArtifactSwappedError(ArtifactChangedError):
    """A signed artifact in the place of another one."""

    exit_code = 82
    title = "another artifact in its place"


class ArtifactUnknownError(VerifyError):
    """A file that no statement is about, or a component that the release does not have."""

    exit_code = 83
    title = "nobody speaks for it"


class ArtifactMissingError(VerifyError):
    """A signed artifact that is not there."""

    exit_code = 84
    title = "artifact missing"


class UnsafeSetError(VerifyError):
    """A symbolic link, a ``..``, a device or a pipe in a signed set."""

    exit_code = 85
    title = "unsafe layout"


class FileReplacedError(VerifyError):
    """A file that was replaced or written to while it was being verified."""

    exit_code = 86
    title = "changed while being verified"


# -- rules --------------------------------------------------------------------------------------------------------


class ReleaseError(VerifyError):
    """No signed release, or a lock or digests.toml that is not the one that was signed."""

    exit_code = 87
    title = "no valid release"


class RollbackError(VerifyError):
    """An older release than the policy or the last verification allows."""

    exit_code = 88
    title = "older release"


class ClockError(VerifyError):
    """A clock that is earlier than the last verification."""

    exit_code = 89
    title = "clock set back"


class ProvenanceError(VerifyError):
    """No provenance for an artifact by an operator whom the policy allows."""

    exit_code = 90
    title = "no provenance"


class SubjectError(ProvenanceError):
    """Provenance that speaks of more, fewer or other files than digests.toml."""

    exit_code = 91
    title = "subjects differ from digests.toml"


class BuilderRefusedError(ProvenanceError):
    """Provenance from a builder that the policy does not allow."""

    exit_code = 92
    title = "builder not allowed"


class SourceRefusedError(VerifyError):
    """A lock or a source that the policy does not allow."""

    exit_code = 93
    title = "source not allowed"


class NotLockedError(VerifyError):
    """Provenance that names an input (a source, a patch, a package) that is not in the signed lock."""

    exit_code = 94
    title = "input not in the lock"


class ThresholdError(VerifyError):
    """Fewer operators agree on a digest than the policy asks for."""

    exit_code = 95
    title = "too few rebuilds agree"


class SilenceError(ThresholdError):
    """An operator who has to be heard says nothing about an artifact, as after a dissent was taken out."""

    exit_code = 96
    title = "an operator is not heard"


class SbomError(VerifyError):
    """No SBOM for an artifact, or one that is about other bytes."""

    exit_code = 97
    title = "no SBOM of this artifact"


class LicenceError(VerifyError):
    """A licence that the policy denies, or that nobody knows."""

    exit_code = 98
    title = "licence denied"


class StateError(VerifyError):
    """The file that remembers the last verification cannot be read or written."""

    exit_code = 99
    title = "last-seen state unusable"
