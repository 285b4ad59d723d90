"""A run that begins on an escalated exception takes it out of people's hands: where it ends, or waits, they get it back."""

import pytest
from sample_packs import DOMAIN
from story import By, Story, compiled, given, ingested, normalized, only, payment, triaged

from sentinai.events.playbook import PlaybookCancelled, PlaybookRecalculationRequested
from sentinai.events.tool import ToolExecutionFailed, ToolExecutionRequested, ToolExecutionStarted
from sentinai.models.exception_record import Status

CONTEXT = {"paymentId": "p1", "amountMinor": 500, "tier": "standard"}
NOTE = "params: {text: 'Declined: ${normalizedContext.paymentId}'}"
CLOSE = "      - {name: close, action: set_status, params: {status: RESOLVED, reason: noted}}\n"
AGAIN = By("user:operator/key", PlaybookRecalculationRequested("look again"))


def escalated(kind: str, severity: str, domain: str = DOMAIN) -> Story:
    return given(ingested(payment()), normalized(CONTEXT), config=compiled(domain)).run(triaged(kind, severity))


@pytest.mark.parametrize(
    ("given_text", "other"),
    [(NOTE, "params: {text: '${rawPayload.nothing}'}"), (CLOSE, "")],
    ids=["its first step fails", "it ends without resolving"],
)
def test_a_run_that_ends_at_once_escalates_again(given_text: str, other: str) -> None:
    assert given_text in DOMAIN
    story = escalated("CARD_DECLINED", "LOW", DOMAIN.replace(given_text, other))
    assert story.state.status is Status.ESCALATED
    story.run(AGAIN)
    assert story.state.run is not None
    assert not story.state.run.active
    assert story.state.status is Status.ESCALATED, [e.type for e in story.events]


def test_a_step_that_waits_for_a_person_at_once_escalates_again() -> None:
    story = escalated("REFUND_STUCK", "HIGH")
    asked = only([e.body for e in story.events], ToolExecutionRequested)
    story.given(ToolExecutionStarted(asked.execution_id, asked.tool, 1))
    story.run(By("tool:x", ToolExecutionFailed(asked.execution_id, asked.tool, "UNKNOWN", "no answer", 1, asked.step)))
    assert story.state.status is Status.ESCALATED
    story.given(PlaybookCancelled("refund", "decided anew")).run(AGAIN)
    assert story.state.run is not None
    assert story.state.run.active
    assert story.state.status is Status.ESCALATED, [e.type for e in story.events]
