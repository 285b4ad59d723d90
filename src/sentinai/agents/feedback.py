"""How did it go, and how long did it take?"""

from dataclasses import dataclass
from datetime import datetime

from sentinai.models.decision import Decision, Evidence
from sentinai.models.exception_record import ExceptionState


@dataclass(frozen=True, slots=True)
class FeedbackFacts:
    state: ExceptionState
    now: datetime


def decide(facts: FeedbackFacts) -> Decision:
    """AUTOMATED when nobody touched it, ASSISTED when a person did, HANDED_OVER when it was escalated."""
    state = facts.state
    evidence = [
        Evidence("a person decided or acted", "matched" if state.human_touched else "not_matched"),
        Evidence("ended as", "applied", state.status),
    ]
    if state.status != "RESOLVED":
        return Decision("feedback", "HANDED_OVER", 1.0, evidence, "none")
    return Decision("feedback", "ASSISTED" if state.human_touched else "AUTOMATED", 1.0, evidence, "none")


def elapsed_ms(start: datetime | None, end: datetime | None) -> float | None:
    """Milliseconds between two times; None when either is unknown."""
    return (end - start).total_seconds() * 1000 if start and end else None


def step_durations_ms(state: ExceptionState) -> dict[str, float]:
    """Of the steps that took time, by name."""
    steps = state.run.steps if state.run else {}
    spans = {path: elapsed_ms(step.started_at, step.ended_at) for path, step in steps.items()}
    return {name: span for name, span in spans.items() if span is not None}
