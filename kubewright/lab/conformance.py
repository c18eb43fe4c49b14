"""Kubernetes' conformance specs against the lab that runs: every one that is listed has to run, and to pass.

The tests and what they run come out of a bundle of their own (stacks/conformance.toml), verified under the lab's policy; its
images get to the nodes as a site's do, imported from a verified file, since nothing can be pulled there.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubewright.install.bundle import Bundle, open_bundle
from kubewright.install.content import HostFile, Image, image_names
from kubewright.lab.e2e import Ran, Tools, run_side_by_side
from kubewright.lab.errors import ConformanceError, LabError
from kubewright.lab.junit import judge
from kubewright.lab.kube import Kube
from kubewright.lab.machines import Machines, load_state
from kubewright.lab.results import Outcome, Results
from kubewright.lab.specs import conformance_specs, dealt, is_serial, read_list, require_known

#: specs wait more than they work
PROCESSES: Final = 4
_CTR: Final = ("/usr/local/bin/ctr", "-n", "k8s.io", "images")
_TAR: Final = "conformance-images.tar"


@dataclass(frozen=True, slots=True)
class Given:
    """``folder`` is the labs'; ``listed`` is the file of specs, of which ``everything`` makes all that there are."""

    folder: Path
    bundle: Path
    policy: Path
    listed: Path
    everything: bool
    watch: Callable[[str], None]


def run(given: Given) -> Results:
    """Run the specs and write what came out. Raises ConformanceError unless every one of them passed."""
    state = load_state(given.folder / "m1.json")
    machines = Machines.again(state) if state else None
    if machines is None or not machines.state.nodes:
        raise ConformanceError("there is no lab to test", remedy="./doit lab:m1 builds one and leaves it running")
    place = given.folder / "results" / "conformance"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with _private(given.folder / "conformance") as private:
        tools = Tools(private / "e2e.test", private / "kubectl", private / "admin.conf", place)
        wanted = _prepared(given, tools, machines)
        results = _run(given, tools, wanted)
    results.write(place)
    (place / "table.txt").write_text(table(results.outcomes), encoding="utf-8")
    given.watch(f"{table(results.outcomes).splitlines()[-1]}: {place}/table.txt")
    _require(results, wanted, place)
    return results


def _run(given: Given, tools: Tools, wanted: Sequence[str]) -> Results:
    """Side by side what may be, then alone what has to be."""
    together = [spec for spec in wanted if not is_serial(spec)]
    alone = tuple(spec for spec in wanted if is_serial(spec))
    ended: list[str] = []

    def told(spec: str, how: str) -> None:
        ended.append(spec)
        given.watch(f"{len(ended)} of {len(wanted)}: {spec}: {how}")

    begin = time.monotonic()
    ran = run_side_by_side(tools, [(f"{at + 1}", hand) for at, hand in enumerate(dealt(together, PROCESSES))], told)
    if alone:
        ran += run_side_by_side(tools, [("alone", alone)], told)
    given.watch(f"{len(wanted)} specs in {time.monotonic() - begin:.0f} s")
    return Results("conformance:kubernetes", outcomes=outcomes(wanted, ran))


def outcomes(wanted: Sequence[str], ran: Sequence[Ran]) -> list[Outcome]:
    """What all processes said, as one outcome for each wanted spec, and one for each process that failed beside its specs."""
    cases = [case for each in ran for case in each.cases]
    found = judge(wanted, cases, {spec: each.lost for each in ran for spec in each.specs})
    bad = {each.name for each in found if each.problem}
    for each in ran:
        if each.status and not bad.intersection(each.specs):
            found.append(Outcome(f"the suite around {each.specs[0]}", 0.0, problem=f"all its specs passed, and {each.lost}"))
    return found


def _require(results: Results, wanted: Sequence[str], place: Path) -> None:
    passed = len(results.outcomes) - len(results.failed)
    if results.failed or passed != len(wanted):
        first = results.failed[0] if results.failed else None
        raise ConformanceError(
            f"{passed} of {len(wanted)} conformance specs passed{f'; not so: {first.name}' if first else ''}",
            remedy=f"{place}/table.txt has the rest, the logs beside it what was done",
            details=first.problem[-4000:] if first else "",
        )


def table(found: Sequence[Outcome]) -> str:
    """For people: one line a spec, and the sum."""
    lines = [f"{'FAILED' if each.problem else 'ok':6}  {each.seconds:7.1f} s  {each.name}{_why(each)}" for each in found]
    passed = sum(not each.problem for each in found)
    lines.append(f"{passed} of {len(found)} passed, {sum(each.seconds for each in found):.0f} s one after the other")
    return "".join(f"{line}\n" for line in lines)


