"""README's transcript is what docs/transcript.py recorded: its commands, in its order, each with an answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def transcript() -> ModuleType:
    spec = importlib.util.spec_from_file_location("transcript", ROOT / "docs/transcript.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_commands_are_those_of_the_recorder(transcript: ModuleType) -> None:
    found = transcript.typed((ROOT / "README.md").read_text("utf-8"))
    assert found in (list(transcript.SESSION), [*transcript.SESSION, *transcript.LAB])


def test_every_command_has_an_answer_and_none_is_an_error(transcript: ModuleType) -> None:
    text = (ROOT / "README.md").read_text("utf-8").partition(transcript.BEGIN)[2].partition(transcript.END)[0]
    answers = text.strip().removeprefix("```console").removesuffix("```").split("\n$ ")[1:]
    for answer in answers:
        command, *lines = answer.strip().splitlines()
        assert lines, command
        assert not any(line.startswith("error:") for line in lines), command
    assert "verified: kubernetes" in text


def test_long_outputs_are_cut_in_the_middle(transcript: ModuleType) -> None:
    short = transcript.shortened("".join(f"{number} \n" for number in range(100)))
    lines = short.splitlines()
    assert lines[: transcript.HEAD] == [str(number) for number in range(transcript.HEAD)]
    assert lines[transcript.HEAD] == "..."
    assert lines[-1] == "99"
    assert transcript.shortened("one\n\n") == "one\n"


def test_only_what_is_between_the_markers_changes(
    transcript: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{transcript.BEGIN}old\n{transcript.END}after\n")
    monkeypatch.setattr(transcript, "README", readme)
    transcript.write("$ new\nsaid\n")
    assert readme.read_text() == f"before\n{transcript.BEGIN}```console\n$ new\nsaid\n```\n{transcript.END}after\n"
    assert transcript.typed(readme.read_text()) == ["new"]
    readme.write_text("nothing\n")
    with pytest.raises(SystemExit, match="has no markers"):
        transcript.write("")


def test_the_lab_alone_is_put_behind_what_was_there(transcript: ModuleType) -> None:
    for old in ("$ one\n1\n", "$ one\n1\n\n$ ./doit lab:m1\nold\n"):
        assert transcript.recorded_before(f"x\n{transcript.BEGIN}```console\n{old}```\n{transcript.END}y") == "$ one\n1\n"
