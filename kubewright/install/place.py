"""Put a plan's files, settings and links on a host. Whatever way it ends, the next run ends in the same state.

Files go into a directory that gets its name when all of them are there and synced; ``current`` is switched by one rename.
Bytes of the content are hashed on their way: what was verified before may have changed since.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from kubewright.files.digest import sha256_file
from kubewright.files.tree import remove_tree
from kubewright.install import kubeadm
from kubewright.install.content import HostFile, Source, image_names
from kubewright.install.errors import ContentError, PlaceError
from kubewright.install.host import Host
from kubewright.install.journal import sync_directory, write_atomically, writing
from kubewright.install.plan import CURRENT, RELEASES, Archive, File, Link, Plan, Secret
from kubewright.install.pulls import HOSTS
from kubewright.install.render import json_text

_CHUNK: Final = 1 << 20
Watch = Callable[[str], None]


def place(host: Host, plan: Plan, source: Source, watch: Watch) -> bool:
    """Bring everything of ``plan`` but its steps to the host; whether anything was not as it has to be. Raises PlaceError."""
    with writing(host):
        changed = _release(host, plan, source, watch)
        for directory in plan.directories:
            _directory(host.path(directory.path), directory.mode)
        for secret in plan.secrets:
            _secret(host.path(secret.path), secret)
        for file in plan.outside:
            changed |= _outside(host.path(file.path), file)
        for stray in stray_hosts(host, {file.path for file in plan.outside}):
            stray.unlink()
            changed = True
        for archive in plan.archives:
            changed |= _archive(host.path(archive.path), archive, source, watch)
        _kernel(host, plan)
        changed |= _link(host, Link(CURRENT, plan.directory.removeprefix(f"{CURRENT.rpartition('/')[0]}/")))
        for link in plan.links:
            changed |= _link(host, link)
    return changed


# -- the release's directory ------------------------------------------------------------------------------------------


def _release(host: Host, plan: Plan, source: Source, watch: Watch) -> bool:
    final = host.path(plan.directory)
    if final.is_dir():
        return _repair(final, plan, source, watch)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.partial")
    for file in plan.files:
        target = partial / file.path
        if not is_as_planned(target, file):
            watch(file.path)
            _write(target, file, source)
    for extra in extra_files(partial, plan):  # of a run that was killed, under another plan's name: cannot be, but is cheap
        extra.unlink()
    _sync_folders(partial)
    partial.rename(final)
    sync_directory(final.parent)
    return True


def _repair(final: Path, plan: Plan, source: Source, watch: Watch) -> bool:
    changed = False
    for file in plan.files:
        target = final / file.path
        if not is_as_planned(target, file):
            watch(file.path)
            if target.is_dir() and not target.is_symlink():
                remove_tree(target)
            _write(target, file, source)
            changed = True
    for extra in extra_files(final, plan):
        extra.unlink()
        changed = True
    return changed


def is_as_planned(target: Path, file: File) -> bool:
    """Whether a plain file with the planned bytes and mode is there."""
    try:
        found = target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    plain = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == file.mode and found.st_size == file.size
    return plain and sha256_file(target) == file.digest


def extra_files(folder: Path, plan: Plan) -> Iterator[Path]:
    """What lies in a release's directory and is not of the plan."""
    known = {file.path for file in plan.files}
    for path, folders, names in os.walk(folder):
        links = [name for name in folders if Path(path, name).is_symlink()]
        for name in (*names, *links):
            found = Path(path, name)
            if str(found.relative_to(folder)) not in known:
                yield found


