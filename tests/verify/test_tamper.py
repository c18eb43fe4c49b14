"""Each way to tamper is refused with its own error, before anything is written; its untampered twin passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from setbuilder import SetBuilder
from tamper_cases import CASES, Case, verify_all

from kubewright.errors import EXIT_CODES


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_tampering_is_refused_and_its_control_passes(case: Case, tmp_path: Path) -> None:
    made = SetBuilder(tmp_path)
    case.arrange(made)
    case.run(made)  # the control; it also makes the last-seen state
    case.tamper(made)
    before = files_of(tmp_path)
    copy = tmp_path / "copy"
    options = {"copy_to": copy} if case.run is verify_all else {}
    with pytest.raises(case.error) as caught:
        case.run(made, **options)
    assert type(caught.value) is case.error, caught.value
    assert EXIT_CODES[case.error.exit_code] is case.error
    assert caught.value.message
    assert not copy.exists()
    after = {name: data for name, data in files_of(tmp_path).items() if name in before or ".lock" not in name}
    if case.name != "file swapped while being verified":  # there the attacker writes meanwhile
        assert after == before


def test_classes_of_tampering_have_messages_of_their_own(tmp_path: Path) -> None:
    """Where two cases share an error, their messages differ."""
    messages: dict[str, str] = {}
    for index, case in enumerate(CASES):
        made = SetBuilder(tmp_path / str(index))
        case.arrange(made)
        case.run(made)
        case.tamper(made)
        with pytest.raises(case.error) as caught:
            case.run(made)
        message = caught.value.message.replace(str(tmp_path / str(index)), "")
        assert messages.setdefault(message, case.name) == case.name, message
