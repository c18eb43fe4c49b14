"""What was checked, how long it took, and what came out: as a table, and as JUnit XML."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from kubewright.errors import KubewrightError


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that was done. ``problem`` is empty where it went well; ``left_out`` says why it was not done."""

    name: str
    seconds: float
    note: str = ""
    problem: str = ""
    left_out: str = ""


@dataclass(slots=True)
class Results:
    """Everything that was done so far; ``watch`` is told of each."""

    name: str
    watch: Callable[[str], None] = lambda line: None
    outcomes: list[Outcome] = field(default_factory=list)

    @contextmanager
    def doing(self, name: str) -> Iterator[list[str]]:
        """Time a thing; what is put into the list is its note. A failure is recorded and goes on to the caller."""
        begin, notes = time.monotonic(), list[str]()
        self.watch(name)
        try:
            yield notes
        except Exception as error:
            parts = (error.message, error.details) if isinstance(error, KubewrightError) else (repr(error),)
            problem = "\n".join(part for part in parts if part)
            self.outcomes.append(Outcome(name, time.monotonic() - begin, "; ".join(notes), problem))
            raise
        self.outcomes.append(Outcome(name, time.monotonic() - begin, "; ".join(notes)))

    def leave_out(self, name: str, why: str) -> None:
        """Say what was not done, and why."""
        self.outcomes.append(Outcome(name, 0.0, left_out=why))

    @property
    def failed(self) -> list[Outcome]:
        """What did not go well."""
        return [each for each in self.outcomes if each.problem]

    def table(self) -> str:
        """For people."""
        width = max((len(each.name) for each in self.outcomes), default=0)
        lines = [f"{each.name:{width}}  {_verdict(each):6}  {each.seconds:7.1f} s  {_remark(each)}" for each in self.outcomes]
        return "".join(f"{line.rstrip()}\n" for line in lines)

    def junit(self) -> str:
        """For CI: one test case for each outcome."""
        cases = "".join(_case(self.name, each) for each in self.outcomes)
        skipped = sum(bool(each.left_out) for each in self.outcomes)
        counts = f'tests="{len(self.outcomes)}" failures="{len(self.failed)}" skipped="{skipped}"'
        seconds = f'time="{sum(each.seconds for each in self.outcomes):.1f}"'
        head = '<?xml version="1.0" encoding="UTF-8"?>\n'
        return f"{head}<testsuite name={quoteattr(self.name)} {counts} {seconds}>\n{cases}</testsuite>\n"

    def write(self, folder: Path) -> None:
        """Both, as files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "junit.xml").write_text(self.junit(), encoding="utf-8")
        (folder / "table.txt").write_text(self.table(), encoding="utf-8")


def _verdict(outcome: Outcome) -> str:
    return "FAILED" if outcome.problem else "left" if outcome.left_out else "ok"


def _remark(outcome: Outcome) -> str:
    return (outcome.problem or outcome.left_out or outcome.note).split("\n")[0]


def _case(suite: str, outcome: Outcome) -> str:
    head = f'  <testcase classname={quoteattr(suite)} name={quoteattr(outcome.name)} time="{outcome.seconds:.3f}"'
    if outcome.problem:
        return f"{head}><failure message={quoteattr(_remark(outcome))}>{_text(outcome.problem)}</failure></testcase>\n"
    if outcome.left_out:
        return f"{head}><skipped message={quoteattr(outcome.left_out)}/></testcase>\n"
    return f"{head}><system-out>{_text(outcome.note)}</system-out></testcase>\n"


def _text(text: str) -> str:
    return escape("".join(each for each in text if each in "\t\n" or each.isprintable()))
