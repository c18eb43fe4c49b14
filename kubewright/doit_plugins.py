"""doit as kubewright's users meet it: a reporter, ``list`` that reads like a menu, exit codes that say what failed.

Named in pyproject.toml's ``[tool.doit.plugins]``, so that ``./doit`` and plain ``doit`` behave alike. The store decides what is
up to date; doit's own database would add a second opinion, and is kept in memory.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import IO, Any, ClassVar

from doit.cmd_base import DoitCmdBase
from doit.cmd_help import Help as DoitHelp
from doit.cmd_list import List as DoitList
from doit.cmd_run import Run as DoitRun
from doit.exceptions import BaseFail, InvalidCommand
from doit.task import Task

from kubewright.errors import InterruptedByUserError, KubewrightError
from kubewright.menu import HELP
from kubewright.report import Display, Progress, duration, show_error

#: the display of the run in progress; children of ``doit -n`` inherit it and use its pipe only
_display: Display | None = None


#: `--dry-run` was given: `lock` and `gc` show what they would do
dry_run = False


def progress(name: str) -> Progress:
    """Where the task ``name`` reports; without a run in progress its reports go nowhere."""
    return _display.progress(name) if _display else Progress(name)


class MemoryDB:
    """doit's state, for the length of one run. The interface is that of ``doit.dependency.JsonDB``."""

    desc = "in memory: the store decides what is up to date"

    def __init__(self, name: str, codec: object, **_: object) -> None:
        self.name = name
        self._data: dict[str, dict[str, Any]] = {}

    def get(self, task_id: str, dependency: str) -> Any:
        return self._data.get(task_id, {}).get(dependency)

    def set(self, task_id: str, dependency: str, value: object) -> None:
        self._data.setdefault(task_id, {})[dependency] = value

    def in_(self, task_id: str) -> bool:
        return task_id in self._data

    def remove(self, task_id: str) -> None:
        self._data.pop(task_id, None)

    def remove_all(self) -> None:
        self._data.clear()

    def dump(self) -> None:
        """Nothing to keep."""


class Reporter:
    """doit's reporter interface over a Display: built, cached and failed tasks, per-stage and total times."""

    desc = "kubewright's live progress"
    last: ClassVar[Reporter | None] = None

    def __init__(self, outstream: IO[str], options: object) -> None:
        global _display
        self.stream = outstream
        self.display = _display = Display(outstream)
        self.started = time.time()
        self.done: list[str] = []
        self.cached: list[str] = []
        self.failed: list[str] = []
        self.left_out: list[str] = []
        self.errors: list[str] = []
        self.interrupted = False
        Reporter.last = self

    def initialize(self, tasks: object, selected_tasks: object) -> None:
        """Nothing to prepare."""

    def get_status(self, task: Task) -> None:
        """Shown when it is known."""

    def execute_task(self, task: Task) -> None:
        if task.actions:
            self.display.begin(task.name)

    def add_success(self, task: Task) -> None:
        if task.actions:
            self.done.append(task.name)
            self.display.end(task.name, "done")

    def skip_uptodate(self, task: Task) -> None:
        if task.actions:
            self.cached.append(task.name)

    def skip_ignore(self, task: Task) -> None:
        self.display.say(f"{task.name}: ignored")

    def add_failure(self, task: Task, fail: BaseFail) -> None:
        if fail.get_name() == "UnmetDependency":
            self.left_out += [task.name] if task.actions else []
            return
        self.failed.append(task.name)
        self.display.end(task.name, "failed")
        if fail.report:
            self.errors.append(f"{task.name}: {fail.get_msg()}")

    def cleanup_error(self, exception: BaseFail) -> None:
        self.errors.append(exception.get_msg())

    def runtime_error(self, message: str) -> None:
        self.errors.append(message)

    def teardown_task(self, task: Task) -> None:
        """No task has one."""

    def complete_run(self) -> None:
        global _display
        self.display.close()
        _display = None
        for text in self.errors:
            print(text, file=sys.stderr)
        for name, error in self.display.failures:
            show_error(error, sys.stderr, name)
        parts = [(len(self.done), "done"), (len(self.cached), "cached"), (len(self.failed), "failed")]
        parts.append((len(self.left_out), "not tried for want of what failed"))
        said = ", ".join(f"{count} {word}" for count, word in parts if count) or "nothing to do"
        print(f"{said}; {duration(time.time() - self.started)} in all", file=self.stream, flush=True)


class Run(DoitRun):  # type: ignore[misc]  # doit has no annotations
    """``doit run``: the same, and the exit code of the first failure is that of its error (docs/errors.md)."""

    def execute(self, params: Any, args: list[str]) -> int:
        global dry_run
        dry_run = "--dry-run" in args
        args = [arg for arg in args if arg != "--dry-run"]
        if dry_run and not all(arg.partition(":")[0] in ("lock", "gc") for arg in args):
            raise InvalidCommand("--dry-run is for `lock` and `gc`; `kubewright plan NAME` shows what a build would do")
        interrupts = Interrupts()
        previous = [(each, signal.signal(each, interrupts)) for each in (signal.SIGINT, signal.SIGTERM)]
        try:
            _unlock(args)
            status = int(super().execute(params, args) or 0)
        except KeyboardInterrupt:
            show_error(
                InterruptedByUserError("interrupted; what is finished is kept", remedy="run it again to go on"), sys.stderr
            )
            return InterruptedByUserError.exit_code
        except KubewrightError as error:
            show_error(error, sys.stderr)
            return error.exit_code
        except InvalidCommand as error:
            raise _with_suggestion(error, self) from None
        finally:
            for each, handler in previous:
                signal.signal(each, handler)
        failures = Reporter.last.display.failures if Reporter.last else []
        if failures:
            return failures[0][1].exit_code
        return 1 if status == 2 else status  # doit's 2, an exception, would read as UsageError


