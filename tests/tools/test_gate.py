"""Does the gate let through only what is approved, and only what fits the schemas?"""

from typing import Any

import pytest
from calls import tool

from sentinai.errors import Denied, Rejected
from sentinai.tools.gate import PROBLEMS_MAX, check_allowed, check_input, check_output

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
    "additionalProperties": False,
}


def test_an_approved_tool_that_is_enabled_may_be_called() -> None:
    check_allowed("charge", frozenset({"charge"}), enabled=True)


@pytest.mark.parametrize(
    ("approved", "enabled", "why"),
    [({"refund"}, True, "not approved"), (set(), True, "not approved"), ({"charge"}, False, "disabled")],
)
def test_a_tool_that_is_not_approved_or_switched_off_is_denied(approved: set[str], enabled: bool, why: str) -> None:
    with pytest.raises(Denied, match=why) as caught:
        check_allowed("charge", frozenset(approved), enabled)
    assert caught.value.details == {"tool": "charge"}


def test_names_of_tools_are_compared_letter_by_letter() -> None:
    with pytest.raises(Denied):
        check_allowed("Charge", frozenset({"charge"}), enabled=True)


@pytest.mark.parametrize("content", [{"id": "a"}, {"id": "a", "lines": [1, 2]}])
def test_what_fits_the_schema_passes(content: Any) -> None:
    check_input(tool(inputSchema=SCHEMA), content)
    check_output(tool(outputSchema=SCHEMA), content)


@pytest.mark.parametrize(
    ("content", "pointers"),
    [
        ({}, [""]),
        ([], [""]),
        (None, [""]),
        ({"id": 1}, ["/id"]),
        ({"id": "a", "lines": [1, "2", 3, None]}, ["/lines/1", "/lines/3"]),
        ({"id": "a", "more": 1}, [""]),
    ],
)
def test_every_place_that_does_not_fit_is_named(content: Any, pointers: list[str]) -> None:
    for check, of in ((check_input, tool(inputSchema=SCHEMA)), (check_output, tool(outputSchema=SCHEMA))):
        with pytest.raises(Rejected, match="'charge' does not fit") as caught:
            check(of, content)
        assert [p.pointer for p in caught.value.problems] == pointers


def test_a_tool_without_an_output_schema_may_answer_anything() -> None:
    check_output(tool(), ["anything"])


def test_a_thousand_problems_are_cut_short() -> None:
    with pytest.raises(Rejected) as caught:
        check_input(tool(inputSchema=SCHEMA), {"id": "a", "lines": ["x"] * 1000})
    assert len(caught.value.problems) == PROBLEMS_MAX


@pytest.mark.parametrize(("key", "pointer"), [("a/b", "/a~1b"), ("a~b", "/a~0b")])
def test_a_pointer_is_escaped(key: str, pointer: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_input(tool(inputSchema={"additionalProperties": {"type": "string"}}), {key: 1})
    assert [p.pointer for p in caught.value.problems] == [pointer]


@pytest.mark.parametrize("content", [object(), float("nan")], ids=["no JSON", "no number"])
def test_what_is_no_json_is_refused_and_not_a_bug(content: Any) -> None:
    with pytest.raises(Rejected):
        check_input(tool(inputSchema=SCHEMA), {"id": content})


def test_what_is_nested_too_deep_to_be_checked_is_refused_and_not_a_bug() -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    for check, of in ((check_input, tool(inputSchema=SCHEMA)), (check_output, tool(outputSchema=SCHEMA))):
        with pytest.raises(Rejected, match="nested too deep"):
            check(of, {"id": deep})