def _write(target: Path, file: File, source: Source) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(file.content, HostFile):
        write_atomically(target, file.content.encode(), file.mode)
        return
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        with source.open_file(file.content) as stream, temporary.open("xb") as out:
            digest = _copy(stream, out, file.content)
            os.fchmod(out.fileno(), file.mode)
            os.fsync(out.fileno())
        if digest != file.digest:
            raise ContentError(
                f"{file.origin} is {digest}, not the verified {file.digest}",
                remedy="copy the bundle again from where it was made",
            )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(stream: BinaryIO, out: BinaryIO, file: HostFile) -> str:
    found, left = hashlib.sha256(), file.size + 1
    while piece := stream.read(min(_CHUNK, left)):
        left -= len(piece)
        found.update(piece)
        out.write(piece)
    return "sha256:" + found.hexdigest()


def _sync_folders(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        Path(path).chmod(0o755)  # whatever the umask: pods that are nobody read some of it
        sync_directory(Path(path))


# -- outside of it -------------------------------------------------------------------------------------------------------


def _outside(target: Path, file: File) -> bool:
    if is_as_planned(target, file):
        return False
    assert isinstance(file.content, str)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, file.content.encode(), file.mode)
    return True


def stray_hosts(host: Host, planned: Container[str]) -> Iterator[Path]:
    """Files that say where containerd may ask for images, and that the plan does not have: of other settings, or somebody's."""
    folder = host.path(HOSTS)
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if f"/{path.relative_to(host.root)}" not in planned and (path.is_symlink() or not path.is_dir()):
            yield path


def _directory(path: Path, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if mode != 0o755:
        path.chmod(mode)


def _secret(path: Path, secret: Secret) -> None:
    """Made once: another key would make what is encrypted unreadable."""
    if path.exists():
        path.chmod(0o600)
        return
    if secret.kind == "encryption-key":
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        write_atomically(path, json_text(kubeadm.encryption_configuration(key)).encode(), 0o600)


def _archive(path: Path, archive: Archive, source: Source, watch: Watch) -> bool:
    """The archive is known by its images: beside it lies the list of what is in it."""
    listing = "".join(f"{' '.join(image_names(image))}\n" for image in archive.images)
    note = path.with_name(f".{path.name}.images")
    if path.is_file() and note.is_file() and note.read_text() == listing:
        return False
    watch(path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    note.unlink(missing_ok=True)
    with temporary.open("wb") as out:
        source.export_images(archive.images, out)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    write_atomically(note, listing.encode(), 0o644)
    return True


def _link(host: Host, link: Link) -> bool:
    path = host.path(link.path)
    if path.is_symlink() and str(path.readlink()) == link.target:
        return False
    if path.exists() and not path.is_symlink():
        raise PlaceError(
            f"{path} is there and is no link of ours", remedy="move it away; kubewright preflight lists all of these"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(link.target)
    temporary.replace(path)
    sync_directory(path.parent)
    return True


def _kernel(host: Host, plan: Plan) -> None:
    for module in plan.modules:
        if not has_module(host, module) and host.program("modprobe"):
            host.run(("modprobe", module), timeout=30)  # what is missing then, preflight has said
    for setting in plan.settings:
        path = setting_path(host, setting.key)
        if path.exists() and path.read_text().strip() != setting.value:
            path.write_text(setting.value + "\n")


def has_module(host: Host, name: str) -> bool:
    """Whether a kernel module is loaded or built in and shows itself."""
    signs = {"overlay": "overlay\n", "nf_tables": ""}
    if name == "overlay":
        return signs[name] in host.path("/proc/filesystems").read_text() if host.path("/proc/filesystems").exists() else False
    if name == "br_netfilter":
        return host.path("/proc/sys/net/bridge").is_dir()
    return host.path(f"/sys/module/{name}").is_dir()


def setting_path(host: Host, key: str) -> Path:
    """Where a kernel setting is."""
    return host.path("/proc/sys/" + key.replace(".", "/"))


def remove_old_releases(host: Host, keep: str) -> None:
    """Directories of releases that are no longer in use, and of installs that did not end."""
    folder = host.path(RELEASES)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name != keep.removeprefix("sha256:"):
            remove_tree(path)
