"""Puts this folder on the import path, and builds one small Go program for all of its tests."""

from __future__ import annotations

import pytest
from goprogram import Built, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("program"))
