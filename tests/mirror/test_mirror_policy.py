"""``kubewright mirror check --policy``: who signed it, for which release, and that nobody offers an older one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from signers import new_key
from site_world import QUIET, Site

from kubewright.canonical import canonical_json
from kubewright.fetch import mirrorindex
from kubewright.fetch.mirrorindex import parse
from kubewright.mirror import statement
from kubewright.mirror.check import check_mirror
from kubewright.mirror.errors import MirrorDamagedError, MirrorUnsignedError
from kubewright.mirror.prune import prune
from kubewright.model.schema_json import schema_of
from kubewright.trust import keys
from kubewright.trust.release import sign_release
from kubewright.trust.sign import sign_statement
from kubewright.verify import strictjson
from kubewright.verify.bundle import parse_bundle
from kubewright.verify.errors import PolicyError, RollbackError, SignatureError, VerifyError
from kubewright.verify.newpolicy import new_policy


class Signing:
    """A site that signs, and a policy that trusts it. ``locks`` of the policy are those of the calls of ``trust``."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.key = new_key(folder / "keys", "site")
        self.key_file = folder / "keys" / "site.key"
        self.file = folder / "policy" / "site.toml"
        self.file.parent.mkdir()
        self.locks: list[str] = []

    def release(self) -> None:
        """./doit sign:release mirror"""
        digest = hashlib.sha256((self.site.root / "lockfile.toml").read_bytes()).hexdigest()
        self.locks.append(f"sha256:{digest}")
        text = new_policy([("site", self.key.public)], self.locks[0])
        more = ", ".join(f'"{each}"' for each in self.locks)
        self.file.write_text(text.replace(f'locks = ["{self.locks[0]}"]', f"locks = [{more}]"))
        sign_release(self.site.project(), self.key)
        self.mirror()

    def mirror(self) -> str:
        return self.site.write(KUBEWRIGHT_SIGNING_KEY=str(self.key_file)).signed

    def check(self) -> tuple[str, ...]:
        return check_mirror(self.site.mirror, QUIET, self.file).by


@pytest.fixture
def signing(site: Site, tmp_path: Path) -> Signing:
    made = Signing(site, tmp_path)
    made.release()
    return made


def test_a_signed_mirror_passes(signing: Signing) -> None:
    assert signing.check() == ("site",)
    assert (signing.file.parent / "last-seen.json").exists()


def test_signing_again_writes_nothing(signing: Signing) -> None:
    [path] = signing.site.mirror.glob("mirror.*.sigstore.json")
    before = path.stat().st_mtime_ns
    assert signing.mirror() == path.name
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("store", ["the same", "another"])
def test_another_key_takes_the_place_of_the_old_one(signing: Signing, tmp_path: Path, store: str) -> None:
    """Also where the store is another one, which does not believe the index that it finds."""
    release = signing.site.root / "artifacts/release"
    old = f"release.{signing.key.key_id}.sigstore.json"
    assert (signing.site.mirror / "release" / old).is_file()
    (release / old).unlink()
    signing.key = new_key(tmp_path / "keys", "second")
    signing.key_file = tmp_path / "keys/second.key"
    if store == "another":
        signing.site.environ["KUBEWRIGHT_STORE"] = str(tmp_path / "another-store")
    signing.release()
    names = sorted(path.name for path in (signing.site.mirror / "release").glob("release.*.json"))
    assert names == [f"release.{signing.key.key_id}.sigstore.json"]
    assert [path.name for path in signing.site.mirror.glob("mirror.*.json")] == [f"mirror.{signing.key.key_id}.sigstore.json"]
    assert signing.check() == ("site",)


def test_what_is_signed_fits_its_schema(signing: Signing) -> None:
    [path] = signing.site.mirror.glob("mirror.*.sigstore.json")
    made = strictjson.loads(parse_bundle(path.read_bytes()).payload)
    jsonschema.validate(made, schema_of(statement.MirrorStatement, "x"))
    index = strictjson.loads((signing.site.mirror / "index.json").read_bytes(), mirrorindex.LIMITS)
    jsonschema.validate(index, schema_of(mirrorindex.Index, "x"))
    assert canonical_json(index) == (signing.site.mirror / "index.json").read_bytes()


def test_an_older_release_is_refused(signing: Signing) -> None:
    old = signing.site.copy()
    signing.site.mirror = signing.site.folder / "mirror"
    signing.site.builder.write("release.toml", "sequence = 2\n")
    signing.site.lock("v1.1.0")
    signing.release()
    check_mirror(old, QUIET, signing.file)  # the newer one was not seen yet
    assert signing.check() == ("site",)
    with pytest.raises(RollbackError, match="sequence 1 is lower than 2"):
        check_mirror(old, QUIET, signing.file)


