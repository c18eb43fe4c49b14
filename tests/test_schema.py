from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

import pytest

from kubewright.model.decode import decode, decoder
from kubewright.model.schema import (
    AtLeast,
    Case,
    Cases,
    Doc,
    ExactlyOne,
    Key,
    NotEmpty,
    Pattern,
    Problem,
    fields_of,
    show_path,
)


@dataclass(frozen=True, slots=True)
class Wheel:
    CASES: ClassVar[Cases] = Cases("kind", {"spare": Case(required=("place",), refused=("gear",))})

    kind: Literal["front", "spare"]
    place: Annotated[str, Doc("Where it hangs.")] = ""
    gear: int = 0


@dataclass(frozen=True, slots=True)
class Vehicle:
    CHOICE: ClassVar[ExactlyOne] = ExactlyOne(("motor", "sail"))

    name: Annotated[str, Pattern(r"[a-z]+", "a word of small letters")]
    wheels: Annotated[tuple[Wheel, ...], Key("wheel")] = ()
    motor: bool | None = None
    sail: Annotated[int | None, AtLeast(1)] = None
    labels: Annotated[Mapping[Annotated[str, Pattern(r"[a-z]+", "a word")], str], NotEmpty("minProperties")] = field(
        default_factory=lambda: {"a": "b"}
    )
    format: Literal[1] = 1


def problems_of(data: object) -> list[str]:
    problems: list[Problem] = []
    value = decode(Vehicle, data, problems)
    assert (value is None) == bool(problems)
    return [str(problem) for problem in problems]


def test_a_table_becomes_its_dataclass() -> None:
    problems: list[Problem] = []
    data = {"name": "van", "motor": True, "wheel": [{"kind": "front", "gear": 3}], "labels": {"x": "y"}, "format": 1}
    value = decode(Vehicle, data, problems)
    assert problems == []
    assert value == Vehicle("van", wheels=(Wheel("front", gear=3),), motor=True, labels={"x": "y"})


def test_defaults_stand_for_what_is_not_there() -> None:
    value = decode(Vehicle, {"name": "van", "sail": 2}, [])
    assert value == Vehicle("van", sail=2)
    assert fields_of(Vehicle)["labels"].default == {"a": "b"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "x"}, "nmae: unknown key"),
        ({"name": 5}, "name: expected a string, found an integer: 5"),
        ({"name": True}, "name: expected a string, found a boolean: true"),
        ({"name": ["x"]}, "name: expected a string, found an array"),
        ({"name": "Van"}, "name: 'Van' is not a word of small letters"),
        ({"name": "van\n"}, "name: 'van\\n' is not a word of small letters"),
        ({"motor": "on"}, "motor: expected true or false, found a string: 'on'"),
        ({"motor": 1}, "motor: expected true or false, found an integer: 1"),
        ({"wheel": {}}, "wheel: expected an array, found a table"),
        ({"wheel": ["x"]}, "wheel[0]: expected a table, found a string: 'x'"),
        ({"wheel": [{}]}, "wheel[0]: the key 'kind' is missing"),
        ({"wheel": [{"kind": "rear"}]}, 'wheel[0].kind: expected "front" or "spare", found a string: \'rear\''),
        ({"wheel": [{"kind": []}]}, 'wheel[0].kind: expected "front" or "spare", found an array'),
        ({"wheel": [{"kind": "spare"}]}, "wheel[0]: the key 'place' is missing; kind = 'spare' needs it"),
        ({"wheel": [{"kind": "spare", "place": "", "gear": 0}]}, "wheel[0].gear: has no meaning with kind = 'spare'"),
        ({"labels": {}}, "labels: is empty"),
        ({"labels": {"a": 1.5}}, "labels.a: expected a string, found a number: 1.5"),
        ({"labels": {"a.b": "x"}}, "labels.\"a.b\": 'a.b' is not a word"),
        ({"labels": []}, "labels: expected a table, found an array"),
        ({"sail": 1}, "has motor and sail"),
        ({"motor": date(2026, 11, 23)}, "motor: expected true or false, found a date or time: 2026-11-23"),
        ({"format": True}, "format: expected 1, found a boolean: true"),
        ({"format": 2}, "format: expected 1, found an integer: 2"),
    ],
)
def test_what_is_wrong_is_said_with_its_key_path(change: dict[str, Any], message: str) -> None:
    assert problems_of({"name": "van", "motor": True, **change}) == [message]


def test_every_problem_is_found_at_once() -> None:
    assert problems_of({"nam": "x", "sail": 0}) == [
        "nam: unknown key",
        "sail: 0 is less than 1",
        "the key 'name' is missing",
    ]
    assert problems_of({"name": "x"}) == ["has neither motor nor sail"]
    assert problems_of([]) == ["expected a table, found an array"]


def test_remedies_suggest_the_nearest_key_and_explain_missing_ones() -> None:
    problems: list[Problem] = []
    decode(Vehicle, {"name": "van", "motor": True, "weel": [], "wheel": [{"kind": "spare"}, {"kind": "fornt"}]}, problems)
    remedies = {str(problem.path): problem.remedy for problem in problems}
    assert remedies["('weel',)"].startswith("did you mean 'wheel'?")
    assert remedies["('wheel', 0)"] == "place: Where it hangs."
    assert remedies["('wheel', 1, 'kind')"].startswith("did you mean 'front'?")


def test_paths_are_shown_as_toml_would_write_them() -> None:
    assert show_path(("component", "etcd", "linux/amd64", "build", 0)) == 'component.etcd."linux/amd64".build[0]'


def test_a_hint_without_a_decoder_is_the_programmers_error() -> None:
    with pytest.raises(TypeError, match="complex"):
        decoder(complex)
