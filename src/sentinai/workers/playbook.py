"""Playbook: run an approved playbook step by step, and take in what tools and people answer."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar
from uuid import UUID, uuid5

import msgspec

from sentinai.agents import resolution as agent
from sentinai.agents.facts import decision_values
from sentinai.errors import Conflict, Denied, Rejected
from sentinai.events.closing import ExceptionEscalated, ExceptionResolved
from sentinai.events.playbook import (
    PlaybookCompleted,
    PlaybookFailed,
    PlaybookStarted,
    PlaybookStepCompleted,
    PlaybookStepFailed,
    PlaybookStepSkipped,
    PlaybookStepStarted,
)
from sentinai.events.policy import ApprovalRequested, ApprovalWithdrawn
from sentinai.models.decision import Decision, Evidence, tried
from sentinai.models.exception_record import Status
from sentinai.models.playbook import StepState
from sentinai.orchestrator.lifecycle import may_become
from sentinai.packs.effective import Playbook, Step
from sentinai.packs.expressions import Activation
from sentinai.playbooks.action import ActionContext, Plan
from sentinai.playbooks.actions.catalog import BY_NAME
from sentinai.playbooks.matching import find_playbook
from sentinai.playbooks.stepping import next_step, playbook_activation, running_step
from sentinai.workers.base import BaseWorker
from sentinai.workers.work import Answer, Work

BECOMES: Mapping[type[msgspec.Struct], Status] = {
    ExceptionResolved: Status.RESOLVED,
    ExceptionEscalated: Status.ESCALATED,
    ApprovalRequested: Status.AWAITING_APPROVAL,
}
"""Planned events that change the status: the lifecycle table has to allow it."""


class PlaybookWorker(BaseWorker):
    name: ClassVar[str] = "playbook"

    def handle(self, work: Work) -> Answer:
        if work.event.type == "SLAExpired":
            yield from _overdue(work)
            return
        run = work.state.run
        if run is None or not run.active:
            return
        assert work.config is not None
        playbook = find_playbook(work.config, run.playbook, run.version)
        if playbook is None:
            raise Rejected(f"the configuration has no playbook {run.playbook!r} version {run.version}")
        failure = yield from _take_in(work, playbook)
        yield from _advance(work, playbook, failure)


def _overdue(work: Work) -> Answer:
    if may_become(work.state.status, Status.ESCALATED):
        if work.state.approval is not None:
            yield ApprovalWithdrawn(work.state.approval.approval_id, "the deadline has passed")
        yield ExceptionEscalated([f"not resolved by {work.body.resolve_by.isoformat()}"])


def _take_in(work: Work, playbook: Playbook) -> Any:  # noqa: PLR0911 - one way out for each kind of answer
    """Apply the event to the step that waits for it; returns why the run has to end, or None."""
    body, kind = work.body, work.event.type
    match kind:
        case "ToolExecutionCompleted" | "ToolExecutionFailed":
            step = _waiting_for(work, body.execution_id)
            if step is None:
                return None
            if kind == "ToolExecutionCompleted":
                yield from _complete(playbook, step, body.output)
                return None
            failure = yield from _fail(playbook, step, f"{body.status}: {body.error}", [])
            return failure or (body.error if body.status == "UNKNOWN" else None)
        case "PlaybookStepCompletionRequested" | "PlaybookStepSkipRequested":
            step = _ordered(work, body.order)
            if kind == "PlaybookStepSkipRequested":
                yield PlaybookStepSkipped(step.name, body.order, f"skipped by a person: {body.reason}")
            else:
                yield from _complete(playbook, step, body.output)
            return None
        case "ApprovalGranted" if body.step is not None:
            yield from _complete(playbook, _named(work, body.step), {"approved": True, "comment": body.comment})
            return None
        case "ApprovalRejected" | "ApprovalExpired":
            return (yield from _not_approved(work, playbook))
    return None


def _not_approved(work: Work, playbook: Playbook) -> Any:
    body = work.body
    expired = work.event.type == "ApprovalExpired"
    reason = "the approval expired" if expired else f"rejected by {work.event.actor}"
    if getattr(body, "comment", None):
        reason += f": {body.comment}"
    if body.step is None or (expired and body.on_expiry == "ESCALATE"):
        return reason
    return (yield from _fail(playbook, _named(work, body.step), reason, []))


def _advance(work: Work, playbook: Playbook, failure: str | None) -> Answer:
    """Run steps until one waits, the run ends, or nothing is left; between instant steps there is nothing to decide."""
    run = work.state.run
    assert run is not None
    begun = False
    while True:
        upcoming, waiting = next_step(playbook, run), running_step(run)
        if not (begun and upcoming and not waiting and not failure and work.state.approval is None):
            facts = agent.ResolutionFacts(
                work.state, upcoming[1].name if upcoming else None, waiting.name if waiting else None, failure
            )
            if not (yield from _decided(work, playbook, agent.decide(facts), failure)):
                return
        begun = True
        assert upcoming is not None
        failure = yield from _step(work, playbook, *upcoming)


def _decided(work: Work, playbook: Playbook, decision: Decision, failure: str | None) -> Any:
    """Record what the agent decided about the run; returns whether its next step begins."""
    match decision.decision:
        case agent.COMPLETE:
            yield PlaybookCompleted(playbook.name, decision)
        case agent.ESCALATE:
            yield from _end(work, playbook, failure, decision)
        case agent.START:
            yield PlaybookStarted(playbook.name, playbook.version, [s.name for s in playbook.steps], decision)
    return decision.decision in (agent.START, agent.CONTINUE)


def _end(work: Work, playbook: Playbook, failure: str | None, decision: Any) -> Answer:
    reason = failure or f"playbook {playbook.name} ended without resolving"
    if work.state.approval is not None:
        yield ApprovalWithdrawn(work.state.approval.approval_id, reason)
    yield PlaybookFailed(playbook.name, reason, decision) if failure else PlaybookCompleted(playbook.name, decision)
    if may_become(work.state.status, Status.ESCALATED):
        yield ExceptionEscalated([reason])


def _step(work: Work, playbook: Playbook, order: int, step: Step) -> Any:
    """Begin one step; returns why the run has to end, or None."""
    evidence: list[Evidence] = []
    facts = _Facts(work)
    if step.when is not None:
        verdict = step.when.test(facts.activation)
        evidence.append(tried(f"step {step.name} when", verdict.matched, verdict.reason))
        if not verdict.matched:
            yield PlaybookStepSkipped(step.name, order, verdict.reason or "its condition does not hold", evidence)
            return None
    if step.mode == "human":
        yield PlaybookStepStarted(step.name, order, step.action, "human", evidence)
        return None
    try:
        plan = _plan(work, step, facts)
    except (Rejected, Denied, Conflict) as error:
        return (yield from _fail(playbook, step, error.message, evidence))
    if not plan.instant:
        yield PlaybookStepStarted(step.name, order, step.action, "auto", evidence)
    yield from plan.events
    if plan.instant:
        yield PlaybookStepCompleted(step.name, order, step.action, plan.output, evidence)
    return None


class _Facts:
    """The expressions' variables, built only if a step has an expression at all."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._built: Activation | None = None

    @property
    def activation(self) -> Activation:
        if self._built is None:
            work = self._work
            assert work.config is not None
            assert work.state.run is not None
            self._built = playbook_activation(decision_values(work.state, work.config, work.now), work.state.run)
        return self._built


