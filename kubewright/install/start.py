"""Run a plan's steps, each written down before and after: what is done is not done again, what was cut off is undone first."""

from __future__ import annotations

import re
import secrets
import string
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

from kubewright.canonical import canonical_digest
from kubewright.install import objects, show
from kubewright.install.content import Content, Source, image_names
from kubewright.install.errors import CommandError, InstallError, UnhealthyError
from kubewright.install.host import Host, Result
from kubewright.install.join import JoinMaterial
from kubewright.install.journal import Journal, write_atomically
from kubewright.install.kubernetes import ADMIN
from kubewright.install.plan import Apply, Await, Give, Import, Kubeadm, NewSecret, Plan, Run, Serve, Step, current
from kubewright.install.registry import fill_storage
from kubewright.install.render import documents, json_text
from kubewright.install.runtime import CTR, SOCKET

Watch = Callable[[str], None]

#: where what holds a token is written: memory, gone with a reboot
RUN: Final = "/run/kubewright"
_KUBEADM: Final = current("bin/kubeadm")
_FIELD_MANAGER: Final = "kubewright"


@dataclass(frozen=True, slots=True)
class Tools:
    """What steps need beside themselves."""

    host: Host
    content: Content
    source: Source
    join: JoinMaterial | None
    watch: Watch


def start(journal: Journal, plan: Plan, tools: Tools, *, changed: bool) -> bool:
    """Run the steps that are not done, or all of them where files have changed; whether one changed something.

    Raises CommandError, UnhealthyError.
    """
    acted = False
    for step in plan.steps:
        key = step_key(plan, step)
        if journal.done.get(step.name) == key and not _needed(step, changed):
            continue
        tools.watch(step.name)
        if isinstance(step, Kubeadm) and step.name in journal.done:
            raise InstallError(
                f"{step.name} was done here with other settings than those given now",
                remedy="settings of a running cluster stay: give the old ones, or kubewright uninstall first",
            )
        cut_off = journal.begin(step.name, key)
        try:
            _perform(step, tools, cut_off)
        except InstallError as error:
            with suppress(OSError):  # a disk that is full is why many a step fails: what the step said is worth more
                journal.audit("step failed", step=step.name, error=error.message)
            raise
        journal.finish(step.name, key)
        acted |= not isinstance(step, Await)
    return acted


def step_key(plan: Plan, step: Step) -> str:
    """Same key, same step: programs are run again for another release, the rest only when they themselves changed."""
    data = show.step_data(step)
    return canonical_digest([plan.release, data] if isinstance(step, Run) else data)


def _needed(step: Step, changed: bool) -> bool:
    if isinstance(step, Await):
        return True  # cheap when all is well, and what an install promises
    return isinstance(step, Run) and (changed or step.when == "always")


def _perform(step: Step, tools: Tools, cut_off: bool) -> None:
    if isinstance(step, Run):
        must(tools.host.run(step.argv, timeout=step.timeout))
    elif isinstance(step, Await):
        _await(tools.host, step)
    elif isinstance(step, Import):
        _import(step, tools)
    elif isinstance(step, Kubeadm):
        _kubeadm(step, tools, cut_off)
    elif isinstance(step, Serve):
        fill_storage(tools.host, step.served)
    elif isinstance(step, NewSecret):
        _new_secret(step, tools.host)
    elif isinstance(step, Give):
        _give(step.objects, tools.host, step.timeout)
    else:
        _apply(step, tools)


def must(result: Result) -> str:
    """What a program printed; CommandError when it failed."""
    if result.status:
        raise CommandError(
            f"{' '.join(result.argv)} ended with status {result.status}",
            details=result.tail(),
            remedy="what it said is above; when that is put right, run the same command again: it goes on where it stopped",
        )
    return result.output


# -- waiting -------------------------------------------------------------------------------------------------------------


