"""What happens next in a playbook run, event by event?"""

from datetime import timedelta
from typing import Any

import pytest
from sample_packs import DOMAIN
from story import By, Story, compiled, given, ingested, names, normalized, only, payment, triaged

from sentinai.events.playbook import (
    PlaybookCompleted,
    PlaybookFailed,
    PlaybookStepCompleted,
    PlaybookStepCompletionRequested,
    PlaybookStepFailed,
    PlaybookStepSkipped,
    PlaybookStepSkipRequested,
)
from sentinai.events.policy import ApprovalExpired, ApprovalGranted, ApprovalRejected, ApprovalRequested
from sentinai.events.tool import (
    ToolExecutionCompleted,
    ToolExecutionFailed,
    ToolExecutionRequested,
    ToolExecutionStarted,
)

CONTEXT = {"paymentId": "p1", "amountMinor": 500, "tier": "standard"}


def at(kind: str, severity: str = "LOW", confidence: float = 1.0, **payload: Any) -> Story:
    """Triaged; policy has spoken and the playbook has gone as far as it can."""
    story = given(ingested(payment(**payload)), normalized(CONTEXT))
    return story.run(triaged(kind, severity, confidence))


def calling(kind: str = "CARD_DECLINED") -> tuple[Story, ToolExecutionRequested]:
    """A run whose step waits for a tool; the call was begun."""
    story = at("CARD_DECLINED", retry=True) if kind == "CARD_DECLINED" else at(kind, "HIGH")
    asked: ToolExecutionRequested = only([e.body for e in story.events], ToolExecutionRequested)
    story.given(ToolExecutionStarted(asked.execution_id, asked.tool, 1))
    return story, asked


def answered(asked: ToolExecutionRequested, output: Any) -> By:
    return By(f"tool:{asked.tool}", ToolExecutionCompleted(asked.execution_id, asked.tool, output, 1, asked.step))


def failed(asked: ToolExecutionRequested, status: str = "FAILED", error: str = "no") -> By:
    return By(f"tool:{asked.tool}", ToolExecutionFailed(asked.execution_id, asked.tool, status, error, 1, asked.step))


def approval_of(story: Story) -> ApprovalRequested:
    asked: ApprovalRequested = [e.body for e in story.events if e.type == "ApprovalRequested"][-1]
    return asked


def test_instant_steps_run_to_the_end_at_once() -> None:
    story = at("CARD_DECLINED")
    types = [e.type for e in story.events]
    assert types[types.index("PlaybookMatched") :] == [
        "PlaybookMatched",
        "PlaybookStarted",
        "CommentAdded",
        "PlaybookStepCompleted",
        "OwnerAssigned",
        "PlaybookStepCompleted",
        "ExceptionResolved",
        "PlaybookStepCompleted",
        "PlaybookCompleted",
        "FeedbackCaptured",
    ]
    assert (story.state.status, story.state.owner) == ("RESOLVED", "payments-desk")
    assert story.state.run is not None
    assert story.state.run.status == "COMPLETED"


def test_a_comment_is_rendered_from_the_exception() -> None:
    (comment,) = [e.body.text for e in at("CARD_DECLINED").events if e.type == "CommentAdded"]
    assert comment == "Declined: p1"


def test_a_tool_is_asked_for_and_waited_for() -> None:
    story, asked = calling()
    assert (asked.tool, asked.input, asked.step) == ("retryCharge", {"paymentId": "p1"}, "retry")
    assert story.state.status == "IN_PROGRESS"


def test_its_answer_ends_the_step_and_decides_what_comes_next() -> None:
    story, asked = calling()
    story.run(answered(asked, {"status": "ok"}))
    assert story.state.status == "RESOLVED"
    assert [e.body.step for e in story.events if e.type == "PlaybookStepSkipped"] == ["tell"]


def test_a_playbook_that_does_not_resolve_escalates() -> None:
    story, asked = calling()
    story.run(answered(asked, {"status": "declined"}))
    assert story.state.status == "ESCALATED"
    assert "ended without resolving" in (story.state.reason or "")


def test_a_failed_call_ends_the_run_and_escalates() -> None:
    story, asked = calling()
    found = story.when(failed(asked, error="card stolen"))
    assert names(found) == ["PlaybookStepFailed", "PlaybookFailed", "ExceptionEscalated"]
    assert "card stolen" in story.state.reason  # type: ignore[operator]


