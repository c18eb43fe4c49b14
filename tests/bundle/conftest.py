"""Puts this folder and those of the signed sets on the import path."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parents[1], Path(__file__).parents[1] / "verify"):
    sys.path.insert(0, str(folder))
