"""Fixtures of image tests: the real images of this checkout, and the tools that take them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import debian_skopeo
import pytest
from real import ROOT, RealImage, Run, load, needed, real_images, run

from kubewright.oci.reading import open_directory

sys.path.append(str(ROOT / "tests" / "sandbox"))


@pytest.fixture(scope="session")
def image() -> Callable[[str], RealImage]:
    """Find an image in artifacts/images, where `./doit image` puts them."""

    def find(name: str) -> RealImage:
        layouts = sorted((ROOT / "artifacts" / "images" / name).glob("*/linux-amd64"))
        if len(layouts) != 1:
            needed(f"artifacts/images has {len(layouts)} versions of {name}, not one: ./doit image")
        with open_directory(layouts[0]) as opened:
            descriptor = opened.index.manifests[0]
            config = opened.manifest(descriptor).config.digest
        reference = descriptor.annotations["org.opencontainers.image.ref.name"]
        return RealImage(name, layouts[0], reference, descriptor.digest, config)

    return find


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="kubewright-images-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def skopeo() -> Run:
    try:
        command = debian_skopeo.skopeo()
    except Exception as error:
        needed(f"skopeo cannot be fetched: {error}")
    return lambda *words: run([*command, *words])


@pytest.fixture(scope="session")
def docker(image: Callable[[str], RealImage]) -> Iterator[Run]:
    """The docker client with a daemon that has every real image loaded."""
    from dockerd import NoDaemonError, daemon

    try:
        with daemon() as address:
            environ = {**os.environ, "DOCKER_HOST": address}
            for name in real_images():
                load(image(name), ["docker", "load", "--quiet"], environ)
            yield lambda *words, ok=True: run(["docker", *map(str, words)], environ, ok=ok)
    except NoDaemonError as error:
        needed(str(error))


@pytest.fixture(scope="session")
def ctr(scratch: Path) -> Iterator[Run]:
    """Our own ctr with our own containerd, which has everything of its own in a scratch directory."""
    programs = sorted((ROOT / "artifacts" / "containerd").glob("*/linux-amd64"))
    if not programs or os.geteuid() != 0:
        needed("containerd is not in artifacts (./doit build:containerd), or nobody is root")
    with containerd(programs[-1], scratch / "containerd") as socket:
        yield lambda *words, **keys: run([str(programs[-1] / "ctr"), "--address", socket, "-n", "k8s.io", *words], **keys)


@contextmanager
def containerd(programs: Path, folder: Path) -> Iterator[str]:
    folder.mkdir()
    socket = folder / "socket"
    config = folder / "config.toml"
    config.write_text(
        f'version = 4\nroot = "{folder}/root"\nstate = "{folder}/state"\ntemp = "{folder}"\n'
        f'disabled_plugins = ["io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]\n'
        f'[plugins."io.containerd.server.v1.grpc"]\naddress = "{socket}"\n'
        f'[plugins."io.containerd.server.v1.ttrpc"]\naddress = "{folder}/ttrpc"\n'
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([programs / "containerd", "--config", config], stdout=log, stderr=log)
    try:
        for _ in range(300):
            asked = [programs / "ctr", "--address", socket, "version"]
            answers = socket.exists() and subprocess.run(asked, capture_output=True).returncode == 0
            if answers or process.poll() is not None:
                break
            time.sleep(0.1)
        assert answers, (folder / "log").read_text()[-2000:]
        yield str(socket)
    finally:
        process.terminate()
        process.wait(30)