def _await(host: Host, step: Await) -> None:
    end, pause = time.monotonic() + step.timeout, 0.1
    while True:
        result = host.run(step.argv, timeout=60)
        if result.status == 0 and (not step.expect or result.output.strip() == step.expect):
            return
        if time.monotonic() > end:
            raise UnhealthyError(
                f"after {step.timeout} s it is still not so that {step.name}",
                details=result.tail(),
                remedy="journalctl -u kubelet -u containerd says more; running the same command again goes on waiting",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


# -- images --------------------------------------------------------------------------------------------------------------


def _import(step: Import, tools: Tools) -> None:
    wanted = {name: image.digest for image in step.images for name in image_names(image)}
    if _known(tools.host, wanted) == wanted:
        return
    # pinned: the kubelet's image collection must not remove what cannot be fetched again
    argv = (*CTR, "images", "import", "--label", "io.cri-containerd.pinned=pinned", "-")
    process = tools.host.start(argv)
    assert process.stdin is not None
    assert process.stdout is not None
    broken = None
    try:
        with process.stdin:
            tools.source.export_images(step.images, cast(BinaryIO, process.stdin))
    except BrokenPipeError as reason:
        broken = reason
    except BaseException:
        process.kill()
        raise
    finally:
        status = process.wait(step.timeout)
        process.stdout.seek(0)
        said = process.stdout.read()[-4000:].decode("utf-8", "replace")
    if status or broken:
        raise CommandError(f"{' '.join(argv)} ended with status {status}", details=said)
    known = _known(tools.host, wanted)
    missing = {name for name, digest in wanted.items() if known.get(name) != digest}
    if missing:
        raise CommandError(f"containerd has imported, and lacks {', '.join(sorted(missing))}", details=said)


def _known(host: Host, wanted: Mapping[str, str]) -> dict[str, str]:
    """Name -> digest of the wanted images that containerd has complete."""
    found = {}
    for line in must(host.run((*CTR, "images", "ls"))).splitlines()[1:]:
        name, _, rest = line.partition(" ")
        digest = next((word for word in rest.split() if word.startswith("sha256:")), "")
        if name in wanted:
            found[name] = digest
    return found


# -- kubeadm -------------------------------------------------------------------------------------------------------------


def _kubeadm(step: Kubeadm, tools: Tools, cut_off: bool) -> None:
    if cut_off:  # it was killed half way: nothing of it is of use, and kubeadm does not go on with its own remains
        must(tools.host.run((_KUBEADM, "reset", "--force", "--cri-socket", f"unix://{SOCKET}"), timeout=180))
    filled = _with_first_token(step) if step.action == "init" else _with_join(step, tools.join)
    with _private_file(tools.host, "kubeadm.yaml", documents(filled)) as path:
        result = tools.host.run((_KUBEADM, step.action, "--config", path, *_quiet(step)), timeout=step.timeout)
    if result.status:
        raise CommandError(
            f"kubeadm {step.action} ended with status {result.status}",
            details=without_tokens(result.tail()),
            remedy="what it said is above; running the same command again undoes its remains and begins anew",
        )


def _quiet(step: Kubeadm) -> tuple[str, ...]:
    return ("--skip-token-print",) if step.action == "init" else ()


def without_tokens(text: str) -> str:
    """``text`` with every bootstrap token masked."""
    return re.sub(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b", "(token)", text)


def _with_first_token(step: Kubeadm) -> list[Mapping[str, Any]]:
    letters = string.ascii_lowercase + string.digits
    token = ".".join("".join(secrets.choice(letters) for _ in range(length)) for length in (6, 16))
    init, *others = step.documents
    return [{**init, "bootstrapTokens": [{**each, "token": token} for each in init["bootstrapTokens"]]}, *others]


def _with_join(step: Kubeadm, join: JoinMaterial | None) -> list[Mapping[str, Any]]:
    if join is None:
        raise InstallError(
            "joining needs join material", remedy="--join FILE: kubewright join-token, on the control plane, writes it"
        )
    discovery = {
        "bootstrapToken": {"apiServerEndpoint": join.endpoint, "token": join.token, "caCertHashes": list(join.ca_hashes)}
    }
    return [{**step.documents[0], "discovery": discovery}]


@contextmanager
def _private_file(host: Host, name: str, text: str) -> Iterator[str]:
    """A file that only root reads, for as long as the block lasts; its path as the host sees it."""
    folder = host.path(RUN)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    path = folder / name
    write_atomically(path, text.encode(), 0o600)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


# -- objects -------------------------------------------------------------------------------------------------------------


def _apply(step: Apply, tools: Tools) -> None:
    manifest = tools.content.manifest(step.manifest)
    data = tools.source.read_manifest(manifest)
    found = objects.parse(data, manifest)
    for batch in objects.for_site(step.manifest, found, step.parameters, tools.content):
        _give(batch, tools.host, step.timeout)


def _give(items: Sequence[Mapping[str, Any]], host: Host, timeout: int) -> None:
    how = ("apply", "--server-side", "--force-conflicts", f"--field-manager={_FIELD_MANAGER}", "-f", "-")
    for attempt in range(20):  # kinds that a definition in the batch before has made take a moment to be served
        result = _kubectl(host, how, {"apiVersion": "v1", "kind": "List", "items": list(items)}, timeout)
        if result.status == 0 or attempt == 19 or "no matches for kind" not in result.errors:
            must(result)
            return
        time.sleep(0.5)


def _new_secret(step: NewSecret, host: Host) -> None:
    value = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": step.secret, "namespace": step.namespace},
        "stringData": {step.key: secrets.token_urlsafe(96)},
    }
    result = _kubectl(host, ("create", "-f", "-"), value, step.timeout)
    if result.status and "AlreadyExists" not in result.errors:
        must(result)


def _kubectl(host: Host, words: tuple[str, ...], value: object, timeout: int) -> Result:
    """kubectl with an object on its standard input: in no argument, and in no file with a name."""
    with tempfile.TemporaryFile() as stream:
        stream.write(json_text(value).encode())
        stream.seek(0)
        return host.run((current("bin/kubectl"), "--kubeconfig", ADMIN, *words), timeout=timeout, stdin=stream)
