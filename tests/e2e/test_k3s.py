"""k3s, by its own recipe, from a stand-in with its shape: built in both sandboxes, bit for bit the same, and it runs."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from standin import RECIPE, VERSION, Standin, document, without_pins

from kubewright.errors import FactError, SmokeError

#: SQLite is compiled several times over, cold, on a machine that may have other work
pytestmark = [pytest.mark.timeout(3600), pytest.mark.xdist_group("k3s")]
#: as upstream's package-cli and build make them
OF_K3S = ["agent", "certificate", "completion", "etcd-snapshot", "secrets-encrypt", "server", "token"]
OF_CNI = ["bandwidth", "bridge", "firewall", "flannel", "host-local", "loopback", "portmap"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home on a machine that has never seen k3s."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run(k3s: Standin, home: Path, *arguments: str) -> str:
    program = k3s.shop.artifact("k3s", version=VERSION)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([program, *arguments], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def data(k3s: Standin) -> Path:
    return k3s.shop.artifact("k3s", "data", VERSION) / "bin"


# -- the recipe ---------------------------------------------------------------------------------------------------


def test_its_recipe_is_that_of_k3s_but_for_origins_pins_and_versions(k3s: Standin) -> None:
    ours, real = document(k3s.shop.root / "recipes/k3s/recipe.toml"), document(RECIPE)
    assert without_pins(ours) == without_pins(real)
    assert ours != real
    assert (k3s.shop.root / "recipes/k3s/launch.c").read_bytes() == (RECIPE.parent / "launch.c").read_bytes()


def test_forks_are_at_the_versions_that_its_go_mod_names(k3s: Standin) -> None:
    tags = {pin.name: pin.tag or pin.branch for pin in k3s.shop.project().lock.components["k3s"].sources}
    assert tags["k3s"] == f"v{VERSION}"
    assert tags["containerd"] == "v2.3.4-k3s1"
    assert tags["charts"] == "main"


# -- bit for bit --------------------------------------------------------------------------------------------------


def test_the_other_sandbox_cold_and_varied_gives_the_same_bytes(k3s: Standin, docker_host: str) -> None:
    done = k3s.shop.doit("rebuild:k3s", DOCKER_HOST=docker_host)
    assert "identical: built in bubblewrap, rebuilt in docker" in done.text


# -- it runs ------------------------------------------------------------------------------------------------------


def test_it_unpacks_checks_and_runs(k3s: Standin, home: Path) -> None:
    commit = k3s.shop.pin("k3s").commit
    assert run(k3s, home, "--version").startswith(f"k3s version v{VERSION} ({commit[:8]})\ngo version go1.")
    said = run(k3s, home, "kubectl", "version", "--client", "--output=yaml")
    assert f"gitVersion: v{VERSION}" in said
    assert f"gitCommit: {commit}" in said
    (unpacked,) = (home / ".rancher/k3s/data").iterdir()
    assert re.fullmatch("[0-9a-f]{64}", unpacked.name)
    assert (unpacked / "bin/kubectl").readlink() == Path("k3s")
    assert {path.name for path in (unpacked / "bin").iterdir()} == {path.name for path in data(k3s).iterdir()}


def test_the_server_uses_sqlite_and_seccomp_and_knows_all_versions(k3s: Standin, home: Path) -> None:
    facts = json.loads(run(k3s, home, "server"))
    commit = k3s.shop.pin("k3s").commit
    date = "2023-11-14T22:13:20Z"
    assert facts["version"] == f"v{VERSION} {commit[:8]}"
    assert facts["pages"] > 0, "sqlite was compiled without the table dbstat"
    assert facts["sqlite"].startswith("3.")
    assert facts["seccomp"].startswith("2.")
    assert facts["kubernetes"] == facts["client"] == f"v{VERSION}"
    assert facts["router"] == f"v2.6.3-k3s1 {date}"
    assert facts["dockerd"] == f"v0.3.19-k3s5 HEAD {date}"
    assert facts["helm"] == "rancher/klipper-helm:v0.13.3-build20260727"
    assert facts["etcd"] == "HEAD"
    assert set(facts["charts"]) >= {f"charts/{name}" for name in k3s.charts}
    assert {"coredns.yaml", "traefik.yaml", "metrics-server/deployment.yaml"} <= set(facts["manifests"])
    assert Path(facts["data"]).parent == home / ".rancher/k3s/data"


def test_programs_are_static(k3s: Standin) -> None:
    for name in ("k3s", "cni", "containerd-shim-runc-v2", "runc", "aux/launch", "aux/debian/usr/bin/busybox"):
        said = subprocess.run(["readelf", "-d", data(k3s) / name], capture_output=True, text=True, check=True).stdout
        assert "(NEEDED)" not in said, name


@pytest.mark.parametrize(
    ("program", "word"),
    [
        ("ipset", "help"),
        ("conntrack", "--version"),
        ("unpigz", "--version"),
        ("aux/ip6tables-nft", "--version"),
        ("blkid", "-V"),
    ],
)
def test_helper_programs_take_no_library_of_the_host(k3s: Standin, program: str, word: str) -> None:
    env = {"PATH": "/nothing", "LD_DEBUG": "libs"}  # the loader tells what it loads
    done = subprocess.run([data(k3s) / program, word], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = re.findall(r"calling init: (\S+)", done.stderr)
    assert len(loaded) > 1
    assert [path for path in loaded if not Path(path).is_relative_to(data(k3s))] == []


# -- the data archive ---------------------------------------------------------------------------------------------


def archive(k3s: Standin) -> tuple[str, bytes]:
    """Name and plain bytes of the archive: it stands in the wrapper as it was packed."""
    wrapper = k3s.shop.artifact("k3s", version=VERSION).read_bytes()
    (step,) = [step for step in k3s.shop.record("k3s").steps if step.argv[0] == "install" and "data.tar.zst" in step.argv]
    name = Path(step.argv[-1]).name
    start = wrapper.index(b"\x28\xb5\x2f\xfd", wrapper.index(b"\x28\xb5\x2f\xfd"))
    while True:
        stream = zstandard.ZstdDecompressor(max_window_size=1 << 25).decompressobj()
        try:
            plain = stream.decompress(wrapper[start:])
            packed = wrapper[start : len(wrapper) - len(stream.unused_data)]
            if f"{hashlib.sha256(packed).hexdigest()}.tar.zst" == name:
                return name, plain
        except zstandard.ZstdError:
            pass
        start = wrapper.index(b"\x28\xb5\x2f\xfd", start + 1)


def test_the_archive_is_named_by_its_digest_and_holds_nothing_of_its_maker(k3s: Standin) -> None:
    name, plain = archive(k3s)
    assert re.fullmatch(r"[0-9a-f]{64}\.tar\.zst", name)
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        members = tar.getmembers()
    date = k3s.shop.pin("k3s").source_date
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname) for each in members} == {(date, 0, 0, "", "")}
    assert {oct(each.mode) for each in members if not each.issym()} == {"0o644", "0o755"}
    paths = [each.name for each in members]
    assert paths == sorted(paths, key=lambda path: path.split("/"))


def test_sums_and_links_are_those_of_the_files(k3s: Standin) -> None:
    folder = data(k3s)
    sums = [line.split("  ") for line in (folder / ".sha256sums").read_text().splitlines()]
    assert [path for _, path in sums] == sorted(path for _, path in sums)
    assert {path: digest for digest, path in sums} == {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    }
    links = [line.split(" ") for line in (folder / ".links").read_text().splitlines()]
    assert links == sorted(links)
    assert dict(links) == {
        str(path.relative_to(folder)): str(path.readlink()) for path in folder.rglob("*") if path.is_symlink()
    }
    expected = {f"k3s-{name}": "k3s" for name in OF_K3S} | dict.fromkeys(("kubectl", "crictl", "ctr", "containerd"), "k3s")
    assert (expected | dict.fromkeys(OF_CNI, "cni")).items() <= dict(links).items()


def test_no_link_leads_nowhere_or_out(k3s: Standin) -> None:
    folder = data(k3s)
    for path in folder.rglob("*"):
        assert path.resolve().is_relative_to(folder.resolve()), path
        assert path.exists(), path


# -- what is told of it -------------------------------------------------------------------------------------------


def test_why_says_which_package_each_helper_program_is_of(k3s: Standin) -> None:
    said = k3s.shop.kubewright("why", "k3s").out
    for package, path in (
        ("ipset", "usr/sbin/ipset"),
        ("busybox-static", "usr/bin/busybox"),
        ("libc6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
    ):
        assert re.search(rf"^ *{package} +\S+ +{path} +[0-9a-f]{{64}}$", said, re.MULTILINE), package
    assert "runc (key sha256:" in said


# -- what may go wrong --------------------------------------------------------------------------------------------


def test_a_release_whose_script_names_another_fork_is_not_locked(k3s: Standin) -> None:
    """k3s v1.37.9 takes newer plugins; the recipe still names the old ones."""
    origin = k3s.repositories["k3s"]
    script = (origin.path / "scripts/version.sh").read_text()
    origin.commit({"scripts/version.sh": script.replace("v1.9.1-k3s1", "v1.9.2-k3s1")}, "v1.37.9+k3s1")
    before = (k3s.shop.root / "lockfile.toml").read_bytes()
    k3s.shop.edit("recipes/k3s/recipe.toml", f'version = "{VERSION}"', 'version = "1.37.9+k3s1"')
    try:
        done = k3s.shop.doit("lock:k3s", status=FactError.exit_code)
    finally:
        k3s.shop.edit("recipes/k3s/recipe.toml", 'version = "1.37.9+k3s1"', f'version = "{VERSION}"')
    assert """scripts/version.sh: it does not hold 'VERSION_CNIPLUGINS="v1.9.1-k3s1"'""" in done.err
    assert (k3s.shop.root / "lockfile.toml").read_bytes() == before


def test_a_smoke_check_that_the_wrapper_fails(k3s: Standin) -> None:
    """The checks run again when they change; what was built stays."""
    k3s.shop.edit("recipes/k3s/recipe.toml", '"gitTreeState: clean"', '"gitTreeState: dirty"')
    try:
        done = k3s.shop.doit("build:k3s", status=SmokeError.exit_code)
    finally:
        k3s.shop.edit("recipes/k3s/recipe.toml", '"gitTreeState: dirty"', '"gitTreeState: clean"')
    assert "does not say 'gitTreeState: dirty'" in done.err
