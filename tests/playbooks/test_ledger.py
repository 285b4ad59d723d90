"""May an effect be asked for (again), and under which key?"""

from typing import Any
from uuid import UUID, uuid5

import pytest

from sentinai.events.tool import ToolExecutionCompleted, ToolExecutionFailed, ToolExecutionRequested
from sentinai.models.run import Answer, PlaybookRun, StepRun, StepStatus, WaitsFor
from sentinai.models.tool import Call, ExecutionStatus
from sentinai.playbooks.ledger import effect_of, evolve_calls, keep_outputs, look_up, settled_by_hand

X = UUID(int=7)
EFFECT = effect_of(X, "refund", {"id": "p1"})
RUN = PlaybookRun("p", 1)


def call(status: str, key: UUID, output: Any = None) -> Call:
    return Call("refund", EFFECT, key, ExecutionStatus(status), output=output)


def bound(*executions: UUID) -> PlaybookRun:
    """A run whose steps already have these calls."""
    steps = {f"s{n}": StepRun(n, status=StepStatus.COMPLETED, execution_id=e) for n, e in enumerate(executions, 1)}
    return PlaybookRun("p", 1, steps=steps)


def test_an_effect_is_the_tool_and_its_input_whatever_order_the_input_has() -> None:
    assert effect_of(X, "t", {"a": 1, "b": 2}) == effect_of(X, "t", {"b": 2, "a": 1})
    different = {effect_of(X, "t", 1), effect_of(X, "u", 1), effect_of(X, "t", 2), effect_of(UUID(int=8), "t", 1)}
    assert len(different) == 4


def test_the_first_use_gets_a_key_that_every_run_would_give_it() -> None:
    first = look_up({}, RUN, EFFECT, idempotent=False)
    assert (first.what, first.execution_id, first.key) == ("new", uuid5(EFFECT, "0"), uuid5(EFFECT, "0"))
    assert look_up({}, bound(), EFFECT, idempotent=True) == first


@pytest.mark.parametrize(
    ("status", "idempotent", "what"),
    [
        ("REQUESTED", False, "open"), ("REQUESTED", True, "open"),
        ("RUNNING", False, "open"), ("RUNNING", True, "open"),
        ("UNKNOWN", False, "unknown"), ("UNKNOWN", True, "unknown"),
        ("SUCCEEDED", False, "done"), ("SUCCEEDED", True, "new"),
        ("FAILED", False, "new"), ("FAILED", True, "new"),
        ("CANCELLED", False, "new"), ("CANCELLED", True, "new"),
    ],
)  # fmt: skip
def test_what_an_earlier_run_left_behind(status: str, idempotent: bool, what: str) -> None:
    key = uuid5(EFFECT, "0")
    known = look_up({str(key): call(status, key, {"ref": 1})}, RUN, EFFECT, idempotent=idempotent)
    assert (known.what, known.key) == (what, key), "whatever is asked for again keeps its key"
    assert (known.execution_id == key) == (what != "new")
    assert known.output == ({"ref": 1} if what == "done" else None)


def test_another_try_of_the_same_key_is_an_execution_of_its_own() -> None:
    key = uuid5(EFFECT, "0")
    calls = {str(key): call("FAILED", key), str(uuid5(key, "1")): call("FAILED", key)}
    assert look_up(calls, RUN, EFFECT, idempotent=False).execution_id == uuid5(key, "2")


def test_the_second_use_within_one_run_is_another_key() -> None:
    key = uuid5(EFFECT, "0")
    known = look_up({str(key): call("SUCCEEDED", key)}, bound(key), EFFECT, idempotent=False)
    assert (known.what, known.key) == ("new", uuid5(EFFECT, "1"))


def test_a_run_that_begins_anew_finds_each_use_in_its_order() -> None:
    first, second = uuid5(EFFECT, "0"), uuid5(EFFECT, "1")
    calls = {str(first): call("SUCCEEDED", first, 1), str(second): call("SUCCEEDED", second, 2)}
    assert look_up(calls, RUN, EFFECT, idempotent=False).output == 1
    assert look_up(calls, bound(first), EFFECT, idempotent=False).output == 2


def test_a_key_from_before_there_was_a_ledger_counts_like_any_other() -> None:
    old = UUID(int=123)
    calls = evolve_calls({}, ToolExecutionRequested(old, "refund", {"id": "p1"}, "again"), X, RUN)
    assert look_up(calls, RUN, EFFECT, idempotent=False).execution_id == old


def test_a_notification_is_no_call_of_a_step() -> None:
    assert evolve_calls({}, ToolExecutionRequested(X, "ops", {}, None, channel=True), X, RUN) == {}


def test_an_answer_that_a_step_waits_for_is_kept_by_the_step_alone() -> None:
    key = uuid5(EFFECT, "0")
    waiting = PlaybookRun("p", 1, steps={"s": StepRun(1, waits_for=WaitsFor.TOOL, execution_id=key)})
    answered = ToolExecutionCompleted(key, "refund", {"ref": 1}, 1, "s")
    assert evolve_calls({str(key): call("RUNNING", key)}, answered, X, waiting)[str(key)].output is None
    assert evolve_calls({str(key): call("RUNNING", key)}, answered, X, None)[str(key)].output == {"ref": 1}


def test_before_steps_are_dropped_the_ledger_takes_what_they_have() -> None:
    key = uuid5(EFFECT, "0")
    done = PlaybookRun("p", 1, steps={"s": StepRun(1, status=StepStatus.COMPLETED, execution_id=key, output=5)})
    told = PlaybookRun(
        "p", 1, steps={"s": StepRun(1, status=StepStatus.FAILED, execution_id=key, answer=Answer("done", 6))}
    )
    assert keep_outputs({str(key): call("SUCCEEDED", key)}, done)[str(key)].output == 5
    assert keep_outputs({str(key): call("SUCCEEDED", key)}, told)[str(key)].output == 6
    assert keep_outputs({str(key): call("UNKNOWN", key)}, done)[str(key)].output is None


@pytest.mark.parametrize("status", ["UNKNOWN", "REQUESTED", "RUNNING", "CANCELLED", "FAILED"])
def test_what_a_person_did_is_done_whatever_the_tool_says_then(status: str) -> None:
    settled = settled_by_hand({str(X): call(status, X)}, X)
    failed = ToolExecutionFailed(X, "refund", "UNKNOWN", "no answer", 1)
    for calls in (settled, evolve_calls(settled, failed, X, RUN)):
        assert (calls[str(X)].status, calls[str(X)].settled) == ("SUCCEEDED", True)
    assert look_up({str(X): settled[str(X)]}, RUN, EFFECT, idempotent=True).what == "done", (
        "not even by an idempotent tool"
    )


def test_events_of_calls_that_nobody_asked_for_change_nothing() -> None:
    assert evolve_calls({}, ToolExecutionFailed(X, "refund", "FAILED", "x", 1), X, RUN) == {}
