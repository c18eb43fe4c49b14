"""Python packages: what requirements/run.txt needs, for this machine's architecture and every Python that kubewright runs on.

pip fetches, with the hashes of the requirements; which packages a Python needs is worked out here, since pip asks its own
interpreter for that. `pip install --no-index --find-links wheels` takes the folder; wheels/simple/ is an index (PEP 503).
"""

from __future__ import annotations

import hashlib
import html
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote, urlsplit

from kubewright.building import mirrored
from kubewright.mirror.errors import WheelsError
from kubewright.mirror.place import Target
from kubewright.project import Project
from kubewright.report import Progress

if TYPE_CHECKING:
    from packaging.tags import Tag

FOLDER: Final = "wheels"
RUN: Final = "requirements/run.txt"
TEST: Final = "requirements/test.txt"
_HERE: Final = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHONS: Final = tuple(dict.fromkeys(("3.10", "3.11", "3.12", "3.13", _HERE)))
#: glibc of the oldest distribution to care for (Debian 10, RHEL 8)
_GLIBC: Final = 28


@dataclass(frozen=True, slots=True)
class Wanted:
    """A line of requirements/*.txt that counts for some Python: an exact version, and the SHA-256 that its files may have."""

    name: str
    version: str
    hashes: frozenset[str]

    @property
    def line(self) -> str:
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{each}" for each in sorted(self.hashes))])


def read_requirements(text: str, python: str) -> list[Wanted]:
    """What a Python on Linux needs of a hash-locked requirements file."""
    from packaging.markers import default_environment
    from packaging.requirements import Requirement

    environment = cast("dict[str, str]", default_environment()) | {
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    found = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        spec, _, hashes = line.partition(" --hash=")
        if not spec.strip() or spec.startswith("#"):
            continue
        requirement = Requirement(spec)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            digests = frozenset(each.removeprefix("sha256:") for each in hashes.split(" --hash="))
            version = str(requirement.specifier).removeprefix("==")
            found.append(Wanted(requirement.name, version, frozenset(each.strip() for each in digests)))
    return found


# -- which file is for whom ---------------------------------------------------------------------------------------


def platforms() -> list[str]:
    """Platform tags of wheels that run here, on any distribution that is not too old."""
    machine = platform.machine()
    modern = [f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC, 4, -1)]
    old = ["manylinux2014", *(["manylinux2010", "manylinux1"] if machine == "x86_64" else [])]
    return [*modern, *(f"{each}_{machine}" for each in old), f"linux_{machine}"]


@lru_cache
def _tags(python: str) -> frozenset[Tag]:
    from packaging import tags

    major, minor = (int(part) for part in python.split("."))
    interpreter = f"cp{major}{minor}"
    own = tags.cpython_tags((major, minor), [interpreter], platforms())
    return frozenset([*own, *tags.compatible_tags((major, minor), interpreter, platforms())])


def fits(file_name: str, wanted: Wanted, python: str) -> bool:
    """Whether a wheel, by its name, is the wanted package for a Python."""
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    try:
        name, version, _, found = parse_wheel_filename(file_name)
    except InvalidWheelFilename:
        return False
    return name == canonicalize_name(wanted.name) and str(version) == wanted.version and bool(found & _tags(python))


def needed(hashes: dict[str, str], run: str, test: str = "") -> Iterator[tuple[str, Wanted, list[str]]]:
    """(Python, what it needs, files that are it): ``hashes`` has the files by name. ``test`` counts for this Python alone."""
    for python in PYTHONS:
        for wanted in read_requirements(test if test and python == _HERE else run, python):
            found = [name for name, sha256 in hashes.items() if sha256 in wanted.hashes and fits(name, wanted, python)]
            yield python, wanted, sorted(found)


# -- writing ------------------------------------------------------------------------------------------------------


