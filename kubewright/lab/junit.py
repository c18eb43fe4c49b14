"""What e2e.test's JUnit report says of specs, and what that means for a list of them. Nothing counts that it does not say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.parsers import expat

from kubewright.lab.errors import ConformanceError
from kubewright.lab.results import Outcome

_MOST: Final = 64 << 20
_DEEP: Final = 8
_TEXT: Final = 20_000
#: how ginkgo marks a spec, between what a suite does before and after
_SPEC: Final = "[It] "
#: what a spec is that the focus left out; one that skipped itself says why
_LEFT_OUT: Final = "skipped"
PASSED: Final = "passed"


@dataclass(frozen=True, slots=True)
class Case:
    """A test case of a report. ``message`` is why it failed or was skipped."""

    name: str
    status: str
    seconds: float
    message: str = ""

    @property
    def spec(self) -> str:
        """The spec's full text; empty for what is none."""
        return self.name.removeprefix(_SPEC) if self.name.startswith(_SPEC) else ""

    @property
    def ran(self) -> bool:
        """Whether it was begun: the focus did not leave it out."""
        return not (self.status == "skipped" and self.message == _LEFT_OUT)


def read_report(path: Path) -> list[Case]:
    """The test cases of a report. Raises ConformanceError when it is missing, too large, cut off, or no such report."""
    try:
        if path.stat().st_size > _MOST:
            raise ConformanceError(f"{path.name} is larger than {_MOST >> 20} MiB")
        return parse_report(path.read_bytes())
    except OSError as error:
        raise ConformanceError(f"there is no report: {error.strerror}: {path}", remedy="its log says more") from None


def parse_report(data: bytes) -> list[Case]:
    """The test cases of a report's bytes. Raises ConformanceError."""
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise ConformanceError(f"the report cannot be read: {error}", remedy="its log says more") from None
    return reader.cases


class _Reader:
    """testsuites > testsuite > testcase > skipped, failure or error. Declarations, which could define entities, are refused."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.parser = expat.ParserCreate("UTF-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._declared
        self._path: list[str] = []
        self._case: dict[str, str] | None = None
        self._message = ""

    def _declared(self, *_: object) -> None:
        raise ValueError("it declares a document type")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != "testsuites":
            raise ValueError(f"it begins with {name[:40]!r}")
        self._path.append(name)
        if len(self._path) > _DEEP:
            raise ValueError("it is nested too deep")
        if name == "testcase":
            if self._case is not None:
                raise ValueError("a test case is inside of another one")
            self._case, self._message = dict(attributes), ""
        elif self._case is not None and name in ("skipped", "failure", "error"):
            self._message = attributes.get("message", "")[:_TEXT]

    def _text(self, text: str) -> None:
        if self._case is not None and self._path[-1] in ("failure", "error") and len(self._message) < _TEXT:
            self._message += text[:_TEXT]

    def _end(self, name: str) -> None:
        self._path.pop()
        if name == "testcase" and self._case is not None:
            case, self._case = self._case, None
            if "name" not in case or "status" not in case:
                raise ValueError("a test case has no name or no status")
            self.cases.append(Case(case["name"], case["status"], _seconds(case.get("time", "0")), self._message.strip()))


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(e-?[0-9]{1,2})?", text):
        raise ValueError(f"a test case took {text[:40]!r} seconds")
    return float(text)


# -- what it means ---------------------------------------------------------------------------------------------------------


def judge(wanted: Sequence[str], cases: Iterable[Case], lost: Mapping[str, str]) -> list[Outcome]:
    """One outcome for each wanted spec, in order, and one for whatever ran besides. ``lost``: spec -> why it has no report.

    A spec is well only if exactly one case says that it passed: one that skipped itself is a failure here.
    """
    found: dict[str, list[Case]] = {}
    for case in cases:
        if case.spec and case.ran:
            found.setdefault(case.spec, []).append(case)
    outcomes = [_outcome(spec, found.pop(spec, []), lost.get(spec, "")) for spec in wanted]
    return outcomes + [
        Outcome(spec, each[0].seconds, problem="it ran, and nobody asked for it") for spec, each in found.items()
    ]


def _outcome(spec: str, cases: Sequence[Case], lost: str) -> Outcome:
    if not cases:
        return Outcome(spec, 0.0, problem=f"it did not run: {lost or 'no report has it'}")
    if len(cases) > 1:
        return Outcome(spec, cases[0].seconds, problem=f"it ran {len(cases)} times")
    case = cases[0]
    problem = "" if case.status == PASSED else f"{case.status}: {case.message or 'its report does not say why'}"
    return Outcome(spec, case.seconds, problem=problem)
