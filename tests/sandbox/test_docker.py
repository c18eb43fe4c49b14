"""What is docker's own: the daemon that goes away, is not there or does not fit; the image; the start program."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import as_ordinary
from dockerd import Daemon, NoDaemonError

from kubewright.errors import SandboxError
from kubewright.sandbox import Mount, Spec, image, start
from kubewright.sandbox.containers import _Frames
from kubewright.sandbox.docker import Docker, _unfit

MACHINE = platform.machine()


# -- the daemon -------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that a test may kill."""
    try:
        started = Daemon()
        started.start()
    except NoDaemonError as error:
        if os.environ.get("KUBEWRIGHT_TEST_DOCKER") == "required":
            pytest.fail(f"KUBEWRIGHT_TEST_DOCKER=required, and {error}")
        pytest.skip(str(error))
    monkeypatch.setenv("DOCKER_HOST", started.host)
    yield started
    started.stop()


def test_a_daemon_that_goes_away_half_way_is_said(own_daemon: Daemon, probe: Path, folder: Path) -> None:
    spec = Spec(("/probe", "linger", "60"), folder / "build", mounts=(Mount(probe, "/probe"),))
    with pytest.raises(SandboxError, match=r"the docker daemon at unix://.* went away"):
        Docker().run(spec, lambda _: own_daemon.kill())
    own_daemon.start()  # which ends what the other one left running
    spec = Spec(("/probe", "exit", "0"), folder / "build", mounts=(Mount(probe, "/probe"),))
    assert Docker().run(spec, lambda _: None).status == 0


def test_an_ordinary_user_without_the_docker_group_is_told(own_daemon: Daemon) -> None:
    import docker  # noqa: F401 - imported while we may read it

    Path(own_daemon.folder).chmod(0o755)
    said = as_ordinary(Docker().usable)
    assert said.startswith(f"no permission to use the docker daemon at {own_daemon.host}; add your user to the group docker")


def test_no_daemon_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/none.sock")
    said = Docker().usable()
    assert said == (
        f"no docker daemon answers at unix://{folder}/none.sock; start it, set DOCKER_HOST to the one to use,"
        ' or set sandbox = "bubblewrap"'
    )


@pytest.mark.parametrize(
    ("url", "about", "reason"),
    [
        ("http://192.0.2.1:2375", {"OSType": "linux"}, "is not on a unix socket of this machine"),
        ("http+docker://localhost", {"OSType": "windows"}, "runs windows containers"),
        ("http+docker://localhost", {"OSType": "linux", "SecurityOptions": ["name=rootless"]}, "maps user ids"),
        ("http+docker://localhost", {"OSType": "linux", "SecurityOptions": ["name=userns"]}, "maps user ids"),
        ("http+docker://localhost", {"OSType": "linux", "SecurityOptions": ["name=seccomp,profile=default"]}, None),
    ],
)
def test_a_daemon_that_does_not_fit_is_said(url: str, about: dict[str, object], reason: str | None) -> None:
    said = _unfit(url, about)
    assert said is None if reason is None else said is not None and reason in said


@pytest.mark.parametrize("size", [1, 3, 8, 9, 1000])
def test_the_stream_is_read_however_it_is_cut(size: int) -> None:
    sent = ((1, b"one"), (2, b""), (1, b"two" * 100), (2, b"say"), (1, b"3"))
    frames = b"".join(bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data for stream, data in sent)
    out, other = bytearray(), bytearray()
    reader = _Frames((out.extend, other.extend))
    for begin in range(0, len(frames), size):
        reader.take(frames[begin : begin + size])
    assert (out, other) == (b"one" + b"two" * 100 + b"3", b"say")


# -- the image --------------------------------------------------------------------------------------------------------


def _root(folder: Path, mtime: int) -> Path:
    root = folder / f"root{mtime}"
    for name in ("usr/bin", "empty", "z" * 60 + "/" + "y" * 120):
        (root / name).mkdir(parents=True)
    (root / "usr/bin/tool").write_bytes(b"x" * 1000)
    (root / "usr/bin/tool").chmod(0o4755)
    (root / "bin").symlink_to("usr/bin")
    for path in root.rglob("*"):
        os.utime(path, (mtime, mtime), follow_symlinks=False)
    return root