class Interrupts:
    """Handles SIGINT and SIGTERM: the first one ends the work, the next is let by (a terminal tells every process, and doit
    its children once more, while they clean up), and from the third on it ends that as well."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, signum: int, frame: object) -> None:
        self.count += 1
        if self.count != 2:
            raise KeyboardInterrupt


def _unlock(args: list[str]) -> None:
    """Ask for the signing key's passphrase once: before the display is on the screen, and before tasks have own processes."""
    groups = {arg.partition(":")[0] for arg in args}
    if groups & {"sign", "attest", "mirror"}:
        from pathlib import Path

        from kubewright.project import Project
        from kubewright.trust.unlock import signing_key

        settings = Project.find(Path.cwd()).settings
        if settings.signing_key is not None or groups & {"sign", "attest"}:  # a mirror may stay unsigned
            signing_key(settings)


def _with_suggestion(error: InvalidCommand, command: DoitCmdBase) -> Any:
    names = [task.name for task in getattr(command, "task_list", [])]
    if not error.not_found:
        return error
    build = f"build:{error.not_found}"
    near = [build] if build in names else get_close_matches(str(error.not_found), names, 3, 0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return InvalidCommand(f"there is no task {error.not_found!r}.{hint} `./doit list --all` shows every task.")


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """``./doit list | head`` is no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class List(DoitList):  # type: ignore[misc]
    """``doit list``: task groups as a menu; ``--all`` and the other options are doit's own."""

    def execute(self, params: Any, args: list[str]) -> int:
        with _reader_may_leave():
            return int(super().execute(params, args) or 0)
        return 0

    def _execute(
        self,
        subtasks: bool = False,
        quiet: bool = False,
        status: bool = False,
        private: bool = False,
        list_deps: bool = False,
        template: str | None = None,
        sort: str = "name",
        pos_args: list[str] | None = None,
    ) -> int:
        if subtasks or quiet or status or private or list_deps or template or pos_args:
            return int(super()._execute(subtasks, quiet, status, private, list_deps, template, sort, pos_args) or 0)
        groups = [task for task in self.task_list if not task.subtask_of and ":" not in task.name]
        labels = {task.name + ("[:NAME]" if task.has_subtask else ""): task.doc for task in groups}
        _print_menu(labels | {"clean [NAME]": HELP["clean"].splitlines()[0]}, self.outstream)
        return 0


def _print_menu(labels: dict[str, str], stream: IO[str]) -> None:
    width = max(map(len, labels), default=0) + 2
    for label, text in labels.items():
        print(f"  {label:<{width}}{text}", file=stream)
    print("\n`./doit help TASK` explains a task; `./doit list --all` shows every name.", file=stream)
    print("`.venv/bin/kubewright --help`: questions about components, files and recipes.", file=stream)


class Help(DoitHelp):  # type: ignore[misc]
    """``doit help``: the menu; ``doit help TASK``: the task group's whole text, and the names that it takes."""

    def execute(self, params: Any, args: list[str]) -> int:
        with _reader_may_leave():
            if not args:
                _print_menu({name: text.splitlines()[0] for name, text in HELP.items()}, sys.stdout)
            elif args[0].partition(":")[0] in HELP:
                DoitCmdBase.execute(self, params, args)
            else:
                return int(super().execute(params, args) or 0)
        return 0

    def _execute(self, pos_args: list[str]) -> bool:
        name = pos_args[0].partition(":")[0]
        tasks = {task.name: task for task in self.task_list}
        if name not in HELP:
            near = get_close_matches(name, HELP, 1)
            print(f"there is no task {name!r}." + (f" Did you mean {near[0]}?" if near else ""))
            return True
        print(HELP[name].strip())
        subtasks = [task.removeprefix(name + ":") for task in tasks[name].task_dep] if name in tasks else []
        if subtasks:
            print("\nNAME is one of: " + " ".join(subtasks))
        return True


class Clean(DoitCmdBase):  # type: ignore[misc]
    """``doit clean``: remove artifacts. doit's own removes targets of tasks, of which there are none."""

    doc_purpose = "remove artifacts (all, or those of the components named); the store keeps what was built"
    doc_usage = "[NAME ...]"
    doc_description = None
    cmd_options = ()

    def execute(self, params: Any, args: list[str]) -> int:
        from pathlib import Path

        from kubewright.gc.collect import clean
        from kubewright.project import Project

        try:
            for path in clean(Project.find(Path.cwd()), args):
                print(f"removed {path}")
        except KubewrightError as error:
            show_error(error, sys.stderr)
            return error.exit_code
        return 0
