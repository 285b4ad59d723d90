"""What does a run wait for, which questions are open, and when has somebody to look again?"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from sentinai.models.approval import Approval
from sentinai.models.exception_record import FOLD, ExceptionState, SlaTimes
from sentinai.models.run import ACTIVE, PlaybookRun, RunStatus, StepRun, StepStatus, WaitsFor

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def hours(number: int) -> datetime:
    return NOW + timedelta(hours=number)


def asked(number: int, step: str | None = None, expires: int | None = None) -> Approval:
    return Approval(UUID(int=number), "why", "agent:policy", step, hours(expires) if expires is not None else None)


def step(order: int, status: str = "COMPLETED", **more: Any) -> StepRun:
    return StepRun(order, "call_tool", StepStatus(status), **more)


def run(status: str = "RUNNING", approval: Approval | None = None, **steps: StepRun) -> PlaybookRun:
    return PlaybookRun("refund", 1, RunStatus(status), steps, approval)


def state(a_run: PlaybookRun | None = None, sla: SlaTimes | None = None) -> ExceptionState:
    return ExceptionState(fold=FOLD, tenant_id="acme", exception_id=UUID(int=7), run=a_run, sla=sla)


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ({}, None),
        ({"a": step(1)}, None),
        ({"a": step(1, "SKIPPED"), "b": step(2, "FAILED")}, None),
        ({"a": step(1, "RUNNING")}, "a"),
        ({"a": step(1), "b": step(2, "RUNNING")}, "b"),
        ({"b": step(2, "RUNNING"), "a": step(1)}, "b"),
    ],
)
def test_the_step_that_waits_is_the_one_that_runs(steps: dict[str, StepRun], path: str | None) -> None:
    waiting = run(**steps).waiting
    assert waiting == (None if path is None else (path, steps[path]))


def test_questions_of_the_run_come_before_those_of_its_steps() -> None:
    own, first, second = asked(1), asked(2, "a"), asked(3, "c")
    found = run("AWAITING_APPROVAL", own, a=step(1, approval=first), b=step(2), c=step(3, "RUNNING", approval=second))
    assert found.approvals == [own, first, second]


def test_a_run_without_questions_has_none() -> None:
    assert run(a=step(1, "RUNNING", waits_for=WaitsFor.TOOL)).approvals == []


@pytest.mark.parametrize("status", RunStatus)
def test_questions_are_open_only_while_the_run_is_active(status: RunStatus) -> None:
    found = state(run(status, asked(1, expires=1)))
    assert found.run is not None
    assert found.run.active == (status in ACTIVE)
    assert found.approvals == ([asked(1, expires=1)] if status in ("READY", "AWAITING_APPROVAL", "RUNNING") else [])
    assert found.due_at == (hours(1) if found.run.active else None)


@pytest.mark.parametrize(
    ("warn", "deadline", "own", "of_step", "due"),
    [
        (None, None, None, None, None),
        (1, 4, None, None, 1),
        (None, 4, None, None, 4),
        (None, 4, 2, None, 2),
        (3, 4, 2, 1, 1),
        (None, None, None, 9, 9),
        (None, None, 8, 9, 8),
        (1, 4, 5, 6, 1),
    ],
)
def test_it_is_due_when_the_first_of_its_times_comes(
    warn: int | None, deadline: int | None, own: int | None, of_step: int | None, due: int | None
) -> None:
    times = None
    if warn or deadline:
        times = SlaTimes(hours(4), hours(warn) if warn else None, hours(deadline) if deadline else None)
    a_run = run("AWAITING_APPROVAL", asked(1, expires=own), a=step(1, "RUNNING", approval=asked(2, "a", of_step)))
    assert state(a_run, times).due_at == (hours(due) if due else None)


def test_a_deadline_that_has_passed_is_not_due_again() -> None:
    assert state(sla=SlaTimes(hours(4))).due_at is None


def test_an_exception_without_a_run_has_no_questions() -> None:
    assert state().approvals == []


def test_a_stored_state_tells_the_version_of_its_fold_by_its_first_bytes() -> None:
    assert msgspec.json.encode(state()).startswith(b'{"fold":%d,' % FOLD)


def test_a_stored_run_is_read_as_it_was() -> None:
    first = asked(1, "a", 3)
    before = state(
        run(
            "AWAITING_APPROVAL", asked(2, expires=1), a=step(1, "RUNNING", approval=first, waits_for=WaitsFor.APPROVAL)
        ),
        SlaTimes(hours(4), hours(3), hours(4)),
    )
    assert msgspec.json.decode(msgspec.json.encode(before), type=ExceptionState) == before


def test_steps_keep_the_order_in_which_they_were_begun() -> None:
    steps = {name: step(9 - n) for n, name in enumerate("zebra")}
    again = msgspec.json.decode(msgspec.json.encode(run(**steps)), type=PlaybookRun)
    assert list(again.steps) == list("zebra")