def test_a_failed_step_that_says_continue_is_passed() -> None:
    story = given(
        ingested(payment(code="refund_stuck")),
        normalized(CONTEXT),
        config=compiled(
            DOMAIN.replace("{name: again, action: call_tool,", "{name: again, action: call_tool, onFailure: CONTINUE,")
        ),
    ).run(triaged("REFUND_STUCK", "HIGH", 1.0))
    asked = only([e.body for e in story.events], ToolExecutionRequested)
    story.run(failed(asked))
    assert story.state.status == "RESOLVED"


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    story, asked = calling()
    story.run(answered(asked, {"status": "ok"}))
    assert story.when(answered(asked, {"status": "ok"})) == []


def test_a_human_step_waits_for_a_person() -> None:
    story = at("MANUAL_REVIEW", "MEDIUM")
    assert [e.type for e in story.events][-1] == "PlaybookStepStarted"
    found = story.when(By("user:jo", PlaybookStepCompletionRequested(1, {"seen": True})))
    assert names(found)[:2] == ["PlaybookStepCompleted", "PlaybookStepStarted"]
    assert only(found, PlaybookStepCompleted).output == {"seen": True}
    assert story.state.status == "AWAITING_APPROVAL"


def test_a_person_skips_a_step() -> None:
    found = at("MANUAL_REVIEW", "MEDIUM").when(By("user:jo", PlaybookStepSkipRequested(1, "seen")))
    assert "skipped by a person: seen" in only(found, PlaybookStepSkipped).reason


def asked_for_approval() -> Story:
    story = at("MANUAL_REVIEW", "MEDIUM")
    return story.run(By("user:jo", PlaybookStepCompletionRequested(1)))


def test_a_yes_ends_the_step_that_asked() -> None:
    story = asked_for_approval()
    asked = approval_of(story)
    story.run(By("user:ann", ApprovalGranted(asked.approval_id, asked.step, "fine")))
    assert story.state.status == "RESOLVED"


def test_a_no_fails_the_step_and_ends_the_run() -> None:
    story = asked_for_approval()
    asked = approval_of(story)
    found = story.when(By("user:ann", ApprovalRejected(asked.approval_id, asked.step, "never")))
    assert names(found)[0] == "PlaybookStepFailed"
    assert names(found)[-1] == "ExceptionEscalated"
    assert "never" in str(story.state.reason)


def test_the_question_of_a_step_expires() -> None:
    story = asked_for_approval()
    asked = approval_of(story)
    found = story.given(timedelta(hours=8)).when(ApprovalExpired(asked.approval_id, "ESCALATE", asked.step))
    assert "ExceptionEscalated" in names(found)
    assert "expired" in str(story.state.reason)


def test_nothing_begins_before_the_playbook_is_approved() -> None:
    story = at("CHARGEBACK", "CRITICAL")
    assert story.state.status == "AWAITING_APPROVAL"
    assert not [e for e in story.events if e.type in ("PlaybookStarted", "OwnerAssigned")]


def test_after_the_yes_it_runs() -> None:
    story = at("CHARGEBACK", "CRITICAL")
    story.run(By("user:ann", ApprovalGranted(approval_of(story).approval_id)))
    assert story.state.status == "RESOLVED"


@pytest.mark.parametrize("how", ["no", "expired"])
def test_without_a_yes_it_ends_and_escalates(how: str) -> None:
    story = at("CHARGEBACK", "CRITICAL")
    asked = approval_of(story).approval_id
    body: Any = ApprovalRejected(asked, None, "no") if how == "no" else ApprovalExpired(asked, "ESCALATE")
    found = story.when(By("user:ann", body))
    assert PlaybookFailed in map(type, found)
    assert story.state.status == "ESCALATED"
    assert not [e for e in story.events if e.type == "OwnerAssigned"]


def test_a_run_whose_exception_is_resolved_by_the_last_step_is_complete() -> None:
    assert only([e.body for e in at("CARD_DECLINED").events], PlaybookCompleted).playbook == "note-and-close"


def test_a_step_whose_parameters_cannot_be_rendered_fails() -> None:
    story = given(ingested(), normalized({"amountMinor": 1})).run(triaged())
    assert only([e.body for e in story.events], PlaybookStepFailed).step == "note"
    assert story.state.status == "ESCALATED"


def test_a_notification_is_not_waited_for() -> None:
    story, asked = calling()
    story.run(answered(asked, {"status": "declined"}))
    note = [e.body for e in story.events if e.type == "ToolExecutionRequested"][-1]
    assert (note.tool, note.channel, note.step) == ("ops", True, None)


def test_what_comes_after_the_end_is_ignored() -> None:
    story = at("CARD_DECLINED")
    assert story.when(By("user:jo", PlaybookStepCompletionRequested(1))) == []
