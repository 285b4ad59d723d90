"""May a call be taken onto the work list, and may its next attempt begin now?"""

from datetime import timedelta
from uuid import UUID

import pytest
from story import By, Story, given, ingested, normalized, payment, triaged

from sentinai.events.playbook import PlaybookStepCompletionRequested
from sentinai.events.tool import (
    ToolExecutionCalledOff,
    ToolExecutionCompleted,
    ToolExecutionFailed,
    ToolExecutionRequested,
    ToolExecutionRetryScheduled,
    ToolExecutionStarted,
)
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator.stages import calls
from sentinai.orchestrator.stages.calls import Attempt, CallChecks, Gate, begin
from sentinai.orchestrator.stages.occasion import Situation

CONTEXT = {"paymentId": "p1", "amountMinor": 500, "tier": "standard"}


def calling() -> tuple[Story, ToolExecutionRequested]:
    story = given(ingested(payment(code="refund_stuck")), normalized(CONTEXT)).run(triaged("REFUND_STUCK", "HIGH", 1.0))
    return story, next(e.body for e in story.events if e.type == "ToolExecutionRequested")


def gate(story: Story, request: ToolExecutionRequested, **other: object) -> Gate:
    values = {
        "execution_id": request.execution_id,
        "tool": request.tool,
        "number": 1,
        "step": request.step,
        "channel": False,
    }
    return begin(Situation(story.state, story.tenant, story.own, story.now), Attempt(**{**values, **other}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("refusal", "said"), [(None, 0), ("tool 'x' is disabled", 1)])
def test_a_call_is_taken_or_refused_with_the_reason(refusal: str | None, said: int) -> None:
    story, request = calling()
    event = next(e for e in story.events if e.type == "ToolExecutionRequested")
    occasion = calls.Occasion(story.state, story.tenant, story.own, story.now, event)
    found = calls.decide(occasion, CallChecks(refusal))
    assert len(found) == said
    if refusal:
        assert isinstance(found[0], ToolExecutionFailed)
        assert (found[0].error, found[0].status, found[0].step) == (refusal, "FAILED", request.step)


def test_the_call_that_the_running_step_waits_for_may_begin() -> None:
    story, request = calling()
    assert gate(story, request) == Gate(
        "go", [ToolExecutionStarted(request.execution_id, "refundAgain", 1)], actor="tool:refundAgain"
    )


def test_a_call_that_no_step_waits_for_may_not() -> None:
    story, request = calling()
    assert gate(story, request, execution_id=UUID(int=3)).verdict == "stop"


def test_a_notification_is_delivered_also_after_the_end() -> None:
    story, request = calling()
    assert gate(story, request, step=None, channel=True).verdict == "go"


def test_a_step_that_a_person_did_needs_no_call_any_more() -> None:
    story, request = calling()
    story.given(By("user:jo", PlaybookStepCompletionRequested(1, {}, None, "again")))
    assert gate(story, request).verdict == "stop"


def test_a_tool_that_was_switched_off_is_not_called() -> None:
    story, request = calling()
    story.disabled_tools = frozenset({"payments.refundAgain"})
    found = gate(story, request)
    assert (found.verdict, found.said) == ("stop", [])
    assert "enabled" in found.reason


# ---- the ledger ------------------------------------------------------------------------------------------------------


def ledger(story: Story, request: ToolExecutionRequested) -> str:
    return str(story.state.calls[str(request.execution_id)].status)


def test_a_call_goes_through_its_states() -> None:
    story, request = calling()
    who = request.execution_id, request.tool
    assert ledger(story, request) == "REQUESTED"
    story.given(ToolExecutionStarted(*who, 1))
    assert ledger(story, request) == "RUNNING"
    story.given(ToolExecutionRetryScheduled(*who, 1, "busy", story.now + timedelta(seconds=1)))
    assert ledger(story, request) == "REQUESTED"
    story.given(ToolExecutionStarted(*who, 2), ToolExecutionCompleted(*who, {"ref": 1}, 2, "again"))
    assert ledger(story, request) == "SUCCEEDED"


@pytest.mark.parametrize("status", [ExecutionStatus.FAILED, ExecutionStatus.UNKNOWN])
def test_a_call_that_ends_without_an_answer(status: ExecutionStatus) -> None:
    story, request = calling()
    story.given(ToolExecutionFailed(request.execution_id, request.tool, status, "x", 1, "again"))
    assert ledger(story, request) == status


def test_a_call_that_is_called_off_before_an_attempt_is_cancelled_and_one_under_way_goes_on() -> None:
    story, request = calling()
    off = ToolExecutionCalledOff(request.execution_id, request.tool, "stopped")
    story.given(off)
    assert ledger(story, request) == "CANCELLED"
    story, request = calling()
    under_way = ToolExecutionCalledOff(request.execution_id, request.tool, "stopped", under_way=True)
    story.given(ToolExecutionStarted(request.execution_id, request.tool, 1), under_way)
    assert ledger(story, request) == "RUNNING"


def test_an_answer_that_could_not_be_used_is_kept() -> None:
    failed = ToolExecutionFailed(UUID(int=1), "t", "UNKNOWN", "not JSON", 1, None, 200, "text/html", "<html>")
    assert (failed.status_code, failed.media_type, failed.beginning) == (200, "text/html", "<html>")
