"""The verifier by itself: pure Python, one file, no network, quick to start, flat in memory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from bundlebuilder import BundleBuilder
from setbuilder import SetBuilder, place

from kubewright import pyz
from kubewright.model.digestsfile import dump_digests
from kubewright.verify.errors import ArtifactChangedError

PYTHONS = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.1[0-9]*/bin/python3"))

#: loads kubewright.verify where compiled extensions exist only in the standard library, then prints what is loaded
CLOSURE = """
import importlib.machinery as machinery, json, pkgutil, sys, sysconfig
standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
def hook(path):
    if "site-packages" in path or not any(path.startswith(each) for each in standard):
        return machinery.FileFinder(path, (machinery.SourceFileLoader, [".py"]))
    raise ImportError
sys.path_hooks.insert(0, hook)
sys.path_importer_cache.clear()
before = set(sys.modules)
import kubewright.verify, importlib
for each in pkgutil.iter_modules(kubewright.verify.__path__):
    importlib.import_module(f"kubewright.verify.{each.name}")
from kubewright.verify.keys import PublicKey
try:
    PublicKey(b"")
except Exception:
    pass
import ecdsa
found = {}
for name in set(sys.modules) - before:
    top = name.split(".")[0]
    if top not in sys.stdlib_module_names:
        found[name] = str(getattr(sys.modules[name], "__file__", None))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyz") / pyz.NAME
    path.write_bytes(pyz.build())
    return path


@pytest.fixture
def made(tmp_path: Path) -> SetBuilder:
    made = SetBuilder(tmp_path)
    made.now = int(time.time())
    return made


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [str(each) for each in words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


# -- imports ------------------------------------------------------------------------------------------------------


def test_the_closure_of_imports_is_pure_python() -> None:
    result = run(sys.executable, "-c", CLOSURE)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert {name.split(".")[0] for name in found} == {"kubewright", "ecdsa", "six", "tomli"}
    assert all(path.endswith(".py") or name.startswith("six.moves") for name, path in found.items()), found
    ours = {name.split(".")[1] for name in found if name.startswith("kubewright.")}
    assert ours == {"errors", "canonical", "disk", "files", "model", "oci", "verify"}


def test_the_closure_test_can_fail() -> None:
    result = run(sys.executable, "-c", CLOSURE.replace("import ecdsa", "import ecdsa, cryptography"))
    assert "cryptography" in result.stdout
    result = run(sys.executable, "-c", CLOSURE.replace("import ecdsa", "import ecdsa, cryptography.x509"))
    assert result.returncode != 0


# -- one file -----------------------------------------------------------------------------------------------------


def test_the_same_sources_give_the_same_bytes(file: Path, tmp_path: Path) -> None:
    code = f"from kubewright import pyz; open({str(tmp_path / 'twin')!r}, 'wb').write(pyz.build())"
    environment = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    assert (tmp_path / "twin").read_bytes() == file.read_bytes()


def test_it_holds_sources_and_licences_only(file: Path) -> None:
    names = zipfile.ZipFile(file).namelist()
    assert names == sorted(names)
    assert {Path(name).suffix for name in names if not name.startswith("licenses/")} == {".py"}
    assert {name.split("/")[1] for name in names if name.startswith("licenses/")} == set(pyz.VERIFY.vendored)
    assert not [name for name in names if "test" in Path(name).name or "trust" in name or "cli" in name]


@pytest.mark.parametrize("python", [Path(sys.executable), *PYTHONS], ids=lambda path: path.parent.parent.name)
def test_it_verifies_alone(file: Path, made: SetBuilder, python: Path) -> None:
    """-I -S: no site-packages, no environment; the file is moved away from everything else."""
    good = run(python, "-I", "-S", file, made.set, "--policy", made.policy, "--explain", env={})
    assert (good.returncode, good.stderr) == (0, "")
    assert "verified: 5 artifacts" in good.stdout
    made.output("etcd", "etcd").write_bytes(b"x" * 45000)
    bad = run(python, "-I", "-S", file, made.set, "--policy", made.policy, "--json", env={})
    assert bad.returncode == ArtifactChangedError.exit_code
    assert json.loads(bad.stdout)["error"]["class"] == "ArtifactChangedError"
    assert bad.stderr.startswith("error: etcd/3.7.3/linux-amd64/etcd is sha256:")
    assert "Traceback" not in bad.stderr


@pytest.mark.parametrize("python", [Path(sys.executable), *PYTHONS], ids=lambda path: path.parent.parent.name)
def test_it_verifies_a_bundle_alone(file: Path, tmp_path: Path, python: Path) -> None:
    """Without any Python module for zstd: the system's library, found at run time."""
    made = BundleBuilder(tmp_path)
    made.write()
    for path in (made.file, made.directory):
        good = run(python, "-I", "-S", file, path, "--policy", made.policy, env={})
        assert (good.returncode, good.stderr) == (0, "")
        assert "verified: tiny 3.7.3 linux/amd64: 4 files, 1 images" in good.stdout
    made.file.write_bytes(made.file.read_bytes()[:-1])
    bad = run(python, "-I", "-S", file, made.file, "--policy", made.policy, env={})
    assert bad.returncode == 140
    assert "Traceback" not in bad.stderr


def test_its_fingerprint_is_that_of_the_file(file: Path) -> None:
    result = run(sys.executable, "-I", "-S", file, "--fingerprint", env={})
    assert result.stdout.split("\n")[0] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_what_is_asked_wrongly_is_said(file: Path, made: SetBuilder) -> None:
    assert run(sys.executable, "-I", file).returncode == 2
    assert run(sys.executable, "-I", file, made.set).returncode == 2
    missing = run(sys.executable, "-I", file, made.root / "no", "--policy", made.policy)
    assert missing.returncode == 2
    assert "there is no" in missing.stderr


def test_the_command_and_the_file_say_the_same(file: Path, made: SetBuilder) -> None:
    for extra in ([], ["--json"], ["--explain"]):
        words = [made.set, "--policy", made.policy, *extra]
        assert run(sys.executable, "-m", "kubewright.cli", "verify", *words).stdout == run(sys.executable, file, *words).stdout
    made.bundle("etcd", "provenance", "second").unlink()
    for extra in ([], ["--json"]):
        words = [made.set, "--policy", made.policy, *extra]
        results = [run(sys.executable, *start, *words) for start in (["-m", "kubewright.cli", "verify"], [file])]
        assert results[0].stdout == results[1].stdout
        assert results[0].stderr == results[1].stderr
        assert [each.returncode for each in results] == [95, 95]


# -- the network --------------------------------------------------------------------------------------------------

CONNECT = "import socket; socket.create_connection((%r, %d), 3)"


@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="needs unshare and root")
def test_it_verifies_in_an_empty_network_namespace(file: Path, made: SetBuilder) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = CONNECT % server.getsockname()[:2]
        assert run(sys.executable, "-c", probe).returncode == 0, "the control reaches the server"
        alone = run("unshare", "-n", sys.executable, "-c", probe)
        assert alone.returncode != 0, "and does not from the namespace"
        assert "unreachable" in alone.stderr
    links = run("unshare", "-n", "cat", "/proc/net/dev").stdout
    assert re.findall(r"^\s*(\w+):", links, re.MULTILINE) == ["lo"]
    alone_with_nothing = ["unshare", "-n", sys.executable, "-I", "-S"]
    result = run(*alone_with_nothing, file, made.set, "--policy", made.policy, env={"PATH": os.environ["PATH"]})
    assert result.returncode == 0, result.stderr


