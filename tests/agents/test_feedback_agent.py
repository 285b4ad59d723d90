"""How did it go, and how long did it take?"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from sentinai.agents.feedback import FeedbackFacts, decide, elapsed_ms, step_durations_ms
from sentinai.models.decision import Evidence
from sentinai.models.exception_record import FOLD, ExceptionState, Status
from sentinai.models.run import PlaybookRun, StepRun, StepStatus

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def exception(status: str = "RESOLVED", touched: bool = False, run: PlaybookRun | None = None) -> ExceptionState:
    return ExceptionState(
        fold=FOLD, tenant_id="acme", exception_id=UUID(int=7), status=Status(status), human_touched=touched, run=run
    )


def step(begun: float | None, ended: float | None) -> StepRun:
    times = [None if s is None else NOW + timedelta(seconds=s) for s in (begun, ended)]
    return StepRun(1, "call_tool", StepStatus.COMPLETED, started_at=times[0], ended_at=times[1])


@pytest.mark.parametrize("touched", [True, False])
@pytest.mark.parametrize("status", Status)
def test_only_what_was_resolved_was_not_handed_over(status: Status, touched: bool) -> None:
    found = decide(FeedbackFacts(exception(status, touched), NOW))
    resolved = "ASSISTED" if touched else "AUTOMATED"
    assert found.decision == (resolved if status == "RESOLVED" else "HANDED_OVER")
    assert (found.stage, found.confidence, found.next_step) == ("feedback", 1.0, "none")
    assert found.evidence == [
        Evidence("a person decided or acted", "matched" if touched else "not_matched"),
        Evidence("ended as", "applied", status),
    ]


@pytest.mark.parametrize(
    ("start", "end", "ms"),
    [
        (NOW, NOW + timedelta(seconds=2), 2000.0),
        (NOW, NOW + timedelta(microseconds=1), 0.001),
        (NOW, NOW, 0.0),
        (NOW, NOW - timedelta(seconds=1), -1000.0),
        (NOW, NOW + timedelta(days=40), 40 * 86_400_000.0),
        (None, NOW, None),
        (NOW, None, None),
        (None, None, None),
    ],
)
def test_milliseconds_between_two_times_that_are_known(
    start: datetime | None, end: datetime | None, ms: float | None
) -> None:
    assert elapsed_ms(start, end) == ms


def test_only_steps_that_began_and_ended_took_time() -> None:
    steps = {
        "instant": step(None, 1),
        "waits": step(1, None),
        "never": step(None, None),
        "call": step(1, 3.5),
        "zero": step(2, 2),
    }
    assert step_durations_ms(exception(run=PlaybookRun("p", 1, steps=steps))) == {"call": 2500.0, "zero": 0.0}


@pytest.mark.parametrize("run", [None, PlaybookRun("p", 1)])
def test_without_steps_nothing_took_time(run: PlaybookRun | None) -> None:
    assert step_durations_ms(exception(run=run)) == {}
