"""What is kept of a bundle says which images may be pulled: these very digests under these very names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundlebuilder import REFERENCE, BundleBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewright.verify.bundle_check import BundleOptions, VerifiedBundle, verify_bundle
from kubewright.verify.bundle_contents import own_statements
from kubewright.verify.bundle_errors import BundleUnsignedError, ImageRefusedError
from kubewright.verify.errors import PolicyError, ReleaseError, RollbackError, VerifyError
from kubewright.verify.policy import load_policy
from kubewright.verify.pulled import CONTENTS, RELEASE, accept_pull

REPOSITORY = REFERENCE.rpartition(":")[0]


class Kept:
    """A folder with what a node keeps of a bundle."""

    def __init__(self, root: Path) -> None:
        self.builder = BundleBuilder(root / "built")
        self.folder = root / "kept"
        self.builder.write()
        options = BundleOptions(now=lambda: self.builder.now)
        policy = load_policy(self.builder.policy)
        with verify_bundle(self.builder.file, policy, self.builder.policy, options) as found:
            self._write(found)
        self.digest = found.images[0].digest

    def _write(self, found: VerifiedBundle) -> None:
        files = {
            RELEASE: {**found.contents.single["release"].files, **found.contents.statements["release"]},
            CONTENTS: own_statements(found.layout),
        }
        for folder, blobs in files.items():
            (self.folder / folder).mkdir(parents=True)
            for name, blob in blobs.items():
                (self.folder / folder / name).write_bytes(found.read(blob))

    def ask(self, name: str = REFERENCE, digest: str = "") -> str:
        policy = self.builder.policy
        return accept_pull(self.folder, load_policy(policy), policy, name, digest or self.digest, lambda: self.builder.now)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    (tmp_path / "built").mkdir()
    return Kept(tmp_path)


def test_an_image_of_the_bundle_may_be_pulled(kept: Kept) -> None:
    assert "signed by site" in kept.ask()
    assert kept.ask(f"{REPOSITORY}@{kept.digest}") == kept.ask()
    assert kept.ask(f"{REFERENCE}@{kept.digest}") == kept.ask()


OTHER = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        (REFERENCE, OTHER),
        (f"{REPOSITORY}:latest", ""),
        ("registry.k8s.io/kube-apiserver:v1", ""),
        (f"{REPOSITORY}@{OTHER}", ""),
        (f"{REPOSITORY}@{OTHER}", OTHER),
        ("evil.example/etcd:3.7.3", ""),
        ("", ""),
    ],
)
def test_anything_else_may_not(kept: Kept, name: str, digest: str) -> None:
    with pytest.raises(ImageRefusedError):
        kept.ask(name, digest)


@settings(deadline=None, max_examples=40)
@given(name=st.text(max_size=80), digest=st.text(max_size=80))
def test_no_name_gets_through_or_breaks_it(shared: Kept, name: str, digest: str) -> None:
    with pytest.raises(VerifyError):
        shared.ask(name, digest or OTHER)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    root = tmp_path_factory.mktemp("shared")
    (root / "built").mkdir()
    return Kept(root)


def changed(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def statement(kept: Kept, folder: str) -> Path:
    return next((kept.folder / folder).glob("*.sigstore.json"))


TAMPERED: dict[str, tuple[Callable[[Kept], object], type[VerifyError]]] = {
    "digests.toml": (lambda kept: changed(kept.folder / RELEASE / "digests.toml", b"sha256:", b"sha256:0"), ReleaseError),
    "no release": (lambda kept: statement(kept, RELEASE).unlink(), ReleaseError),
    "no contents": (lambda kept: statement(kept, CONTENTS).unlink(), BundleUnsignedError),
    "signature": (lambda kept: changed(statement(kept, CONTENTS), b'"payload":"ey', b'"payload":"eyJ'), VerifyError),
}


@pytest.mark.parametrize(("change", "error"), TAMPERED.values(), ids=TAMPERED)
def test_what_was_kept_and_changed_lets_nothing_through(
    kept: Kept, change: Callable[[Kept], object], error: type[VerifyError]
) -> None:
    change(kept)
    with pytest.raises(error):
        kept.ask()


def test_a_folder_that_is_gone_lets_nothing_through(kept: Kept) -> None:
    shutil.rmtree(kept.folder)
    with pytest.raises(VerifyError):
        kept.ask()


def test_the_policy_of_now_decides(kept: Kept) -> None:
    """A sequence that is too low by now, or a policy that is gone, ends what was allowed before."""
    kept.builder.write_policy(minimum_sequence="minimum_sequence = 8")
    with pytest.raises(RollbackError):
        kept.ask()
    kept.builder.policy.write_text("")
    with pytest.raises(PolicyError):
        kept.ask()
