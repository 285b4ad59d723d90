"""Calls: may this call of a tool be taken onto the work list, and may its next attempt begin now?

Every attempt passes `begin`: all of policy, as it is at that moment, and the run as it is at that moment.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from sentinai.agents import policy as agent
from sentinai.events.envelope import Body
from sentinai.events.tool import ToolExecutionFailed, ToolExecutionRequested, ToolExecutionStarted
from sentinai.models.exception_record import ExceptionState, Status
from sentinai.models.run import PlaybookRun, RunStatus, WaitsFor
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator.judgement import judge, tightened
from sentinai.orchestrator.stages.occasion import Decided, Occasion, Situation, Stage


@dataclass(slots=True, frozen=True)
class CallChecks:
    """What the tools' own gate says of the call: why it may not be made, or None."""

    refusal: str | None


def decide(occasion: Occasion, known: CallChecks) -> Decided:
    """Take it (nothing to say), or refuse it at once."""
    body: ToolExecutionRequested = occasion.event.body
    if known.refusal is None:
        return []
    return [ToolExecutionFailed(body.execution_id, body.tool, ExecutionStatus.FAILED, known.refusal, 0, body.step)]


class Attempt(NamedTuple):
    """An attempt that wants to begin."""

    execution_id: UUID
    tool: str
    number: int
    """From 1."""
    step: str | None
    channel: bool


class Gate(NamedTuple):
    """`go`: begin; `wait`: the run waits for an approval; `stop`: it is over, and nothing was sent for this attempt."""

    verdict: Literal["go", "wait", "stop"]
    said: list[Body]
    reason: str = ""
    actor: str = "agent:policy"
    """Who says it: policy, or the tool that begins."""


def begin(situation: Situation, attempt: Attempt) -> Gate:
    """Notifications belong to steps that are complete, and are delivered anyway."""
    begun = ToolExecutionStarted(attempt.execution_id, attempt.tool, attempt.number)
    started = Gate("go", [begun], actor=f"tool:{attempt.tool}")
    run = situation.state.run
    if attempt.channel or attempt.step is None:
        return started
    over = _over(situation, run, attempt)
    if over is not None:
        return Gate("stop", [], over)
    assert run is not None
    judgement = judge(situation, situation.config, run)
    if judgement.found.outcome == agent.BLOCKED:
        return Gate("stop", [], "policy: " + "; ".join(judgement.found.reasons))
    said = tightened(situation, judgement)
    if said or run.status is RunStatus.AWAITING_APPROVAL:
        return Gate("wait", said, "the playbook waits for an approval")
    return started


def _over(situation: Situation, run: PlaybookRun | None, attempt: Attempt) -> str | None:
    """Why nobody wants the call any more; None where the run's step waits for it."""
    waiting = run.waiting if run is not None and run.active else None
    if run is None or waiting is None or waiting[1].execution_id != attempt.execution_id:
        return "no step waits for it any more"
    if waiting[1].waits_for is not WaitsFor.TOOL or waiting[1].answer is not None:
        return "its step was settled by a person"
    return "the deadline has passed" if _overdue(situation.state, run, situation.now) else None


def _overdue(state: ExceptionState, run: PlaybookRun, now: datetime) -> bool:
    """The deadline passed while the run was going on, and nobody has said so yet: the clock, or the stage, is behind."""
    if state.sla is None or run.started_at is None or state.status is Status.ESCALATED:
        return False
    return run.started_at < state.sla.resolve_by <= now


STAGE = Stage("tool", decide, ("ToolExecutionRequested",))