def _why(outcome: Outcome) -> str:
    return f": {outcome.problem.splitlines()[0][:200]}" if outcome.problem else ""


# -- what is run, and what it needs ----------------------------------------------------------------------------------------


@contextmanager
def _private(folder: Path) -> Iterator[Path]:
    """An empty folder that only its owner reads, and that is removed: the administrator's key is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepared(given: Given, tools: Tools, machines: Machines) -> tuple[str, ...]:
    from docker.errors import DockerException

    try:
        return _prepare(given, tools, machines)
    except DockerException as error:
        raise LabError(f"docker: {error}", remedy="./doit lab:m1:down, then ./doit lab:m1 again") from None


def _prepare(given: Given, tools: Tools, machines: Machines) -> tuple[str, ...]:
    """The verified programs are in place, the images on the nodes; which specs are to be run."""
    given.watch("verifying the bundle of the tests")
    with open_bundle(given.bundle, given.policy) as bundle:
        for component, program in (("e2e-test", tools.program), ("kubectl", tools.kubectl)):
            _place(bundle, bundle.content.file(component, program.name), program)
        wanted = _wanted(given, tools)
        _require_fitting(bundle, tools, Kube(machines, next(iter(machines.state.nodes))))
        given.watch("images of the tests on every node")
        import_images(bundle, machines, given.folder / "shared")
    _write_private(tools.kubeconfig, _admin(machines))
    return wanted


def _wanted(given: Given, tools: Tools) -> tuple[str, ...]:
    known = conformance_specs(tools.say("--list-conformance-tests"))
    if given.everything:
        return known
    wanted = read_list(given.listed)
    require_known(wanted, known)
    return wanted


def _place(bundle: Bundle, file: HostFile, target: Path) -> None:
    with bundle.source.open_file(file) as stream, target.open("xb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    target.chmod(0o700)


def _require_fitting(bundle: Bundle, tools: Tools, kube: Kube) -> None:
    """The tests have to be of the cluster's version, and to ask for the very images that the bundle has."""
    version, found = f"v{bundle.content.version('e2e-test')}", json.loads(kube.call("get", "--raw", "/version"))["gitVersion"]
    if version != found:
        raise ConformanceError(
            f"the tests are those of {version}, the cluster is {found}", remedy="bundle both from one release"
        )
    asked = {*tools.say("--list-images").split()}
    strange = [image.reference for image in images_of_tests(bundle) if image.reference not in asked]
    if strange:
        raise ConformanceError(
            f"e2e.test never asks for {strange[0]}", remedy="bring the recipe agnhost to the version it asks for"
        )


def _admin(machines: Machines) -> str:
    leader = next(iter(machines.state.nodes))
    said = machines.run(leader, ["cat", "/etc/kubernetes/admin.conf"])
    if said.status:
        raise LabError(f"{leader} has no administrator's configuration", remedy="./doit lab:m1 again")
    return said.output


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)


# -- images ----------------------------------------------------------------------------------------------------------------


def images_of_tests(bundle: Bundle) -> tuple[Image, ...]:
    """The images that specs run; the others of the bundle are of programs that are in these."""
    return tuple(image for image in bundle.content.images if "/e2e-test-images/" in image.reference)


def import_images(bundle: Bundle, machines: Machines, shared: Path) -> None:
    """Bring the bundle's images to every node, each by tag and by digest; ``shared`` is what nodes see, read-only."""
    tar = shared / _TAR
    try:
        with tar.open("wb") as out:
            bundle.source.export_images(images_of_tests(bundle), out)
        with ThreadPoolExecutor(len(machines.state.nodes)) as pool:
            for each in [pool.submit(_import, machines, node, images_of_tests(bundle)) for node in machines.state.nodes]:
                each.result()
    finally:
        tar.unlink(missing_ok=True)


def _import(machines: Machines, node: str, images: Sequence[Image]) -> None:
    said = machines.run(node, [*_CTR, "import", "--label", "io.cri-containerd.pinned=pinned", f"/kubewright/{_TAR}"])
    if said.status:
        raise LabError(f"{node}: the images of the tests cannot be imported", details=said.output[-4000:])
    known = {line.split()[0]: line for line in machines.run(node, [*_CTR, "ls"]).output.splitlines() if line.strip()}
    for image in images:
        for name in image_names(image):
            if f" {image.digest} " not in known.get(name, ""):
                raise LabError(f"{node} has imported the images of the tests, and lacks {name}", details=said.output[-4000:])
