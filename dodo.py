"""doit's entry point; what the tasks are and do is in kubewright/tasks.py, how they look in kubewright/doit_plugins.py."""

from pathlib import Path

from kubewright.doit_plugins import Reporter
from kubewright.project import Project
from kubewright.report import reporting_errors
from kubewright.tasks import all_tasks

DOIT_CONFIG = {"backend": "memory", "reporter": Reporter, "default_tasks": ["build"], "verbosity": 2}

PROJECT = Project(Path(__file__).parent)


def task_kubewright():
    with reporting_errors():  # whichever command asks for the tasks
        yield from all_tasks(PROJECT)
