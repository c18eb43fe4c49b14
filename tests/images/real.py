"""The real images of this checkout, as `./doit image` puts them into artifacts/, and ways to hand them to other programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubewright.images.plan import images
from kubewright.oci.image_archive import write_images
from kubewright.oci.reading import open_directory
from kubewright.project import Project

ROOT = Path(__file__).parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]


def needed(reason: str) -> None:
    """What CI has and a developer may lack: a skip, or a failure where KUBEWRIGHT_TEST_DOCKER=required."""
    if os.environ.get("KUBEWRIGHT_TEST_DOCKER") == "required":
        pytest.fail(f"KUBEWRIGHT_TEST_DOCKER=required, and {reason}")
    pytest.skip(reason)


@dataclass(frozen=True)
class RealImage:
    """An assembled image; digests with ``sha256:``."""

    name: str
    layout: Path
    reference: str
    manifest: str
    config: str


def real_images() -> list[str]:
    """The names of the default stack's images, from its recipes."""
    project = Project(ROOT)
    return [name for name, recipe in images(project).items() if recipe.name in project.stacks["kubernetes"].components]


def run(command: list[str], environ: dict[str, str] | None = None, *, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command; with ``ok`` it has to end well."""
    result = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)
    assert not ok or result.returncode == 0, (
        f"{command[:3]} ... {command[-3:]}: {result.stdout[-2000:]} {result.stderr[-2000:]}"
    )
    return result


def load(image: RealImage, command: list[str], environ: dict[str, str] | None = None) -> str:
    """Stream an image as one tar to a program; gives what it prints."""
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with open_directory(image.layout) as opened:
            write_images(opened, opened.index.manifests, process.stdin)
        process.stdin.close()
        printed = process.stdout.read().decode()
        assert process.wait(300) == 0, printed
    return printed
