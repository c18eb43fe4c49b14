"""The release: lock, digests.toml, the stand-alone verifier and a sequence number, signed together.

The number lives in release.toml, is committed, and never goes down: a verifier that has seen it refuses what is older. One
number stands for one content; what has been signed under it is kept in the set and compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from kubewright import pyz
from kubewright.errors import LockOutdatedError, RecipeError, SequenceError
from kubewright.files.digest import sha256_bytes, sha256_hex
from kubewright.model import tomlfile
from kubewright.model.digestsfile import FILE as DIGESTS
from kubewright.model.lockfile import FILE as LOCK
from kubewright.model.schema import AtLeast, Doc
from kubewright.project import Project
from kubewright.trust.keys import SigningKey
from kubewright.trust.setfolder import Signed, bundle_name, put_all, release_directory
from kubewright.trust.sign import sign_statement
from kubewright.verify.bundle import parse_bundle
from kubewright.verify.errors import VerifyError
from kubewright.verify.statement import RELEASE, TYPE, Statement, parse_statement
from kubewright.verify.strictjson import is_integer

FILE = "release.toml"


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """The number of the release that comes next, or that is being signed."""

    sequence: Annotated[int, Doc("Goes up by one or more with every release; never down."), AtLeast(1)]


def load_sequence(root: Path) -> int:
    """The sequence number of the checkout at ``root``. Raises RecipeError."""
    path = root / FILE
    if not path.exists():
        raise RecipeError(f"there is no {FILE} in {root}", remedy=f"write it: echo 'sequence = 1' > {FILE}")
    return tomlfile.load(ReleaseFile, tomlfile.read(path, RecipeError)).sequence


def contents(project: Project) -> dict[str, bytes]:
    """The files that a release binds, as they are. Raises LockOutdatedError when one is not there."""
    for name, task in ((LOCK, "lock"), (DIGESTS, "accept")):
        if not (project.root / name).is_file():
            raise LockOutdatedError(f"there is no {name} in {project.root}: nothing to release", remedy=f"./doit {task}")
    return {**{name: (project.root / name).read_bytes() for name in (DIGESTS, LOCK)}, pyz.NAME: pyz.build()}


def statement(project: Project, files: dict[str, bytes]) -> dict[str, Any]:
    """The release's statement: a pure function of the checkout. Raises LockOutdatedError and what reading raises."""
    components = {
        name: {platform: project.component(name, platform).key for platform in sorted(project.recipe(name).platforms)}
        for name in sorted(project.lock.components)
        if name in project.recipes
    }
    subjects = [{"name": name, "digest": {"sha256": sha256_hex(sha256_bytes(files[name]))}} for name in sorted(files)]
    return {
        "_type": TYPE,
        "subject": subjects,
        "predicateType": RELEASE,
        "predicate": {"sequence": load_sequence(project.root), "components": components},
    }


def sign_release(project: Project, key: SigningKey) -> Signed:
    """Write the release's files and its bundle. Raises SequenceError."""
    files = contents(project)
    made = statement(project, files)
    directory = release_directory(project)
    path = directory / bundle_name("release", key.key_id)
    for before in sorted({path, *directory.glob(bundle_name("release", "*"))}):
        _check_sequence(before, made, own=before == path)
    return put_all({**{directory / name: data for name, data in files.items()}, path: sign_statement(made, key)})


def _check_sequence(path: Path, made: dict[str, Any], *, own: bool) -> None:
    """Refuse a number that stands for other content in the set already, or that is below one that is there.

    Releases of other keys count as well: a site with a new key has not forgotten, and two operators do not sign two contents.
    """
    before = _signed_before(path, own=own)
    if before is None or before.predicate_type != RELEASE:
        return
    last, sequence = before.predicate.get("sequence"), made["predicate"]["sequence"]
    if not is_integer(last) or sequence > last:
        return
    if sequence < last:
        raise SequenceError(
            f"{FILE}: sequence = {sequence}, and {path.name} has been signed with {last}",
            remedy=f"set sequence = {last + 1}, or check out what belongs to {last}",
        )
    now = {each["name"]: f"sha256:{each['digest']['sha256']}" for each in made["subject"]}
    changed = sorted(name for name in {*now, *before.digests()} if now.get(name) != before.digests().get(name))
    if changed or before.predicate.get("components") != made["predicate"]["components"]:
        what = " and ".join(changed) or "a build key"
        raise SequenceError(
            f"{what} changed since release {sequence} was signed ({path.name})",
            remedy=f"set sequence = {sequence + 1} in {FILE}, and commit it",
        )


def _signed_before(path: Path, *, own: bool) -> Statement | None:
    try:
        return parse_statement(parse_bundle(path.read_bytes(), path.name).payload, path.name)
    except FileNotFoundError:
        return None
    except VerifyError as error:
        if not own:
            return None
        raise SequenceError(
            f"{path} cannot be read, so what was signed last is not known: {error.message}",
            remedy="bring it back from where it was published, or remove it if it never was",
        ) from error
