"""Which faults of playbooks are found when they are imported?"""

from typing import Any

import msgspec
import pytest

from sentinai.packs.checks.known import KnownNames
from sentinai.packs.checks.playbook import playbook_findings
from sentinai.packs.model.playbook import PlaybookDeclaration
from sentinai.packs.places import EVERYTHING_READ, Placed
from sentinai.services.vocabulary import VOCABULARY

KNOWN = KnownNames(
    VOCABULARY,
    types=frozenset({"FAILURE", "DECLINED"}),
    tools=frozenset({"note"}),
    inputs={"note": {"required": ["id"]}},
)
NOTE = {"name": "note", "action": "add_comment", "params": {"text": "x"}}


def findings(*playbooks: dict[str, Any], known: KnownNames = KNOWN) -> list[tuple[str, str]]:
    given = [Placed(f"/{n}", msgspec.convert(one, PlaybookDeclaration)) for n, one in enumerate(playbooks)]
    return list(playbook_findings(given, known, EVERYTHING_READ))


def steps(*given: dict[str, Any]) -> list[tuple[str, str]]:
    return findings({"name": "one", "steps": list(given)})


def step(action: str, **params: Any) -> dict[str, Any]:
    return {"name": "step", "action": action, "params": params}


@pytest.mark.parametrize(
    "good",
    [
        step("notify", channel="ops", message="${domain}: x"),
        step("assign_owner", owner="desk"),
        step("set_status", status="RESOLVED", reason="done"),
        step("set_status", status="${severity}", reason="done"),
        step("call_tool", tool="note", input={"id": "${tenantId}"}),
        step("call_tool", tool="note", input="${rawPayload}"),
        step("request_approval", reason="why", expiresAfter="8h"),
        step("request_approval", reason="why", expiresAfter="${rawPayload.patience}", onExpiry="REJECT"),
        step("add_comment", text="see steps.md"),
        step("add_comment", text="$${steps.later}"),
    ],
)
def test_a_good_step_has_no_findings(good: dict[str, Any]) -> None:
    assert steps(good) == []


@pytest.mark.parametrize(
    ("bad", "place", "detail"),
    [
        (step("notify", channel="ops"), "/0/steps/0/params", "notify needs the parameter `message`"),
        (step("add_comment", text="x", txt="y"), "/0/steps/0/params/txt", "add_comment has no parameter `txt`"),
        (step("add_comment", text=5), "/0/steps/0/params/text", "has to be text"),
        (step("set_status", status="DONE", reason="x"), "/0/steps/0/params/status", "'DONE' is not one of"),
        (step("request_approval", reason="x", expiresAfter="soon"), "/0/steps/0/params/expiresAfter", "not a duration"),
        (
            step("request_approval", reason="x", expiresAfter="0s"),
            "/0/steps/0/params/expiresAfter",
            "longer than nothing",
        ),
        (
            step("request_approval", reason="x", onExpiry="REJECT"),
            "/0/steps/0/params/onExpiry",
            "without `expiresAfter`",
        ),
        (
            step("request_approval", reason="x", expiresAfter="8h", onExpiry="X"),
            "/0/steps/0/params/onExpiry",
            "is not one of ESCALATE, REJECT",
        ),
        ({**step("request_approval", reason="x"), "mode": "human"}, "/0/steps/0/mode", "asks a person by itself"),
        (step("assign_owner", owner="x" * 201), "/0/steps/0/params/owner", "has to be text of 1 to 200 characters"),
        (step("call_tool", tool="note", input=5), "/0/steps/0/params/input", "has to be an object"),
        (step("call_tool"), "/0/steps/0/params", "call_tool needs the parameter `tool`"),
        (step("call_tool", tool="none"), "/0/steps/0/params/tool", "there is no tool 'none'"),
        (step("call_tool", tool="${domain}"), "/0/steps/0/params/tool", "not computed"),
        (step("call_tool", tool="note", input={}), "/0/steps/0/params", "requires the input `id`"),
        (step("wait"), "/0/steps/0/action", "`wait` is not supported in schemaVersion 1 yet"),
        (step("dance"), "/0/steps/0/action", "there is no action 'dance'"),
        (step("add_comment", text="${nobody}"), "/0/steps/0/params/text", "undeclared reference"),
        ({**NOTE, "when": "1"}, "/0/steps/0/when", "has to be a bool"),
    ],
)
def test_a_bad_step_is_found(bad: dict[str, Any], place: str, detail: str) -> None:
    found = steps(bad)
    assert [at for at, _ in found] == [place]
    assert detail in found[0][1]


