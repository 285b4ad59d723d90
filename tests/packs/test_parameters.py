"""What does an action's type say of its parameters, and what is said of values that do not fit?"""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from sentinai.errors import Rejected
from sentinai.packs.content import Json
from sentinai.packs.duration import Duration
from sentinai.packs.parameters import misfit, parameter, parameters_of, read_parameters


class Everything(msgspec.Struct, frozen=True, rename="camel"):
    short_text: Annotated[str, msgspec.Meta(max_length=3), parameter("Some text")]
    tool: Annotated[str, parameter("A tool", refers_to="tool")] = "none"
    times: Annotated[int, msgspec.Meta(ge=1, le=5), parameter("How often")] = 1
    at_least: Annotated[int, msgspec.Meta(ge=0)] | None = None
    share: float = 0.5
    loud: bool = False
    colour: Literal["RED", "BLUE"] = "RED"
    content: dict[str, Json] = {}
    entries: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("a",)
    after: Duration | None = None
    late: Annotated[bool, parameter("Needs a time", only_with="after")] = False


def test_parameters_are_read_from_the_type() -> None:
    found = {one.name: one for one in parameters_of(Everything)}
    assert [name for name, one in found.items() if one.required] == ["shortText"]
    assert (found["shortText"].sentence, found["tool"].refers_to, found["late"].only_with) == (
        "Some text",
        "tool",
        "after",
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("shortText", "long", "has to be text of at most 3 characters"),
        ("times", 6, "has to be a whole number of 1 to 5"),
        ("times", True, "has to be a whole number of 1 to 5"),
        ("atLeast", -1, "has to be a whole number of at least 0"),
        ("share", "half", "has to be a number"),
        ("loud", 1, "has to be true or false"),
        ("colour", "GREEN", "'GREEN' is not one of RED, BLUE"),
        ("content", [], "has to be an object"),
        ("entries", [], "has to be a list of at least 1 entries"),
        ("entries", [1], "Expected `str`, got `int` - at `$[0]`"),
        ("after", 5, "has to be a duration such as 8h"),
        ("shortText", "abc", None),
        ("atLeast", None, None),
        ("after", "8h", None),
        ("share", 1, None),
    ],
)
def test_a_misfit_is_said_in_plain_words(name: str, value: Any, reason: str | None) -> None:
    declared = next(one for one in parameters_of(Everything) if one.name == name)
    assert misfit(declared, value) == reason


def test_values_become_the_type_and_what_is_not_said_has_its_default() -> None:
    found = read_parameters(Everything, {"shortText": "abc", "after": "90m", "late": True})
    assert (found.short_text, found.times, found.after and found.after.seconds, found.late) == ("abc", 1, 5400, True)


class Between(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low has to be below high")


def test_a_type_may_refuse_values_that_do_not_go_together() -> None:
    with pytest.raises(Rejected, match="low has to be below high"):
        read_parameters(Between, {"low": 2, "high": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "parameter 'shortText' is missing"),
        ({"shortText": 1}, "parameter 'shortText': has to be text of at most 3 characters"),
        ({"shortText": "a", "late": True}, "parameter 'late': decides nothing without 'after'"),
    ],
)
def test_values_that_do_not_fit_are_rejected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(Rejected) as caught:
        read_parameters(Everything, values)
    assert caught.value.message == message