def write_wheels(project: Project, target: Target, progress: Progress) -> list[str]:
    """Place every wheel that is needed; gives their paths. Raises WheelsError."""
    progress.stage("Python packages")
    run, test = (_text(project.root / name) for name in (RUN, TEST))
    there = _there(target)
    missing: dict[str, list[Wanted]] = {}
    for python, wanted, files in needed(there, run, test):
        if not files:
            missing.setdefault(python, []).append(wanted)
    with project.store.scratch("wheels") as scratch:
        for python, wants in missing.items():
            progress.update(f"{len(wants)} for Python {python}")
            _download(project, python, wants, scratch)
        fetched = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(scratch.glob("*.whl"))}
        used = {file for _, _, files in needed({**there, **fetched}, run, test) for file in files}
        for name in sorted(used & fetched.keys()):
            target.put_file(scratch / name, f"{FOLDER}/{name}", "wheel")
    for name in sorted(used - fetched.keys()):
        found = target.found(f"{FOLDER}/{name}", "wheel")
        assert found is not None
        target.keep(f"{FOLDER}/{name}", found)
    return [f"{FOLDER}/{name}" for name in sorted(used)]


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def _there(target: Target) -> dict[str, str]:
    """Wheels that the mirror has: name -> SHA-256."""
    names = [path.name for path in (target.root / FOLDER).glob("*.whl")]
    found = {name: target.found(f"{FOLDER}/{name}", "wheel") for name in sorted(names)}
    return {name: file.sha256 for name, file in found.items() if file}


def _download(project: Project, python: str, wants: Iterable[Wanted], into: Path) -> None:
    """Wheels only, so that nothing of a package is run here; of what has none, pip says so."""
    listed = into / f"requirements-{python}.txt"
    listed.write_text("".join(f"{wanted.line}\n" for wanted in wants), "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    command += [f"--platform={each}" for each in platforms()]
    command += [f"--abi={each}" for each in (f"cp{python.replace('.', '')}", "abi3", "none")]
    done = subprocess.run(
        [*command, *pip_options(project), "-r", str(listed), "-d", str(into)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR:")), "pip gave no reason")
        raise WheelsError(
            f"pip cannot bring {RUN} for Python {python}: {re.sub(r'://[^/@ ]*@', '://', reason)}",
            remedy="check the network and pip's settings, then run again",
        )


def pip_options(project: Project) -> list[str]:
    """How pip finds packages: its own settings; or the mirror alone, where nobody else may be asked."""
    mirror = mirrored.mirror_of(project)
    if mirror is None or mirrored.asks_origins(project):
        return []
    host = urlsplit(mirror.url).hostname or ""
    return [
        "--isolated", "--no-index", f"--find-links={mirror.url}/{FOLDER}/", *([f"--trusted-host={host}"] if host else []),
    ]  # fmt: skip


# -- pages for pip ------------------------------------------------------------------------------------------------


def write_pages(target: Target) -> list[str]:
    """wheels/index.html, and an index as PEP 503 has it; gives their paths."""
    from packaging.utils import parse_wheel_filename

    files = {path.rpartition("/")[2]: file.sha256 for path, file in sorted(target.files.items()) if file.kind == "wheel"}
    projects: dict[str, list[str]] = {}
    for name in files:
        projects.setdefault(parse_wheel_filename(name)[0], []).append(name)
    pages = {f"{FOLDER}/index.html": _page((name, f"{quote(name)}#sha256={files[name]}") for name in files)}
    pages[f"{FOLDER}/simple/index.html"] = _page((name, f"{name}/") for name in sorted(projects))
    for project, names in sorted(projects.items()):
        links = ((name, f"../../{quote(name)}#sha256={files[name]}") for name in names)
        pages[f"{FOLDER}/simple/{project}/index.html"] = _page(links)
    for path, text in pages.items():
        target.put_bytes(text.encode(), path, "page")
    return sorted(pages)


def _page(links: Iterable[tuple[str, str]]) -> str:
    lines = [f'<a href="{html.escape(link)}">{html.escape(name)}</a><br>' for name, link in links]
    return "\n".join(
        ["<!DOCTYPE html>", "<html><head><title>Python packages</title></head><body>", *lines, "</body></html>", ""]
    )


def allowed_hashes(texts: Sequence[str]) -> frozenset[str]:
    """Every SHA-256 that requirements files name."""
    return frozenset(each for text in texts for each in re.findall(r"--hash=sha256:([0-9a-f]{64})", text))
