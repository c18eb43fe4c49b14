"""What containerd pulls is verified, and an install shows that it is."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from contents import CLUSTER, CONTROL_PLANE, FACTS, Shelf, content
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_double import Runtime, frame, resolve

from kubewright.install import cri, judge, proof
from kubewright.install.errors import CommandError, InstallError, PullCheckError
from kubewright.install.host import Host
from kubewright.install.journal import Journal
from kubewright.install.kubernetes import plan_kubernetes
from kubewright.install.place import place
from kubewright.install.plan import Run
from kubewright.install.pulls import ADVICE, LOG
from kubewright.install.runtime import SOCKET
from kubewright.install.show import plan_data
from kubewright.model import tomlfile
from kubewright.verify.errors import VerifyError

PLAN = plan_kubernetes(content(), CLUSTER, CONTROL_PLANE, FACTS)


def text(path: str) -> str:
    found = next(file.content for file in (*PLAN.files, *PLAN.outside) if file.path == path)
    assert isinstance(found, str)
    return found


# -- the plan ------------------------------------------------------------------------------------------------------------


def test_containerd_asks_our_verifier_and_has_no_way_past_it() -> None:
    plugins = tomlfile.parse(text("etc/containerd.toml"), "containerd.toml", InstallError).data["plugins"]
    verifier = plugins["io.containerd.image-verifier.v1.bindir"]
    assert verifier["bin_dir"] == "/var/lib/kubewright/current/verifiers"
    assert verifier["max_verifiers"] < 0
    images = plugins["io.containerd.cri.v1.images"]
    # each of these makes containerd's CRI pull by itself (CheckLocalImagePullConfigs)
    ways_past = {
        "disable_snapshot_annotations",
        "discard_unpacked_layers",
        "max_concurrent_downloads",
        "image_pull_with_sync_fs",
    }
    assert not ways_past & images.keys()
    assert images["use_local_image_pull"] is False
    assert images["registry"] == {"config_path": "/var/lib/kubewright/certs.d"}


def test_the_verifier_is_the_only_file_of_its_directory() -> None:
    (verifier,) = [file for file in PLAN.files if file.path.startswith("verifiers/")]
    assert verifier.mode == 0o755
    unit = text("/etc/systemd/system/containerd.service")
    assert "AssertFileIsExecutable=/var/lib/kubewright/current/verifiers/kubewright\n" in unit


def test_names_of_others_are_answered_at_once() -> None:
    hosts = tomlfile.parse(text("/var/lib/kubewright/certs.d/_default/hosts.toml"), "hosts.toml", InstallError).data
    assert hosts == {"server": f"http://127.0.0.1:987{ADVICE}", "override_path": True}


def test_an_install_shows_it_before_anything_of_a_cluster_runs() -> None:
    names = [step.name for step in PLAN.steps]
    assert names.index("images") < names.index("what is pulled is verified") < names.index("kubeadm init")
    step = next(step for step in PLAN.steps if step.name == "what is pulled is verified")
    assert isinstance(step, Run)
    assert step.argv[-2:] == ("node", "check-pulls")


# -- the verifier's log ----------------------------------------------------------------------------------------------------


def test_what_is_refused_is_written_down(host: Host) -> None:
    with pytest.raises(VerifyError):
        judge.judge(host, "registry.k8s.io/pause:1", "sha256:" + "0" * 64, io.BytesIO(b"{}"))
    (line,) = judge.judgements(host, 0)
    assert (line.name, line.allowed) == ("registry.k8s.io/pause:1", False)
    assert host.path(LOG).stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_down_is_not_pulled(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "accept_pull", lambda *_: "signed")
    monkeypatch.setattr(judge, "load_policy", lambda _: None)
    digest = "sha256:" + "0" * 64
    descriptor = json.dumps({"digest": digest}).encode()
    assert judge.judge(host, "a:1", digest, io.BytesIO(descriptor)) == "signed"
    host.path(LOG).unlink()
    host.path(LOG).symlink_to("/dev/null")
    with pytest.raises(VerifyError, match="what cannot be written down is not pulled"):
        judge.judge(host, "a:1", digest, io.BytesIO(descriptor))


def test_the_log_begins_anew_before_it_fills_the_disk(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "_LONGEST_LOG", 100)
    for _ in range(3):
        with pytest.raises(VerifyError):
            judge.judge(host, "a:1", "d", io.BytesIO(b""))
    assert host.path(LOG).stat().st_size < 400
    assert host.path(LOG).with_suffix(".jsonl.1").exists()


# -- the proof -------------------------------------------------------------------------------------------------------------


def blob(host: Host, value: object) -> str:
    data = json.dumps(value).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    folder = host.path("/run/content")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / digest).write_bytes(data)
    return digest


@pytest.fixture
def node(source: Shelf, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, Journal]]:
    """A host whose containerd has one image. In a folder with a short name: a socket's path is not long."""
    from contents import make_host

    with tempfile.TemporaryDirectory(prefix="kw") as folder:
        host = Host(make_host(Path(folder) / "r"))
        place(host, PLAN, source, lambda what: None)
        layer, config = blob(host, "a layer"), blob(host, {"config": {}})
        value = {"mediaType": "m", "config": {"digest": config}, "layers": [{"digest": layer}]}
        signed = {"name": "pause", "reference": "registry.k8s.io/pause:1", "digest": blob(host, value)}
        data = {**plan_data(PLAN), "steps": [{"images": [signed]}]}
        host.path(SOCKET).parent.mkdir(parents=True)
        # below the kernel's range for clients, another one in each process
        monkeypatch.setattr(proof, "CHECK_PORT", 20_000 + os.getpid() % 12_000)
        yield host, Journal(host, data)


