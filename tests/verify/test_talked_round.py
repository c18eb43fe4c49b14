"""Attempts to talk the verifier round that were once successful, or nearly so: each is refused, and quickly."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from setbuilder import SetBuilder, place
from tamper_cases import hear_third

from kubewright.errors import UsageError
from kubewright.verify import errors, strictjson
from kubewright.verify.bundle_check import is_bundle_path
from kubewright.verify.command import main
from kubewright.verify.pinned import Folder
from kubewright.verify.report import as_data, as_text, to_json


@pytest.fixture
def made(tmp_path: Path) -> SetBuilder:
    return SetBuilder(tmp_path)


def once(made: SetBuilder, act: Callable[[], object]) -> None:
    """Do ``act`` when the first artifact is about to be hashed: everything has been listed and decided by then."""
    done: list[str] = []

    def watch(path: str) -> None:
        if not done:
            done.append(path)
            act()

    made.watch = watch


# -- bytes that somebody signed, and nobody accepted --------------------------------------------------------------


def test_the_bytes_of_a_dissent_are_not_verified_outside_of_the_set(made: SetBuilder) -> None:
    """A trusted key speaks of them, so the component is found; what was accepted are other bytes."""
    hear_third(made)
    loose = made.root / "bin" / "etcd"
    loose.parent.mkdir()
    where = {"attestations": made.attestations, "release": made.release}
    shutil.copyfile(made.output("etcd", "etcd"), loose)
    assert len(made.verify(loose, **where).artifacts) == 1
    loose.write_bytes(b"other bytes")  # what third signed: tamper_cases.other_bytes
    with pytest.raises(errors.ArtifactUnknownError, match="not what the policy accepts"):
        made.verify(loose, **where)


# -- while it is being verified -----------------------------------------------------------------------------------


def test_a_set_that_is_moved_away_meanwhile_is_refused(made: SetBuilder) -> None:
    def act() -> None:
        made.set.rename(made.root / "moved")
        shutil.copytree(made.root / "moved", made.set)
        made.output("etcd", "etcd").write_bytes(b"another program")

    once(made, act)
    with pytest.raises(errors.FileReplacedError):
        made.verify(workers=1)


@pytest.mark.parametrize(
    "where",
    ["etcd/3.7.3/linux-amd64", "runc/1.4.2/linux-amd64/share/man", "", "release", "attestations/etcd/3.7.3/linux-amd64"],
)
def test_a_file_that_is_added_meanwhile_is_refused(made: SetBuilder, where: str) -> None:
    """After the last artifact was begun: every folder that counts has been listed by then."""
    act = made.set / where / "added"
    seen: list[str] = []

    def watch(path: str) -> None:
        seen.append(path)
        if len(seen) == 5:
            act.write_bytes(b"x")

    made.watch = watch
    with pytest.raises(errors.VerifyError) as caught:
        made.verify(workers=1)
    assert len(seen) == 5
    assert isinstance(caught.value, errors.FileReplacedError | errors.ArtifactChangedError)


def test_what_is_added_meanwhile_is_not_in_the_copy(made: SetBuilder) -> None:
    once(made, lambda: (made.set / place("etcd") / "added").write_bytes(b"x"))
    with pytest.raises(errors.FileReplacedError):
        made.verify(workers=1, copy_to=made.root / "copy")
    assert not (made.root / "copy").exists()


# -- what the person sees -----------------------------------------------------------------------------------------

TRICK = "\x1b[2K\rverified: 5 artifacts \u202e\x9b2K"


def test_a_name_does_not_write_over_the_refusal(made: SetBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    (made.set / place("etcd") / TRICK).write_bytes(b"x")
    for words in ([], ["--json"]):
        assert main([str(made.set), "--policy", str(made.policy), *words]) == errors.ArtifactUnknownError.exit_code
        said = capsys.readouterr()
        assert "\\u001b[2K\\u000dverified" in said.err
        for text in (said.out, said.err):
            assert not {each for each in text if not each.isprintable()} - {"\n"}


def test_a_name_does_not_move_the_cursor_in_a_report(made: SetBuilder) -> None:
    (made.attestations / place("etcd") / f"x{TRICK}.sigstore.json").write_bytes(b"{}")
    with pytest.raises(errors.BundleError):
        made.verify()
    (made.attestations / place("etcd") / f"x{TRICK}.sigstore.json").unlink()
    made.set.rename(made.root / TRICK)
    made.set = made.root / TRICK
    report = made.verify(copy_to=made.root / f"{TRICK}copy")
    for text in (as_text(report, explain=True), to_json(as_data(report))):
        assert not {each for each in text if not each.isprintable()} - {"\n"}


def test_what_the_release_has_and_the_set_has_not_is_said(made: SetBuilder) -> None:
    assert as_data(made.verify())["absent"] == []
    shutil.rmtree(made.set / "runc")
    report = made.verify()
    assert as_data(report)["absent"] == [place("runc")]
    assert f"not in this set: {place('runc')}\n" in as_text(report, explain=True)
    assert as_data(made.verify(made.set / "etcd"))["absent"] == []  # nobody asked about all of it


# -- what is there to keep it busy --------------------------------------------------------------------------------

MILLIONS = 12_000_000
BUSY = {
    "escaped quotes without an end": lambda n: b'"' + b'\\"' * (n // 2),
    "quotes": lambda n: b'"' * n,
    "empty strings": lambda n: b'""' * (n // 2),
    "backslashes": lambda n: b"\\" * n,
    "a string of backslashes": lambda n: b'"' + b"\\" * (n - 1),
    "brackets": lambda n: b"[" * n,
    "objects in objects": lambda n: b'{"a":' * (n // 5),
    "digits": lambda n: b"1" * n,
    "minus signs": lambda n: b"-" * n,
    "half escapes": lambda n: b'"' + b"\\u" * (n // 2),
    "spaces": lambda n: b" " * n,
    "commas": lambda n: b"," * n,
}


@pytest.mark.parametrize("what", BUSY)
def test_no_bytes_keep_it_busy(what: str) -> None:
    """What is refused takes time that grows with its size, not with the square of it."""
    start = time.process_time()
    with pytest.raises(errors.VerifyError):
        strictjson.loads(BUSY[what](MILLIONS), strictjson.ENVELOPE)
    assert time.process_time() - start < 20


def test_many_keys_and_one_twice_are_refused_at_once() -> None:
    keys = ",".join(f'"{number}":0' for number in range(150_000))
    start = time.process_time()
    with pytest.raises(errors.DuplicateKeyError, match="'149999'"):
        strictjson.loads(f'{{{keys},"149999":1}}'.encode())
    assert time.process_time() - start < 20


# -- what takes no room, and hours --------------------------------------------------------------------------------

HOLE = 1 << 42


@pytest.mark.parametrize(
    "where",
    [
        "etcd/3.7.3/linux-amd64/etcd",
        "runc/1.4.2/linux-amd64/share/empty.txt",
        "attestations/etcd/3.7.3/linux-amd64/ATTRIBUTION",
        "release/notes.txt",
    ],
)
def test_a_file_with_holes_keeps_nobody_busy(made: SetBuilder, where: str) -> None:
    """Four terabytes that no disk has to hold: hashing them, or copying them, would take hours."""
    with (made.set / where).open("ab") as file:
        file.truncate(HOLE)
    with pytest.raises(errors.UnsafeSetError, match=f"has {HOLE}"):
        made.verify(copy_to=made.root / "copy")
    assert not (made.root / "copy").exists()


def test_a_larger_artifact_is_still_said_to_be_another_one(made: SetBuilder) -> None:
    """The control: what is within reason is hashed, so that the message says whose bytes lie there."""
    made.output("runc", "runc.txt").write_bytes(made.output("etcd", "etcd").read_bytes())
    with pytest.raises(errors.ArtifactSwappedError, match="bytes of etcd/"):
        made.verify()


def test_who_never_stops_writing_is_refused(made: SetBuilder) -> None:
    """A file that grows faster than it is read has no end."""
    path = made.set / place("etcd") / "etcd"
    with Folder(made.set) as folder, path.open("ab") as writer:

        def grow(piece: object) -> None:
            writer.write(b"x" * 100)
            writer.flush()
            assert writer.tell() < 1 << 20, "it would have gone on for ever"

        with (
            folder._opened(f"{place('etcd')}/etcd") as handle,
            pytest.raises(errors.FileReplacedError),
        ):
            folder._stream("etcd", handle, [grow])


def test_one_bundle_under_many_names_is_refused(made: SetBuilder) -> None:
    bundle = made.bundle("etcd", "provenance", "site")
    unknown = json.loads(bundle.read_bytes())
    unknown["verificationMaterial"]["publicKey"]["hint"] = base64.b64encode(b"\1" * 32).decode()
    first = bundle.with_name(f"a.{'01' * 8}.sigstore.json")
    first.write_text(json.dumps(unknown))
    made.verify()  # the control: one is no evidence, and no harm
    for number in range(500):
        bundle.with_name(f"a{number}.{'01' * 8}.sigstore.json").hardlink_to(first)
    with pytest.raises(errors.UnsafeSetError, match="bundles"):
        made.verify()


def test_a_pipe_that_is_asked_about_does_not_make_it_wait(made: SetBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    path = made.output("etcd", "etcd")
    path.unlink()
    os.mkfifo(path)
    assert not is_bundle_path(path)
    assert main([str(path), "--policy", str(made.policy)]) == errors.UnsafeSetError.exit_code
    assert "a pipe" in capsys.readouterr().err


# -- what is verified is what was asked about ---------------------------------------------------------------------


def test_a_set_within_a_component_is_not_verified_in_its_place(made: SetBuilder) -> None:
    """All of it is validly signed, and nobody asked about it."""
    inner = made.root / "inner"
    shutil.copytree(made.set, inner)
    shutil.rmtree(inner / "etcd")
    shutil.rmtree(made.set / place("etcd"))
    inner.rename(made.set / place("etcd"))
    with pytest.raises(errors.UnsafeSetError, match="within another one"):
        made.verify(made.set / place("etcd"))


def test_a_copy_into_the_set_is_a_mistake_that_is_said(made: SetBuilder) -> None:
    with pytest.raises(UsageError, match="lies in what is to be verified"):
        made.verify(copy_to=made.set / "copy")
    assert not (made.set / "copy").exists()


def test_a_line_break_in_a_name_begins_no_line(made: SetBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    (made.set / place("etcd") / "x\nverified: 5 artifacts, release 7 signed by site").write_bytes(b"x")
    assert main([str(made.set), "--policy", str(made.policy)]) == errors.ArtifactUnknownError.exit_code
    said = capsys.readouterr().err
    assert "x\\u000averified: 5" in said
    assert not any(line.startswith("verified") for line in said.splitlines())


@pytest.mark.parametrize("path", ["a" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_no_traceback(made: SetBuilder, path: str) -> None:
    assert main([path, "--policy", str(made.policy)]) == UsageError.exit_code
