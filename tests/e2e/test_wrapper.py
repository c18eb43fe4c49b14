"""``./doit`` itself on machines that lack something: one reason, what to do, and an exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import REPOSITORY, Done, Workshop

#: what the script needs besides python and git
TOOLS = ("sh", "dirname", "cmp", "flock", "cp", "mv", "env")

Run = Callable[..., Done]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout: nothing has been set up."""
    made = tmp_path / "checkout"
    made.mkdir()
    for name in ("doit", "dodo.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, made / name)
    shutil.copytree(REPOSITORY / "requirements", made / "requirements")
    return made


@pytest.fixture
def run(checkout: Path, tmp_path: Path) -> Run:
    """Run ./doit with nothing on PATH but its tools and what the test adds: name -> script, or None for the real one."""

    def doit(argument: str, mirror: str = "", **programs: str | None) -> Done:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name in (*TOOLS, *(name for name, script in programs.items() if script is None)):
            found = shutil.which(name)
            assert found, name
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(found)
        for name, script in programs.items():
            if script is not None:
                (folder / name).write_text(f"#!/bin/sh\n{script}\n")
                (folder / name).chmod(0o755)
        env = {"PATH": str(folder), "HOME": str(tmp_path), "KUBEWRIGHT_MIRROR": mirror}
        done = subprocess.run([checkout / "doit", argument], env=env, capture_output=True, text=True, timeout=120)
        return Done(done.returncode, done.stdout, done.stderr)

    return doit


def said(done: Done, reason: str, remedy: str, status: int = 40) -> None:
    assert done.status == status, done.text
    lines = done.err.splitlines()
    assert lines[-2].startswith("error: "), done.err
    assert reason in lines[-2]
    assert lines[-1].startswith("  what to do: "), done.err
    assert remedy in lines[-1]


PYTHON = f'exec "{sys.executable}" "$@"'


def test_no_git(run: Run) -> None:
    said(run("list", python3=PYTHON), "git is not installed", "apt-get install git")


def test_no_python(run: Run) -> None:
    said(run("list", git=None), "no Python 3.10 or newer", "apt-get install python3 python3-venv")


def test_a_python_that_is_too_old(run: Run, checkout: Path) -> None:
    old = 'case "$2" in *version_info*) exit 1;; *) echo "never reached" >&2; exit 99;; esac'
    said(run("list", git=None, python3=old), "no Python 3.10 or newer", "PYTHON=")
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv(run: Run, checkout: Path) -> None:
    bare = f'case "$2" in *ensurepip*) exit 1;; esac\n{PYTHON}'
    said(run("list", git=None, python3=bare), "has no venv module", "apt-get install python3-venv")
    assert not (checkout / ".venv").exists()


def test_packages_that_cannot_be_had(run: Run, checkout: Path) -> None:
    """The environment is made, and pip fails in it: the next run begins with pip again."""
    pip = 'printf "#!/bin/sh\\necho no network >&2; exit 1\\n" > .venv/bin/python; chmod +x .venv/bin/python'
    bare = f'case "$2" in venv) mkdir -p .venv/bin; {pip}; exit 0;; esac\n{PYTHON}'
    for _ in range(2):
        done = run("list", git=None, python3=bare, mkdir=None, chmod=None)
        said(done, "cannot be set up from requirements/run.txt", "check the network", 20)
        assert "no network" in done.err
        assert not (checkout / ".venv/.kubewright-run").exists()


# -- a mirror -----------------------------------------------------------------------------------------------------

#: a Python whose venv has a pip that says what it was asked
ASKED = 'printf "#!/bin/sh\\necho asked: \\$* >&2; exit 1\\n" > .venv/bin/python; chmod +x .venv/bin/python'
MAKES = f'case "$2" in venv) mkdir -p .venv/bin; {ASKED}; exit 0;; esac\n{PYTHON}'


@pytest.mark.parametrize(
    ("mirror", "options"),
    [
        ("{folder}", "--isolated --no-index --find-links={folder}/wheels"),
        ("file://{folder}", "--isolated --no-index --find-links={folder}/wheels"),
        (
            "http://m.example.org:80/k/",
            "--isolated --no-index --trusted-host=m.example.org:80 --find-links=http://m.example.org:80/k/wheels/index.html",
        ),
    ],
    ids=["folder", "file", "http"],
)
@pytest.mark.parametrize("written", ["environment", "settings"])
def test_packages_from_a_mirror(run: Run, checkout: Path, tmp_path: Path, mirror: str, options: str, written: str) -> None:
    folder = tmp_path / "the mirror"
    (folder / "wheels").mkdir(parents=True)
    mirror = mirror.format(folder=folder)
    if written == "settings":
        (checkout / "settings.toml").write_text(f'retries = 1\nmirror = "{mirror}"  # ours\n')
    variable = mirror if written == "environment" else ""
    done = run("list", variable, git=None, python3=MAKES, mkdir=None, chmod=None, sed=None)
    said(done, "cannot be set up from requirements/run.txt", "bring the mirror again", 20)
    assert f"pip install {options.format(folder=folder)} --quiet" in done.err


def test_a_mirror_without_packages(run: Run, tmp_path: Path) -> None:
    said(run("list", str(tmp_path), git=None, python3=PYTHON, sed=None), "lacks wheels", "KUBEWRIGHT_MIRROR", 150)


# -- user namespaces ----------------------------------------------------------------------------------------------


#: in a user namespace of its own, with the same ids, which forbids further ones: then the command
FORBIDDING = """
import ctypes, os, sys
reader, writer = os.pipe()
outside = os.getpid()
helper = os.fork()
if helper == 0:
    os.read(reader, 1)
    for kind in ("uid", "gid"):
        with open(f"/proc/{outside}/{kind}_map", "w") as map:
            map.write("0 0 65536")
    os._exit(0)
if ctypes.CDLL(None).unshare(0x10000000):
    sys.exit(99)
os.write(writer, b".")
os.waitpid(helper, 0)
with open("/proc/sys/user/max_user_namespaces", "w") as limit:
    limit.write("0")
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can map ids")
def test_user_namespaces_that_are_forbidden(shop: Workshop) -> None:
    """One sentence and a remedy. The limit is set in a namespace of the test's own, and holds for that alone."""
    shop.small("x", ["tool", "write", "out/x", "hello"])
    shop.doit("lock:x")
    command = [sys.executable, "-c", FORBIDDING, *shop.command("build:x")]
    done = subprocess.run(command, cwd=shop.root, env=shop.environ, capture_output=True, text=True, timeout=120)
    if done.returncode == 99:
        pytest.skip("no user namespace to forbid them in")
    assert done.returncode == 40, done.stdout + done.stderr
    [reason] = done.stderr.splitlines()
    assert "bubblewrap needs user namespaces, and user.max_user_namespaces is 0 on this machine" in reason
    assert "sysctl -w user.max_user_namespaces=10000" in reason
    shop.built_nothing("x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be this root")
def test_a_root_without_other_ids(shop: Workshop) -> None:
    shop.small("x", ["tool", "write", "out/x", "hello"])
    shop.doit("lock:x")
    command = ["unshare", "--user", "--map-root-user", *shop.command("build:x")]
    done = subprocess.run(command, cwd=shop.root, env=shop.environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 40, done.stdout + done.stderr
    assert "kubewright runs as root in a user namespace that has no uid 65530" in done.stderr
    shop.built_nothing("x")
