"""Where running executables come from: /proc of a host in a directory, with real files behind the links."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from contents import CLUSTER, Shelf, content

from kubewright.install import run
from kubewright.install.audit import audit, require_known
from kubewright.install.errors import InstallError, UnknownProgramError
from kubewright.install.host import Host
from kubewright.install.journal import read

BLOBS = "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256"


def running(host: Host, pid: int, data: bytes) -> None:
    """A process whose executable has these bytes."""
    program = host.root / "programs" / str(pid)
    program.parent.mkdir(exist_ok=True)
    program.write_bytes(data)
    (host.root / "proc" / str(pid)).mkdir()
    (host.root / "proc" / str(pid) / "exe").symlink_to(program)


def blob(host: Host, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    host.path(BLOBS).mkdir(parents=True, exist_ok=True)
    host.path(f"{BLOBS}/{name}").write_bytes(data)
    return f"sha256:{name}"


def layer(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def node(host: Host, source: Shelf) -> Host:
    run.install(host, content(source), source, CLUSTER, run.Options(node="one"))
    plan = read(host).plan
    manifest = json.dumps({"layers": [{"digest": blob(host, layer(server=b"in an image"))}]}).encode()
    for step in plan["steps"]:
        for image in step.get("images", ()):
            image["digest"] = blob(host, manifest)
    (host.root / "var/lib/kubewright/install.json").write_text(
        json.dumps({**json.loads((host.root / "var/lib/kubewright/install.json").read_text()), "plan": plan})
    )
    return host


def test_a_program_of_the_bundle(node: Host, source: Shelf) -> None:
    running(node, 7, source.files["containerd", "containerd"])
    (found,) = audit(node, read(node), None)
    assert (found.pid, found.origin) == (7, "bundle: containerd/containerd")


def test_a_program_of_an_image(node: Host) -> None:
    running(node, 8, b"in an image")
    (found,) = audit(node, read(node), None)
    assert found.origin.endswith("/server")
    assert found.origin.startswith("image: ")


def test_a_program_of_a_listed_package(node: Host, tmp_path: Path) -> None:
    running(node, 1, b"systemd")
    listing = tmp_path / "packages.json"
    listing.write_text(json.dumps({hashlib.sha256(b"systemd").hexdigest(): "systemd/usr/lib/systemd/systemd"}))
    (found,) = audit(node, read(node), listing)
    assert found.origin == "package: systemd/usr/lib/systemd/systemd"


@pytest.mark.parametrize("listed", ["[]", "7", '{"x": 1}', "{"])
def test_what_is_no_list_of_packages_is_refused(node: Host, tmp_path: Path, listed: str) -> None:
    (tmp_path / "packages.json").write_text(listed)
    with pytest.raises(InstallError, match="packages"):
        audit(node, read(node), tmp_path / "packages.json")


def test_a_program_of_nobody(node: Host) -> None:
    running(node, 666, b"miner")
    programs = audit(node, read(node), None)
    with pytest.raises(UnknownProgramError, match="pid 666"):
        require_known(programs)


def test_a_layer_that_was_changed_proves_nothing(node: Host) -> None:
    running(node, 9, b"evil")
    name = hashlib.sha256(layer(server=b"in an image")).hexdigest()
    node.path(f"{BLOBS}/{name}").write_bytes(layer(server=b"evil"))
    with pytest.raises(InstallError, match="does not have the digest of its name"):
        audit(node, read(node), None)


def test_a_thread_of_the_kernel_has_no_program(node: Host) -> None:
    (node.root / "proc/2").mkdir()
    assert audit(node, read(node), None) == []
