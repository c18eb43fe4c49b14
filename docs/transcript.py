"""Writes the README's transcript: runs the session in a fresh clone of this checkout; what it said goes between the markers.

python docs/transcript.py [--without-lab | --lab-in CLONE] [--lock FILE]

The lab needs root and docker.io; KUBEWRIGHT_STORE says which store is used. Where other labs may run on the machine, FILE is
locked (flock) for as long as this one does. --lab-in records the lab alone, in a clone that has bundle and policy already, and
keeps the rest.

Nothing of the transcript is written by hand. Outputs longer than a screen are cut in the middle, where ``...`` says so. A
command that fails ends the recording, and README stays as it was.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- transcript:begin -->\n"
END: Final = "<!-- transcript:end -->\n"
_BUNDLE: Final = "artifacts/bundles/kubernetes-1.37.2-linux-amd64.oci.tar.zst"
#: what is typed; the key's passphrase is typed as well, here it comes from the environment
SESSION: Final = (
    "kubewright key new --out site.key",
    "kubewright policy new --key site=site.pub --out site.toml",
    "./doit -n 2 bundle:kubernetes",
    f"kubewright verify {_BUNDLE} --policy site.toml",
    f"kubewright install {_BUNDLE} --policy site.toml --role control-plane --dry-run",
)
LAB: Final = ("./doit lab:m1", "./doit lab:m1:down")
#: lines that are shown of the beginning and of the end of an output
HEAD, TAIL = 6, 14


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--without-lab", action="store_true")
    arguments.add_argument("--lock", type=Path, metavar="FILE")
    arguments.add_argument("--lab-in", type=Path, metavar="CLONE")
    options = arguments.parse_args()
    if options.lab_in:
        with locked(options.lock):
            write("\n".join([recorded_before(README.read_text("utf-8")), *recorded_lab(options.lab_in.resolve())]))
        return 0
    with tempfile.TemporaryDirectory(prefix="kubewright-transcript-") as scratch:
        clone = Path(scratch, "kubewright")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        said = [recorded(command, clone) for command in SESSION]
        if not options.without_lab:
            with locked(options.lock):
                said += recorded_lab(clone)
    write("\n".join(said))
    return 0


def recorded_before(text: str) -> str:
    """The transcript in ``text`` up to the lab."""
    transcript = text.partition(BEGIN)[2].partition(END)[0].removeprefix("```console\n").removesuffix("```\n")
    return transcript.partition(f"\n$ {LAB[0]}\n")[0].rstrip("\n") + "\n"


@contextlib.contextmanager
def locked(path: Path | None) -> Iterator[None]:
    """Nobody else has the lock of ``path`` meanwhile."""
    if path is None:
        yield
        return
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def recorded_lab(clone: Path) -> list[str]:
    """The lab, which is taken away also where a command of it fails."""
    try:
        return [recorded(command, clone) for command in LAB]
    finally:
        if (clone / ".kubewright/lab/m1.json").exists():
            subprocess.run(["./doit", "lab:m1:down"], cwd=clone, check=False)


def recorded(command: str, clone: Path) -> str:
    """A command as it was typed and what it printed, both streams."""
    print(f"$ {command}", flush=True)
    environment = {
        **os.environ,
        "PATH": f"{clone}/.venv/bin:{os.environ['PATH']}",
        "KUBEWRIGHT_KEY_PASSPHRASE": "only for this transcript",
        "KUBEWRIGHT_SIGNING_KEY": str(clone / "site.key"),
        "PYTHONUNBUFFERED": "1",
    }
    if not (clone / ".venv").exists():
        subprocess.run(["./doit", "list"], cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)
    ended = subprocess.run(
        command.split(), cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    text = ended.stdout.decode("utf-8", "replace").replace(f"{clone}/", "")
    if ended.returncode:
        sys.exit(f"{text}\n{command}: exit code {ended.returncode}; README stays as it was")
    return f"$ {command}\n{shortened(text)}"


def shortened(text: str) -> str:
    """The beginning and the end; trailing spaces and empty lines at the end are gone."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    if len(lines) > HEAD + TAIL + 1:
        lines = [*lines[:HEAD], "...", *lines[-TAIL:]]
    return "".join(f"{line}\n" for line in lines)


def write(transcript: str) -> None:
    """Between the markers; the rest of README is not looked at."""
    text = README.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{README} has no markers {BEGIN.strip()} and {END.strip()}")
    temporary = README.with_suffix(".md.new")
    temporary.write_text(f"{before}{BEGIN}```console\n{transcript}```\n{END}{after}", "utf-8")
    shutil.copymode(README, temporary)
    temporary.replace(README)


def typed(text: str) -> list[str]:
    """The commands of the transcript in ``text``."""
    transcript = text.partition(BEGIN)[2].partition(END)[0]
    return re.findall(r"^\$ (.*)$", transcript, re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main())