@pytest.mark.parametrize(
    "expression",
    ["steps.later.status == 'x'", "steps.?later.hasValue()", "has(steps.later)", "steps['later'].status == 'x'"],
)
def test_only_earlier_steps_can_be_used(expression: str) -> None:
    later = {**NOTE, "name": "later"}
    uses = {**NOTE, "when": expression}
    assert steps(later, uses) == []
    assert steps(uses, later) == [("/0/steps/0", "uses steps.later, which is no earlier step")]


ASK = {"name": "ask", "action": "request_approval", "onFailure": "CONTINUE", "params": {"reason": "why"}}
CALL = {"name": "call", "action": "call_tool", "params": {"tool": "note", "input": {"id": "1"}}}


@pytest.mark.parametrize(
    "later",
    [
        [CALL],
        [NOTE, CALL],
        [{**CALL, "when": "occurrences > 1"}],
        [{**CALL, "when": 'rawPayload.a == "steps.ask.status"'}],
        [{**CALL, "when": "true // steps.ask.status"}],
    ],
)
def test_a_no_that_would_not_reach_a_tool_is_found(later: list[dict[str, Any]]) -> None:
    ((place, detail),) = steps(ASK, *later)
    assert place == "/0/steps/0/onFailure"
    assert detail == "after a no, step 'call' would call its tool all the same: give it a `when` that reads steps.ask"


@pytest.mark.parametrize(
    "fine",
    [
        [ASK, {**CALL, "when": 'steps.ask.status == "COMPLETED"'}],
        [ASK, {**CALL, "when": 'steps["ask"].status == "COMPLETED"'}],
        [ASK, NOTE],
        [CALL, ASK],
        [{**ASK, "onFailure": "ESCALATE"}, CALL],
        [{**NOTE, "onFailure": "CONTINUE"}, CALL],
    ],
)
def test_a_no_that_ends_the_run_or_is_asked_for_is_fine(fine: list[dict[str, Any]]) -> None:
    assert steps(*fine) == []


def test_step_names_are_unique() -> None:
    assert steps(NOTE, NOTE) == [("/0/steps/1/name", "'note' is there twice")]


def test_a_type_that_is_not_known_is_found_once_the_domain_is_at_hand() -> None:
    playbook = {"name": "a", "match": {"exceptionTypes": ["NOBODY", "UNCLASSIFIED"]}, "steps": [NOTE]}
    assert findings(playbook, known=KnownNames(VOCABULARY)) == []
    assert [at for at, _ in findings(playbook)] == ["/0/match/exceptionTypes/0"]


def playbook(name: str, priority: int = 0, version: int = 1, **match: Any) -> dict[str, Any]:
    return {"name": name, "priority": priority, "version": version, "match": match, "steps": [NOTE]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (playbook("a"), playbook("b")),
        (playbook("a", exceptionTypes=["FAILURE"]), playbook("b", exceptionTypes=["DECLINED", "FAILURE"])),
        (playbook("a", severities=["LOW", "HIGH"]), playbook("b", severities=["HIGH"])),
        (playbook("a", when="occurrences > 1"), playbook("b", when="occurrences > 1")),
    ],
)
def test_two_playbooks_that_nothing_tells_apart_are_found(one: dict[str, Any], other: dict[str, Any]) -> None:
    found = findings(one, other)
    assert found == [("/1", "can never be told from playbook 'a': give one a higher priority")]


@pytest.mark.parametrize(
    "other",
    [
        playbook("b", priority=1, exceptionTypes=["FAILURE"]),
        playbook("b", version=2, exceptionTypes=["FAILURE"]),
        playbook("b", exceptionTypes=["DECLINED"]),
        playbook("b", exceptionTypes=["FAILURE"], severities=["LOW"]),
        playbook("b", exceptionTypes=["FAILURE"], when="occurrences > 1"),
        playbook("b"),
    ],
)
def test_two_playbooks_that_differ_in_rank_or_fit_are_fine(other: dict[str, Any]) -> None:
    assert findings(playbook("a", exceptionTypes=["FAILURE"]), other) == []


def test_the_same_name_and_version_twice_is_found() -> None:
    found = findings(playbook("a"), playbook("a", priority=1))
    assert found == [("/1/name", "'a' version 1 is there twice")]