def signed_digest(journal: Journal) -> str:
    return str(journal.plan["steps"][0]["images"][0]["digest"])


def faithful(host: Host, journal: Journal, name: str) -> str:
    """Asks the registry, asks the verifier, and does what it says."""
    digest = resolve(proof.CHECK_PORT, f"{ADVICE}/pause/manifests/1")
    good = digest == signed_digest(journal)
    judge._write(host, judge.Judgement(name, digest, good, "signed" if good else "not signed"))
    return digest if good else ""


def credulous(host: Host, journal: Journal, name: str) -> str:
    """Its directory of verifiers is empty."""
    return resolve(proof.CHECK_PORT, f"{ADVICE}/pause/manifests/1")


def disobedient(host: Host, journal: Journal, name: str) -> str:
    return faithful(host, journal, name) or "sha256:whatever"


def deaf(host: Host, journal: Journal, name: str) -> str:
    """Pulls from somewhere else."""
    return "sha256:whatever"


def fearful(host: Host, journal: Journal, name: str) -> str:
    credulous(host, journal, name)
    return ""


RUNTIMES: dict[str, tuple[Callable[[Host, Journal, str], str], str]] = {
    "credulous": (credulous, "the signed image .* was pulled, and not by the verifier"),
    "disobedient": (disobedient, "the unsigned image .* was pulled: not signed"),
    "deaf": (deaf, "containerd did not ask where the signed image"),
    "fearful": (fearful, "the signed image .* was refused: the verifier was not asked"),
}


def test_a_runtime_that_asks_the_verifier_is_believed(node: tuple[Host, Journal]) -> None:
    host, journal = node
    runtime = Runtime(host.path(SOCKET), lambda name: faithful(host, journal, name))
    said = proof.prove(host, journal)
    runtime.close()
    assert "its unsigned twin was refused: not signed" in said
    assert [each.allowed for each in judge.judgements(host, 0)] == [True, False]
    assert "ctr images label registry.k8s.io/pause:1 io.cri-containerd.pinned=pinned" in (host.root / "calls").read_text()


@pytest.mark.parametrize(("behaviour", "message"), RUNTIMES.values(), ids=RUNTIMES)
def test_any_other_is_not(node: tuple[Host, Journal], behaviour: Callable[[Host, Journal, str], str], message: str) -> None:
    host, journal = node
    runtime = Runtime(host.path(SOCKET), lambda name: behaviour(host, journal, name))
    with pytest.raises(PullCheckError, match=message):
        proof.prove(host, journal)
    runtime.close()


def test_a_twin_differs_in_nothing_but_a_label(node: tuple[Host, Journal]) -> None:
    host, journal = node
    signed = proof._signed(host, signed_digest(journal))
    twin = proof.twin_of(signed)
    assert twin.digest != signed.digest
    one, other = (json.loads(offer.blobs[offer.digest]) for offer in (signed, twin))
    assert one["layers"] == other["layers"]
    assert json.loads(twin.blobs[other["config"]["digest"]]) == {"config": {"Labels": {"unsigned": "twin"}}}


# -- the call to containerd --------------------------------------------------------------------------------------------------


def test_a_runtime_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        cri.pull_image(tmp_path / "sock", "a:1")


@given(said=st.binary(max_size=200))
@settings(deadline=None, max_examples=60)
def test_a_runtime_that_talks_nonsense(said: bytes) -> None:
    answered(said)


@given(flags=st.integers(0, 255), kind=st.integers(0, 9), payload=st.binary(max_size=60))
@settings(deadline=None, max_examples=60)
def test_frames_of_any_kind(flags: int, kind: int, payload: bytes) -> None:
    answered(frame(kind, flags, 1, payload))


def answered(said: bytes) -> str:
    """What is made of an answer: an image's id, or nothing; never another error than ours."""
    with tempfile.TemporaryDirectory(prefix="kw") as folder, socket.socket(socket.AF_UNIX) as listening:
        path = Path(folder) / "s"
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(5)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection, suppress(ConnectionError):
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            return cri.pull_image(path, "a:1", 5)
        except CommandError:
            return ""
        finally:
            thread.join()


def test_an_answer_in_pieces_and_with_padding() -> None:
    message = b"\x0a\x03abc"
    data = b"\0" + len(message).to_bytes(4, "big") + message
    padded = frame(0, 8, 1, b"\x02" + data[:4] + b"\0\0")
    assert answered(frame(4, 0, 0) + padded + frame(0, 0, 1, data[4:]) + frame(1, 5, 1, b"\x88")) == "abc"
    assert answered(frame(0, 0, 3, data) + frame(1, 5, 1, b"\x88")) == ""
    assert answered(frame(0, 1, 1, data)[:-1]) == ""
