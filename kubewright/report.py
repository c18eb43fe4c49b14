"""What people see while work goes on: live progress on a terminal, plain lines elsewhere.

Work reports through a ``Progress``: stages, a transient line of detail, durable notes, a failure. Reports are small JSON lines
in a pipe that is made before any task starts, so that threads and the child processes of ``doit -n`` report alike.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from kubewright.errors import EXIT_CODES, KubewrightError, one_line, plain

if TYPE_CHECKING:  # rich is only imported where there is a terminal
    from rich.live import Live
    from rich.table import Table

#: without a terminal, work that says nothing for this many seconds is said to be alive
HEARTBEAT = 60.0

_PIPE_BUF = 4096  # writes up to this size to a pipe are not torn apart (POSIX PIPE_BUF on Linux)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one piece of work reports. ``descriptor`` is the pipe's writing end, or None: then nothing is shown."""

    name: str
    descriptor: int | None = None

    def stage(self, name: str) -> None:
        """A new stage begins (``fetch``, ``modules``, ``build``, ``smoke``); the last one ends."""
        self._send("stage", name)

    def update(self, text: str) -> None:
        """A transient detail of the stage: bytes and rate, packages compiled."""
        self._send("update", text)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._send("note", text)

    def fail(self, error: KubewrightError) -> None:
        """The work ended with ``error``."""
        room = _PIPE_BUF // 2
        details = error.details if len(error.details) <= room else "...\n" + error.details[-room:].partition("\n")[2]
        text = json.dumps([error.exit_code, error.title, error.message[:1000], error.remedy[:500], details])
        while len(text) > _PIPE_BUF - 200:
            details = details[len(details) // 2 :]
            text = json.dumps([error.exit_code, error.title, error.message[:500], error.remedy[:300], details])
        self._send("fail", text)

    def _send(self, kind: str, text: str) -> None:
        if self.descriptor is None:
            return
        line = json.dumps([kind, self.name, text, time.time()]) + "\n"
        if len(line) > _PIPE_BUF:
            line = json.dumps([kind, self.name, text[: _PIPE_BUF // 8], time.time()]) + "\n"
        os.write(self.descriptor, line.encode())


class Meter:
    """Bytes as ``31.2 of 74.0 MB, 12 MB/s``, told at most five times a second; several downloads may share one."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._what = what
        self._start = time.monotonic()
        self._last = 0.0
        self._done: dict[str, tuple[int, int | None]] = {}
        self._lock = threading.Lock()

    def at(self, name: str, done: int, total: int | None) -> None:
        """``name`` has ``done`` bytes of ``total`` (None: not known)."""
        with self._lock:
            self._done[name] = (done, total)
            now = time.monotonic()
            if now - self._last < 0.2:
                return
            self._last = now
            done_all = sum(each for each, _ in self._done.values())
            totals = [total for _, total in self._done.values()]
            of = "" if None in totals else f" of {sum(each or 0 for each in totals) / 1e6:.1f}"
            rate = done_all / 1e6 / max(now - self._start, 0.1)
        self._progress.update(f"{self._what}: {done_all / 1e6:.1f}{of} MB, {rate:.1f} MB/s")


# -- showing ------------------------------------------------------------------------------------------------------


@dataclass
class _Work:
    """What is known of one piece of work that runs."""

    stage: str = "starting"
    detail: str = ""
    started: float = field(default_factory=time.time)
    stage_started: float = field(default_factory=time.time)
    last_said: float = field(default_factory=time.time)
    stages: dict[str, float] = field(default_factory=dict)

    def close_stage(self, at: float) -> None:
        if self.stage != "starting":
            self.stages[self.stage] = self.stages.get(self.stage, 0.0) + at - self.stage_started

    def timings(self) -> str:
        return ", ".join(f"{name} {duration(seconds)}" for name, seconds in self.stages.items() if seconds >= 0.05)


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class Display:
    """Reads the pipe in a thread and shows what comes. One for a run; ``progress`` hands out the writing ends."""

    def __init__(self, stream: IO[str], *, live: bool | None = None) -> None:
        self.stream = stream
        self.failures: list[tuple[str, KubewrightError]] = []
        self._live_wanted = stream.isatty() and os.environ.get("TERM") != "dumb" if live is None else live
        self._work: dict[str, _Work] = {}
        self._markers: dict[str, threading.Event] = {}
        self._reading, self._writing = os.pipe()
        os.set_inheritable(self._writing, True)
        self._lock = threading.Lock()
        self._live = self._start_live() if self._live_wanted else None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._stopping = threading.Event()
        self._thread.start()
        self._beat = threading.Thread(target=self._heartbeat, daemon=True)
        self._beat.start()

    def progress(self, name: str) -> Progress:
        return Progress(name, self._writing)

    def begin(self, name: str) -> None:
        with self._lock:
            self._work[name] = _Work()

    def end(self, name: str, outcome: str) -> None:
        """``name`` is over; its line with per-stage times stays on the screen."""
        self._settle()
        with self._lock:
            work = self._work.pop(name, None)
        if work is None:
            return
        work.close_stage(time.time())
        timings = work.timings()
        self.say(f"{name}: {outcome} in {duration(time.time() - work.started)}" + (f" ({timings})" if timings else ""))

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self.stream.write(f"{text}\n")  # at once: print would let another thread in before the end of the line
            self.stream.flush()

    def close(self) -> None:
        """Show what is still in the pipe, then stop."""
        self._settle()
        self._stopping.set()
        os.close(self._writing)
        self._thread.join(timeout=5)
        if self._live is not None:
            self._live.stop()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wait until everything that was written before this call has been shown."""
        marker = threading.Event()
        name = f"settle-{id(marker)}"
        self._markers[name] = marker
        Progress(name, self._writing)._send("settle", "")
        marker.wait(5)

    def _read(self) -> None:
        with os.fdopen(self._reading, "r", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    kind, name, text, at = json.loads(line)
                    self._take(kind, name, text, at)
                except (ValueError, TypeError):
                    continue

    def _take(self, kind: str, name: str, text: str, at: float) -> None:
        if kind == "settle":
            self._markers.pop(name, threading.Event()).set()
            return
        with self._lock:
            work = self._work.setdefault(name, _Work())
            if kind == "stage":
                work.close_stage(at)
                work.stage, work.detail, work.stage_started = text, "", at
            elif kind == "update":
                work.detail = text
            work.last_said = work.last_said if kind == "update" else at
        if kind == "fail":
            code, title, message, remedy, details = json.loads(text)
            self.failures.append((name, _failure(code, title, message, remedy, details)))
        elif kind == "note" or (kind == "stage" and self._live is None):
            self.say(f"{name}: {text}")

    def _heartbeat(self) -> None:
        while self._live is None and not self._stopping.wait(1):
            now = time.time()
            with self._lock:
                silent = [(name, work) for name, work in self._work.items() if now - work.last_said > HEARTBEAT]
                for _, work in silent:
                    work.last_said = now
            for name, work in silent:
                self.say(f"{name}: {work.stage}, {duration(now - work.stage_started)} so far; {work.detail}".rstrip("; "))

    def _start_live(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        live = Live(get_renderable=self._render, console=Console(file=self.stream), refresh_per_second=8, transient=True)
        live.start()
        return live

    def _render(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        now = time.time()
        with self._lock:
            for name, work in self._work.items():
                table.add_row(Spinner("dots"), name, work.stage, duration(now - work.started), work.detail)
        return table


def _failure(code: int, title: str, message: str, remedy: str, details: str) -> KubewrightError:
    return EXIT_CODES.get(code, KubewrightError)(message, remedy=remedy, details=details)


def show_error(error: KubewrightError, stream: IO[str], where: str = "") -> None:
    """The one reason, what helps, what to do."""
    if error.details:
        print("\n".join("    " + plain(line) for line in error.details.splitlines()), file=stream)
    print(one_line(f"error: {where + ': ' if where else ''}{error.message}"), file=stream)
    if error.remedy:
        print(one_line(f"  what to do: {error.remedy}"), file=stream)
    stream.flush()


@contextmanager
def reporting_errors() -> Iterator[None]:
    """For command line entry points: a KubewrightError ends the program with its exit code and no traceback."""
    try:
        yield
    except KubewrightError as error:
        show_error(error, sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
