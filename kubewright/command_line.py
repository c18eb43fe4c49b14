"""What the groups of commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from kubewright.project import Project


def project_of(context: click.Context) -> Project:
    """The checkout that ``--project`` names, else the one around the working directory."""
    from kubewright.project import Project

    directory: Path | None = context.obj
    return Project.find(directory or Path.cwd())