def test_the_same_files_give_the_same_image(folder: Path) -> None:
    one, two = (b"".join(image.archive(_root(folder, mtime), "name", MACHINE)) for mtime in (1, 2))
    assert one == two
    assert image.reference(folder / "root1", None, MACHINE) == image.reference(folder / "root2", None, MACHINE)


def test_the_image_is_a_docker_archive_of_the_root(folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.archive(_root(folder, 1), "a:b", MACHINE)))) as archive:
        content = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    manifest = json.loads(content["manifest.json"])[0]
    layer = content[manifest["Layers"][0]]
    assert json.loads(content[manifest["Config"]])["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        members = {member.name: member for member in files}
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}
    assert members["usr/bin/tool"].mode == 0o755  # no setuid
    assert members["bin"].linkname == "usr/bin"
    assert set(members) >= {start.PATH[1:], "empty", "usr/bin", "z" * 60 + "/" + "y" * 120}


def test_the_image_s_name_says_the_root_and_the_start_program() -> None:
    helper = hashlib.sha256(start.program(MACHINE)).hexdigest()[:12]
    assert image.reference(Path("/x"), "sha256:abc", MACHINE) == f"kubewright/root:sha256-abc-{helper}"
    assert image.reference(None, None, MACHINE) == f"kubewright/root:empty-{helper}"


# -- the start program ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_start_program_is_what_its_source_assembles_to(machine: str, tmp_path: Path) -> None:
    tools = "" if machine == MACHINE else f"{machine}-linux-gnu-"
    if shutil.which(f"{tools}as") is None or shutil.which(f"{tools}objcopy") is None:
        pytest.skip(f"no assembler for {machine} (binutils-{machine}-linux-gnu)")
    source = Path(__file__).parent / "start" / f"{machine}.s"
    subprocess.run([f"{tools}as", "-o", tmp_path / "o", source], check=True)
    subprocess.run([f"{tools}objcopy", "-O", "binary", "-j", ".text", tmp_path / "o", tmp_path / "code"], check=True)
    assert start.code(machine) == (tmp_path / "code").read_bytes()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_start_program_works_on_its_own(machine: str, tmp_path: Path, probe: Path) -> None:
    emulator = [] if machine == MACHINE else [shutil.which(f"qemu-{machine}-static")]
    if None in emulator:
        pytest.skip(f"nothing here runs {machine} programs (qemu-user-static)")
    program = tmp_path / "start"
    code = start.program(machine)
    if emulator:  # it emulates no filters: the jump of a refused one becomes a no-operation
        assert code.count(bytes.fromhex("600200b5")) == 1
        code = code.replace(bytes.fromhex("600200b5"), bytes.fromhex("1f2003d5"))
    program.write_bytes(code)
    program.chmod(0o755)

    def run(umask: int, candidates: list[str], *argv: str, apart: bool = False) -> subprocess.CompletedProcess[str]:
        words = start.command(umask, candidates, argv, apart=apart)[1:]
        return subprocess.run([*emulator, program, *words], capture_output=True, text=True, check=False, env={"A": "b"})

    done = run(0o137, ["/missing", str(probe)], "probe", "identity")
    assert re.search("umask=137 ", done.stdout)
    assert run(0o22, [str(probe)], "probe", "environment").stdout == "A=b\n"
    assert run(0o22, [str(probe)], "probe", "alternate", "4").stdout == "0\n1\n2\n3\n"
    assert run(0o22, [str(probe)], "probe", "alternate", "4", apart=True).stdout == "0\n2\n"
    assert "umask=777 " in run(0o777, [str(probe)], "probe", "identity", apart=True).stdout
    assert run(0o22, ["/missing", "/usr/missing"], "probe").returncode == 127
    assert run(0o22, ["/missing", "/etc"], "probe").returncode == 126
    if not emulator:
        assert run(0o22, [str(probe)], "probe", "addkey").returncode == 1
