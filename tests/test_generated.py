"""What is generated is current: `./doit generate` would change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.generate import generated
from kubewright.project import Project

ROOT = Path(__file__).parents[1]
FILES = generated(Project(ROOT))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_generated_file_is_current(path: Path) -> None:
    assert path.read_text("utf-8") == FILES[path], "run ./doit generate"
