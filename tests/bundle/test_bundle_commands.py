"""``kubewright bundle ls | show | extract | split | join`` as people call it."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from bundlebuilder import REFERENCE, BundleBuilder
from setbuilder import OUTPUTS

from kubewright.bundle import listing
from kubewright.bundle.extract import KINDS, extract
from kubewright.errors import UsageError
from kubewright.oci.archive_errors import ArchiveError
from kubewright.oci.errors import BlobDamagedError, DocumentError
from kubewright.oci.layout import Layout, write_directory
from kubewright.oci.model import EMPTY_CONFIG, EMPTY_DATA, MANIFEST, TITLE, Descriptor, Index, Manifest
from kubewright.oci.opening import open_layout
from kubewright.oci.source import Source
from kubewright.verify import bundle_model as model


@pytest.fixture
def made(tmp_path: Path) -> BundleBuilder:
    made = BundleBuilder(tmp_path)
    made.write()
    made.now = int(time.time())
    return made


def kubewright(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubewright.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_ls_says_what_is_in_it(made: BundleBuilder) -> None:
    for path in (made.file, made.directory):
        result = kubewright("bundle", "ls", path)
        assert (result.returncode, result.stderr) == (0, "")
        names = [line.split("  ")[3] for line in result.stdout.splitlines() if line.count("  ") > 2]
        assert "components/etcd/etcdctl" in result.stdout
        assert "components/etcd/etcd\n" not in result.stdout, "it is in the image"
        assert REFERENCE in result.stdout
        assert names
    data = json.loads(kubewright("bundle", "ls", made.file, "--json", "--statements").stdout)
    assert {each["kind"] for each in data} >= {"image", "component", "program", "tree", "file", "statement", "release"}


def test_show_says_what_it_claims_to_be(made: BundleBuilder) -> None:
    text = kubewright("bundle", "show", made.file).stdout
    assert text.startswith("tiny 3.7.3 linux/amd64, release 7\n")
    assert "no signature was checked" in text
    part = kubewright("bundle", "show", made.file, "components/runc").stdout
    assert "runc.txt" in part
    assert "provenance." in part
    assert kubewright("bundle", "show", made.file, "manifests/etcd.yaml").stdout == "kind: Pod\n"
    name = next(iter(made.ingredients.release_statements))
    assert json.loads(kubewright("bundle", "show", made.file, f"release/{name}").stdout)["predicate"]["sequence"] == 7
    wrong = kubewright("bundle", "show", made.file, "components/run")
    assert wrong.returncode == 2
    assert "did you mean 'components/runc'" in wrong.stderr


def test_extract_writes_ordinary_files(made: BundleBuilder, tmp_path: Path) -> None:
    target = tmp_path / "out"
    result = kubewright("bundle", "extract", made.file, "--policy", made.policy, "--to", target)
    assert result.returncode == 0, result.stderr
    assert (target / "files/runc/runc").read_bytes() == OUTPUTS["runc"]["runc"][1]
    assert (target / "files/runc/runc").stat().st_mode & 0o777 == 0o755
    assert (target / "files/runc/runc.txt").stat().st_mode & 0o777 == 0o644
    assert (target / "files/runc/share/man/runc.8").read_bytes() == b".TH runc\n"
    assert (target / "manifests/etcd.yaml").read_bytes() == b"kind: Pod\n"
    assert sorted(each.name for each in target.iterdir()) == sorted(
        ["files", "images.tar", "installer", "licences", "manifests", "release", "stack", "statements"]
    )
    with tarfile.open(target / "images.tar") as images:
        assert "manifest.json" in images.getnames()


def test_extract_wants_to_know_what_to_trust(made: BundleBuilder, tmp_path: Path) -> None:
    assert kubewright("bundle", "extract", made.file, "--to", tmp_path / "out").returncode == 2
    both = kubewright("bundle", "extract", made.file, "--to", tmp_path / "out", "--unverified", "--policy", made.policy)
    assert both.returncode == 2
    made.write("stranger")
    refused = kubewright("bundle", "extract", made.file, "--to", tmp_path / "out", "--policy", made.policy)
    assert refused.returncode == 76
    assert not (tmp_path / "out").exists()
    only = kubewright("bundle", "extract", made.file, "--to", tmp_path / "out", "--unverified", "--only", "manifests")
    assert only.returncode == 0
    assert "nobody was asked" in only.stdout
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["manifests"]
    wrong = kubewright("bundle", "extract", made.file, "--to", tmp_path / "more", "--unverified", "--only", "nothing")
    assert wrong.returncode == 2


def test_extract_overwrites_nothing_and_leaves_nothing_of_a_failure(made: BundleBuilder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with open_layout(made.directory) as layout, pytest.raises(UsageError):
        extract(layout, tmp_path / "out", frozenset(KINDS))
    blob = next(each for each in (made.directory / "blobs" / "sha256").iterdir() if b"\x7fELF runc" in each.read_bytes()[:20])
    blob.write_bytes(bytes(blob.stat().st_size))
    with open_layout(made.directory) as layout, pytest.raises(BlobDamagedError):
        extract(layout, tmp_path / "new", frozenset(KINDS))
    assert not [each for each in tmp_path.iterdir() if "new" in each.name]


def test_names_of_an_enemy_reach_no_terminal_and_no_other_folder(made: BundleBuilder, tmp_path: Path) -> None:
    from dataclasses import replace

    etcd, runc = made.ingredients.components
    for name, shown in (("\x1b[2Jclear", "\ufffd[2Jclear"), ("../../escape", "../../escape")):
        made.change(components=(etcd, replace(runc, files=(replace(runc.files[0], name=name),))))
        made.write()
        with open_layout(made.file) as layout:
            text = listing.as_text(list(listing.lines(layout)))
            assert shown in text
            assert "\x1b" not in text
            with pytest.raises(DocumentError):
                extract(layout, tmp_path / "out", frozenset(KINDS))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a" * 300,)])
def test_names_that_cannot_lie_beside_each_other_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = tuple(Descriptor(model.FILE, EMPTY_CONFIG.digest, 2, {TITLE: name}) for name in names)
    manifest = Manifest(EMPTY_CONFIG, files, artifact_type=model.LICENCES_TYPE).to_bytes()
    found = Descriptor.of(MANIFEST, manifest)
    listed = Descriptor(MANIFEST, found.digest, found.size, {TITLE: "licences"}, model.LICENCES_TYPE)
    write_directory(
        Layout(Index((listed,)).to_bytes(), {found.digest: manifest, EMPTY_CONFIG.digest: EMPTY_DATA}), tmp_path / "layout"
    )
    done = kubewright("bundle", "extract", tmp_path / "layout", "--unverified", "--to", tmp_path / "out")
    assert done.returncode == DocumentError.exit_code, done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["layout"]


def test_a_listing_that_grows_out_of_one_manifest_ends(tmp_path: Path) -> None:
    """index.json may name a manifest of a thousand files a hundred times, each time otherwise."""
    files = tuple(Descriptor(model.FILE, EMPTY_CONFIG.digest, 2, {TITLE: str(number)}) for number in range(1000))
    manifest = Manifest(EMPTY_CONFIG, files, artifact_type=model.LICENCES_TYPE).to_bytes()
    found = Descriptor.of(MANIFEST, manifest)
    listed = (Descriptor(MANIFEST, found.digest, found.size, {TITLE: str(at)}, model.LICENCES_TYPE) for at in range(100))
    blobs: dict[str, Source] = {found.digest: manifest, EMPTY_CONFIG.digest: EMPTY_DATA}
    write_directory(Layout(Index(tuple(listed)).to_bytes(), blobs), tmp_path / "layout")
    done = kubewright("bundle", "ls", tmp_path / "layout")
    assert done.returncode == DocumentError.exit_code
    assert "more than 50000 parts and files" in done.stderr


def test_statements_that_claim_too_much_are_not_read(made: BundleBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_layout(made.file) as layout:
        sizes = [line.blob.size for line in listing.lines(layout, statements=True) if line.name.startswith("bundle.")]
        assert len(listing.claims(layout)) == len(sizes)
        monkeypatch.setattr(listing, "_CLAIMS", sum(sizes) - 1)
        with pytest.raises(DocumentError, match="statements are too long"):
            listing.summary(layout)


def test_split_and_join(made: BundleBuilder, tmp_path: Path) -> None:
    done = kubewright("bundle", "split", made.file, "--size", "4k", "--to", tmp_path / "parts")
    assert done.returncode == 0, done.stderr
    manifest = tmp_path / "parts" / "b.oci.tar.zst.parts.json"
    assert done.stdout.startswith(str(manifest))
    (tmp_path / "there").mkdir()
    again = kubewright("bundle", "join", manifest, "--to", tmp_path / "there")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "there" / "b.oci.tar.zst").read_bytes() == made.file.read_bytes()
    for size in ("0", "4x", "", "-1", "1.5G"):
        assert kubewright("bundle", "split", made.file, "--size", size, "--to", tmp_path / "x").returncode == 2
    (tmp_path / "parts" / "b.oci.tar.zst.part-0002").unlink()
    missing = kubewright("bundle", "join", manifest, "--to", tmp_path / "other")
    assert missing.returncode == 146
    assert "part-0002" in missing.stderr


def test_what_is_no_bundle_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 100)
    result = kubewright("bundle", "ls", tmp_path / "x")
    assert result.returncode == ArchiveError.exit_code
    assert kubewright("bundle", "ls", tmp_path / "none").returncode == 2
    assert kubewright("bundle", "ls", tmp_path).returncode == 131
