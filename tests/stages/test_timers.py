"""What has come to be true by now?"""

from datetime import timedelta

import pytest
from story import Story, given, ingested, names, normalized, payment, triaged

from sentinai.events.closing import ExceptionEscalated, ExceptionResolved
from sentinai.orchestrator.stages.timers import due

CONTEXT = {"paymentId": "p1", "amountMinor": 500, "tier": "standard"}


def waiting(code: str = "chargeback", kind: str = "CHARGEBACK", severity: str = "CRITICAL") -> Story:
    story = given(ingested(payment(code=code)), normalized(CONTEXT))
    state = story.now + timedelta(hours=4)
    return story.run(triaged(kind, severity, 1.0, resolve_by=state, warn_at=state - timedelta(minutes=30)))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (timedelta(hours=1), []),
        (timedelta(hours=3, minutes=30), ["SLAImminent"]),
        (
            timedelta(hours=4),
            ["SLAImminent", "SLAExpired", "ApprovalWithdrawn", "PlaybookCancelled", "ExceptionEscalated"],
        ),
    ],
)
def test_warning_and_deadline(after: timedelta, said: list[str]) -> None:
    story = waiting()
    assert names(due(story.state, story.now + after)) == said


def test_what_was_said_once_is_not_said_again() -> None:
    story = waiting()
    late = story.now + timedelta(hours=4)
    story.given(*due(story.state, late))
    assert due(story.state, late + timedelta(days=1)) == []


def test_a_closed_exception_has_no_deadline() -> None:
    story = waiting().given(ExceptionResolved("done"))
    assert due(story.state, story.now + timedelta(days=1)) == []


def test_a_deadline_of_what_people_have_already_ends_the_run_and_escalates_nobody_anew() -> None:
    story = waiting().given(ExceptionEscalated(["system"]))
    assert names(due(story.state, story.now + timedelta(hours=4)))[-1] == "PlaybookCancelled"


def test_the_row_knows_the_earliest_time() -> None:
    story = waiting()
    assert story.state.due_at == story.now + timedelta(hours=3, minutes=30)


def test_an_expired_question_is_closed_by_the_event_alone() -> None:
    story = given(ingested(payment(code="chargeback")), normalized(CONTEXT | {"amountMinor": 9_000_000}))
    story.run(triaged("CHARGEBACK", "CRITICAL", 1.0))
    said = due(story.state, story.now + timedelta(hours=8))
    assert names(said) == ["ApprovalExpired"]
    story.given(*said)
    assert story.state.approvals == []
