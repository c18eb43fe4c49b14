"""e2e.test as processes side by side, each with its share of the specs, its own report and its own log."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubewright.lab.errors import ConformanceError
from kubewright.lab.junit import Case, read_report
from kubewright.lab.specs import focus

#: how long a share of the specs may take for each of them, in seconds, and at least; upstream's own limits are shorter
_EACH: Final = 120
_LEAST: Final = 900
#: how long after that a process that does not end is killed
_GRACE: Final = 120


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs, whom they speak to, and the folder for reports and logs."""

    program: Path
    kubectl: Path
    kubeconfig: Path
    folder: Path

    def say(self, *words: str) -> str:
        """What e2e.test prints without a cluster. Raises ConformanceError."""
        said = subprocess.run(
            [self.program, *words], env=self.environment(), cwd=self.folder, capture_output=True, text=True, timeout=300
        )
        if said.returncode:
            raise ConformanceError(
                f"e2e.test {' '.join(words)} ended with status {said.returncode}", details=said.stderr[-4000:]
            )
        return said.stdout

    def environment(self) -> dict[str, str]:
        """Nothing of the user's: no proxy, no other cluster."""
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.kubeconfig.parent)}

    def command(self, name: str, specs: Sequence[str], seconds: int) -> list[str]:
        """The process that runs exactly these specs."""
        return [
            str(self.program),
            "--provider=skeleton",  # of a cloud, it knows nothing
            f"--kubeconfig={self.kubeconfig}",
            f"--kubectl-path={self.kubectl}",
            "--disable-log-dump",
            f"--report-dir={self.folder}",
            f"--report-prefix={name}_",
            f"--ginkgo.focus={focus(specs)}",
            f"--ginkgo.timeout={seconds}s",
            "--ginkgo.v",
            "--ginkgo.no-color",
        ]

    def report(self, name: str) -> Path:
        """Where the process of this name writes its report."""
        return self.folder / f"junit_{name}_01.xml"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a process said of its specs. ``lost`` is why those that no case is about did not run."""

    specs: tuple[str, ...]
    status: int
    cases: tuple[Case, ...]
    lost: str


#: told of a spec that ended: its text, and what ginkgo printed of it, such as "4.2 seconds"
Told = Callable[[str, str], None]


def run_side_by_side(tools: Tools, shares: Sequence[tuple[str, tuple[str, ...]]], told: Told) -> list[Ran]:
    """Run shares of specs, each in a process of its own under a name. None of them outlives this, whatever happens."""
    processes: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(max(len(shares), 1)) as pool:
        running = [pool.submit(_run, tools, name, specs, told, processes) for name, specs in shares]
        try:
            return [each.result() for each in running]
        except BaseException:
            for process in processes:
                process.kill()
            raise


def _run(tools: Tools, name: str, specs: tuple[str, ...], told: Told, processes: list[subprocess.Popen[str]]) -> Ran:
    tools.report(name).unlink(missing_ok=True)
    seconds = max(_LEAST, _EACH * len(specs))
    log = tools.folder / f"{name}.log"
    process = subprocess.Popen(
        tools.command(name, specs, seconds),
        env=tools.environment(),
        cwd=tools.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    processes.append(process)
    watchdog = threading.Timer(seconds + _GRACE, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        with process, log.open("w", encoding="utf-8") as out:
            watcher = Watcher(specs, told)
            for line in process.stdout:
                out.write(line)
                watcher.line(line)
    finally:
        watchdog.cancel()
    return _ran(tools, name, specs, process.returncode)


def _ran(tools: Tools, name: str, specs: tuple[str, ...], status: int) -> Ran:
    lost = f"its process ended with status {status}: {tools.folder / name}.log"
    try:
        return Ran(specs, status, tuple(read_report(tools.report(name))), lost)
    except ConformanceError as error:
        return Ran(specs, status, (), f"{lost}; {error.message}")


class Watcher:
    """Tells of each spec as ginkgo's output says that it ended. For people only: what counts is the report."""

    def __init__(self, specs: Sequence[str], told: Told) -> None:
        self._specs, self._told = specs, told
        self._now = ""

    def line(self, line: str) -> None:
        """The next line of the output."""
        if line.startswith(("• [", "S [", "P [")) and self._now:
            self._told(self._now, line[1:].replace("[", "").replace("]", "").strip())
            self._now = ""
        elif not self._now:
            self._now = max((spec for spec in self._specs if line.startswith(spec)), key=len, default="")
