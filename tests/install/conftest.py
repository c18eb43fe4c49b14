from __future__ import annotations

from pathlib import Path

import pytest
from contents import Shelf, make_host, shelf

from kubewright.install.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(make_host(tmp_path / "root"))


@pytest.fixture
def source() -> Shelf:
    return shelf()
