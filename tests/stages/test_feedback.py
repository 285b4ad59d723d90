"""What is learnt from the way an exception went?"""

from datetime import timedelta

import pytest
from story import By, Story, given, ingested, normalized, only, triaged

from sentinai.events.closing import ExceptionEscalated, ExceptionResolved
from sentinai.events.feedback import FeedbackCaptured


def learnt(story: Story, end: object) -> FeedbackCaptured:
    found: FeedbackCaptured = only(story.when(end), FeedbackCaptured)  # type: ignore[arg-type]
    return found


def exception() -> Story:
    return given(ingested(), normalized(), timedelta(seconds=2), triaged(), timedelta(seconds=3))


@pytest.mark.parametrize(
    ("end", "decision", "automated"),
    [
        (ExceptionResolved("done"), "AUTOMATED", True),
        (By("user:jo", ExceptionResolved("done")), "ASSISTED", False),
        (ExceptionEscalated(["no playbook"]), "HANDED_OVER", False),
        (By("user:jo", ExceptionEscalated(["mine"])), "HANDED_OVER", False),
    ],
)
def test_who_brought_it_to_its_end(end: object, decision: str, automated: bool) -> None:
    found = learnt(exception(), end)
    assert (found.decision.decision, found.automated) == (decision, automated)


def test_durations_count_from_reception() -> None:
    found = learnt(exception(), ExceptionResolved("done"))
    assert (found.to_triage_ms, found.to_close_ms) == (2000.0, 5000.0)


def test_without_a_run_there_is_no_playbook_to_learn_of() -> None:
    found = learnt(exception(), ExceptionEscalated(["none"]))
    assert (found.playbook, found.step_ms) == (None, {})