def _plan(work: Work, step: Step, facts: _Facts) -> Plan:
    params = step.literal_params if step.params.constant else step.params.render(facts.activation)
    assert work.config is not None
    place = f"{work.state.sequence}:{step.name}"
    new_id = partial(uuid5, work.state.exception_id, place)
    plan = BY_NAME[step.action].run(ActionContext(step, work.state, work.config, new_id, work.now), params)
    for event in plan.events:
        wanted = BECOMES.get(type(event))
        if wanted is not None and not may_become(work.state.status, wanted):
            raise Conflict(f"the exception is {work.state.status}; it cannot become {wanted}")
    return plan


def _complete(playbook: Playbook, step: Step | StepState, output: Any) -> Answer:
    order, declared = _declared(playbook, step.name)
    yield PlaybookStepCompleted(step.name, order, declared.action, output)


def _fail(playbook: Playbook, step: Step | StepState, error: str, evidence: list[Evidence]) -> Any:
    """Record the failure; its `onFailure` says whether the run ends with it."""
    order, declared = _declared(playbook, step.name)
    yield PlaybookStepFailed(step.name, order, error, declared.on_failure, evidence)
    return f"step {step.name} failed: {error}" if declared.on_failure == "ESCALATE" else None


def _declared(playbook: Playbook, name: str) -> tuple[int, Step]:
    return next((n, s) for n, s in enumerate(playbook.steps, 1) if s.name == name)


def _waiting_for(work: Work, execution_id: UUID) -> StepState | None:
    """The step that waits for this execution; None for a notification, or when a person settled the step meanwhile."""
    run = work.state.run
    step = running_step(run) if run else None
    return step if step and step.execution_id == execution_id else None


def _named(work: Work, name: str) -> StepState:
    step = work.state.run.step(name) if work.state.run else None
    if step is None:
        raise Rejected(f"step {name!r} was never started")
    return step


def _ordered(work: Work, order: int) -> StepState:
    assert work.state.run is not None
    waiting = running_step(work.state.run)
    if waiting is None or waiting.order != order:
        raise Conflict(f"step {order} does not wait for anybody", waiting=waiting.name if waiting else None)
    return waiting