def unsigned_index(signing: Signing) -> None:
    next(signing.site.mirror.glob("mirror.*.sigstore.json")).unlink()


def index_of_somebody(signing: Signing) -> None:
    path = signing.site.mirror / "index.json"
    index = parse(path.read_bytes(), "x")
    (signing.site.mirror / "README").write_text("evil")
    files = {**index.files, "README": mirrorindex.File(hashlib.sha256(b"evil").hexdigest(), 4, "page")}
    path.write_bytes(mirrorindex.dump(dataclasses.replace(index, files=files)))


def signed_by_a_stranger(signing: Signing) -> None:
    unsigned_index(signing)
    data = (signing.site.mirror / "index.json").read_bytes()
    name, signed = statement.sign(parse(data, "x"), data, new_key(signing.site.folder / "keys", "stranger"))
    (signing.site.mirror / name).write_bytes(signed)


def another_statement_of_the_same_key(signing: Signing) -> None:
    [path] = signing.site.mirror.glob("mirror.*.sigstore.json")
    data = (signing.site.mirror / "index.json").read_bytes()
    made = statement.statement(parse(data, "x"), data)
    path.write_bytes(sign_statement({**made, "predicateType": "urn:kubewright:release:v1"}, signing.key))


def another_release_s_index(signing: Signing) -> None:
    [path] = signing.site.mirror.glob("mirror.*.sigstore.json")
    data = (signing.site.mirror / "index.json").read_bytes()
    made = statement.statement(parse(data, "x"), data)
    path.write_bytes(sign_statement({**made, "predicate": {**made["predicate"], "sequence": 7}}, signing.key))


@pytest.mark.parametrize(
    "tamper",
    [unsigned_index, index_of_somebody, signed_by_a_stranger, another_statement_of_the_same_key, another_release_s_index],
    ids=lambda function: function.__name__,
)
def test_an_index_that_nobody_trusted_signed_for_this_release(signing: Signing, tamper: Callable[[Signing], None]) -> None:
    tamper(signing)
    with pytest.raises(MirrorUnsignedError):
        signing.check()
    assert not (signing.file.parent / "last-seen.json").exists(), "what was refused was remembered"
    check_mirror(signing.site.mirror, QUIET)  # without a policy nobody asks


def test_a_signature_that_does_not_fit(signing: Signing) -> None:
    [path] = signing.site.mirror.glob("mirror.*.sigstore.json")
    other = keys.load(signing.file.parent.parent / "keys/site.key", lambda: "")
    made = sign_statement({"a": 1}, other)
    data = bytearray(path.read_bytes())
    start = data.index(b'"sig":"') + 7
    fake = made[made.index(b'"sig":"') + 7 :]
    data[start : start + 90] = fake[:90]
    path.write_bytes(bytes(data))
    with pytest.raises((SignatureError, VerifyError)):
        signing.check()


def test_a_release_without_signature(signing: Signing) -> None:
    for path in signing.site.root.glob("artifacts/release/*"):
        path.unlink()
    for path in signing.site.mirror.glob("release/release.*"):
        path.unlink()
    signing.mirror()
    with pytest.raises(VerifyError):
        signing.check()


def test_a_policy_that_lies_in_the_mirror(signing: Signing) -> None:
    inside = signing.site.mirror / "policy.toml"
    inside.write_bytes(signing.file.read_bytes())
    with pytest.raises(MirrorDamagedError, match=r"policy\.toml is not in index\.json"):
        check_mirror(signing.site.mirror, QUIET, inside)
    inside.unlink()
    signing.file.write_text(signing.file.read_text().replace("last-seen.json", str(signing.site.mirror / "last-seen.json")))
    with pytest.raises(PolicyError, match="lies in the mirror that it is to judge"):
        signing.check()


def test_a_mirror_signed_here_is_carried_on_by_another_machine_with_the_same_key(signing: Signing) -> None:
    before = signing.site.folder / "mirror/index.json"
    data = before.read_bytes()
    signing.site.lock("v1.1.0")
    signing.site.environ["KUBEWRIGHT_STORE"] = str(signing.site.folder / "another-store")
    index = parse(data, "x")
    signing.mirror()
    now = parse(before.read_bytes(), "x")
    assert [release.lock for release in now.releases[1:]] == [release.lock for release in index.releases]


def test_prune_signs_anew(signing: Signing) -> None:
    signing.site.lock("v1.1.0")
    signing.site.builder.write("release.toml", "sequence = 2\n")
    signing.site.commit("2")
    signing.release()
    project = signing.site.project(KUBEWRIGHT_SIGNING_KEY=str(signing.file.parent.parent / "keys/site.key"))
    assert prune(project, signing.site.mirror, 1, QUIET).signed
    assert signing.check() == ("site",)