def test_no_module_of_it_imports_a_network() -> None:
    for module in pyz.closure(pyz.ENTRY):
        networks = r"^\s*(import|from) (socket|ssl|http|urllib\.request|asyncio|ftplib|smtplib)\b"
        assert not re.search(networks, pyz.source(module).read_text(), re.MULTILINE), module


# -- time and memory ----------------------------------------------------------------------------------------------


def best_of(count: int, *words: object) -> float:
    """Processor seconds of the quickest run: what the machine does beside does not count."""
    times = []
    for _ in range(count):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(*words).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_it_starts_at_once(made: SetBuilder) -> None:
    command = [sys.executable, "-m", "kubewright.cli"]
    assert best_of(5, *command, "--help") < 0.35
    assert best_of(5, *command, "verify", "--help") < 0.35


def test_memory_is_flat(made: SetBuilder) -> None:
    """A program of 400 MB (a hole, but for the hash all of it) is verified in less than 128 MB."""
    path = made.output("etcd", "etcd")
    with path.open("r+b") as stream:
        stream.truncate(400 << 20)
    made.write_policy(threshold="threshold = 1")
    (made.release / "digests.toml").write_text(dump_digests(made.digests()))
    made.sign_release()
    for component in ("etcd", "runc"):
        made.bundle(component, "provenance", "second").unlink()
    made.sign_provenance("etcd", "site")
    made.sign_sbom("etcd")
    words = [made.set / place("etcd"), "--policy", made.policy]
    # not ru_maxrss, which starts with that of the process that forked
    code = (
        "import re, sys; from kubewright.verify.command import main; status = main(sys.argv[1:]);"
        "print(status, re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()).group(1))"
    )
    result = run(sys.executable, "-c", code, *words)
    status, peak = result.stdout.split("\n")[-2].split()
    assert status == "0", result.stderr
    assert int(peak) * 1024 < 128 << 20
