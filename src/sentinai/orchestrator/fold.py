"""How do events become state? `apply` is the single reducer; everything that shows state was folded here."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import msgspec

from sentinai.events import closing, control, intake, playbook, policy, sla, tool, triage
from sentinai.events.envelope import Event
from sentinai.models.approval import Approval
from sentinai.models.exception_record import CLOSED, ExceptionState, Sla, Status
from sentinai.models.playbook import PlaybookRun, RunStatus, StepState, StepStatus


def fold(events: Iterable[Event]) -> ExceptionState:
    """The state after all events of one exception's stream; the first names tenant and id."""
    iterator = iter(events)
    first = next(iterator)
    assert first.correlation_id is not None
    state = blank(first.tenant_id, first.correlation_id)
    apply(state, first)
    for event in iterator:
        apply(state, event)
    return state


def blank(tenant_id: str, exception_id: UUID) -> ExceptionState:
    """The state before the first event."""
    return ExceptionState(tenant_id=tenant_id, exception_id=exception_id)


def apply(state: ExceptionState, event: Event) -> None:
    """Fold one event into the state; sequence gaps are a broken invariant."""
    assert event.sequence == state.sequence + 1, (event.stream, event.sequence, state.sequence)
    reducer = _REDUCERS.get(event.type)
    if reducer is not None:
        reducer(state, event.body, event)
    if state.sequence and event.actor.startswith("user:"):
        state.human_touched = True
    state.sequence = event.sequence
    state.hash = event.hash
    state.updated_at = event.occurred_at


def _ingested(state: ExceptionState, body: intake.ExceptionIngested, event: Event) -> None:
    state.source_system = body.source_system
    state.raw_payload = body.payload
    state.external_id = body.external_id
    state.declared_type = body.exception_type
    state.declared_domain = body.domain
    state.occurred_at = body.occurred_at or event.occurred_at
    state.received_at = state.last_seen_at = event.occurred_at


def _split_off(state: ExceptionState, body: intake.ExceptionSplitOff, event: Event) -> None:
    state.source_system = body.source_system
    state.raw_payload = body.payload
    state.external_id = body.external_id
    state.declared_type = body.exception_type
    state.split_from = body.split_from
    state.occurred_at = state.received_at = state.last_seen_at = event.occurred_at


def _normalized(state: ExceptionState, body: intake.ExceptionNormalized, event: Event) -> None:
    state.domain = body.domain
    state.source = body.source
    state.normalized_context = body.normalized_context
    state.dedup_key = body.dedup_key
    state.title = body.title
    state.config_hash = event.config_hash
    if body.item is not msgspec.UNSET:
        state.raw_payload = body.item
    if body.occurred_at:
        state.occurred_at = body.occurred_at


def _recurred(state: ExceptionState, body: intake.ExceptionRecurred, event: Event) -> None:
    state.occurrences = body.occurrences
    state.last_seen_at = event.occurred_at


def _merged(state: ExceptionState, body: intake.ExceptionMerged, _event: Event) -> None:
    state.status = Status.MERGED
    state.merged_into = body.merged_into
    state.reason = f"repeats {body.merged_into}"


def _triaged(state: ExceptionState, body: triage.TriageCompleted, event: Event) -> None:
    state.exception_type = body.exception_type
    state.severity = body.severity
    state.confidence = body.confidence
    state.priority_score = body.priority_score
    state.title = body.title or state.title
    state.tags = body.tags
    state.queue = body.queue or state.queue
    state.config_hash = event.config_hash
    state.triaged_at = state.triaged_at or event.occurred_at
    if body.resolve_by and (state.sla is None or state.sla.resolve_by != body.resolve_by):
        state.sla = Sla(body.resolve_by, body.warn_at, body.resolve_by)


def _evaluated(state: ExceptionState, body: policy.PolicyEvaluated, event: Event) -> None:
    state.policy_outcome = body.outcome
    state.policy_tags = body.policy_tags
    state.config_hash = event.config_hash


def _matched(state: ExceptionState, body: policy.PlaybookMatched, _event: Event) -> None:
    done: list[StepState] = []
    if state.run and (state.run.playbook, state.run.version) == (body.playbook, body.version):
        done = [s for s in state.run.steps if s.status is StepStatus.COMPLETED]
    state.run = PlaybookRun(body.playbook, body.version, steps=done)


def _approval_requested(state: ExceptionState, body: policy.ApprovalRequested, event: Event) -> None:
    state.approval = Approval(body.approval_id, body.reason, event.actor, body.step, body.expires_at, body.on_expiry)
    state.status = Status.AWAITING_APPROVAL
    state.reason = body.reason


def _approval_granted(state: ExceptionState, body: policy.ApprovalGranted, _event: Event) -> None:
    state.approval = None
    state.status = Status.IN_PROGRESS
    state.reason = None
    if body.step is None and state.run:
        state.run.approved = True


def _approval_withdrawn(state: ExceptionState, _body: Any, _event: Event) -> None:
    state.approval = None


def _approval_ended(state: ExceptionState, _body: Any, _event: Event) -> None:
    state.approval = None
    state.status = Status.IN_PROGRESS


def _run_started(state: ExceptionState, _body: playbook.PlaybookStarted, event: Event) -> None:
    assert state.run is not None
    state.run.status = RunStatus.RUNNING
    state.run.started_at = event.occurred_at
    state.status = Status.IN_PROGRESS
    state.reason = None


def _step_of(state: ExceptionState, name: str, order: int) -> StepState:
    assert state.run is not None
    step = state.run.step(name)
    if step is None:
        step = StepState(name, order)
        state.run.steps.append(step)
    return step


def _step_started(state: ExceptionState, body: playbook.PlaybookStepStarted, event: Event) -> None:
    step = _step_of(state, body.step, body.order)
    step.status = StepStatus.RUNNING
    step.started_at = event.occurred_at


def _step_completed(state: ExceptionState, body: playbook.PlaybookStepCompleted, event: Event) -> None:
    step = _step_of(state, body.step, body.order)
    step.status = StepStatus.COMPLETED
    step.output = body.output
    step.ended_at = event.occurred_at


def _step_skipped(state: ExceptionState, body: playbook.PlaybookStepSkipped, event: Event) -> None:
    step = _step_of(state, body.step, body.order)
    step.status = StepStatus.SKIPPED
    step.detail = body.reason
    step.ended_at = event.occurred_at


def _step_failed(state: ExceptionState, body: playbook.PlaybookStepFailed, event: Event) -> None:
    step = _step_of(state, body.step, body.order)
    step.status = StepStatus.FAILED
    step.detail = body.error
    step.ended_at = event.occurred_at


def _run_ended(status: RunStatus) -> Callable[[ExceptionState, Any, Event], None]:
    def end(state: ExceptionState, _body: Any, event: Event) -> None:
        assert state.run is not None
        state.run.status = status
        state.run.ended_at = event.occurred_at

    return end


def _owner_assigned(state: ExceptionState, body: playbook.OwnerAssigned, _event: Event) -> None:
    state.owner = body.owner


def _status_changed(state: ExceptionState, body: playbook.StatusChanged, _event: Event) -> None:
    state.status = Status(body.status)
    state.reason = body.reason


def _tool_requested(state: ExceptionState, body: tool.ToolExecutionRequested, _event: Event) -> None:
    step = state.run.step(body.step) if body.step is not None and state.run is not None else None
    if step is not None:
        step.execution_id = body.execution_id


def _resolved(state: ExceptionState, body: closing.ExceptionResolved, event: Event) -> None:
    state.status = Status.RESOLVED
    state.reason = body.reason
    state.resolved_at = event.occurred_at
    if state.sla:
        state.sla.warn_at = state.sla.expires_at = None


def _escalated(state: ExceptionState, body: closing.ExceptionEscalated, _event: Event) -> None:
    state.status = Status.ESCALATED
    state.reason = "; ".join(body.reasons)
    state.queue = body.queue or state.queue


def _recalculation_requested(state: ExceptionState, _body: Any, event: Event) -> None:
    state.asked_by = event.actor


def _reopened(state: ExceptionState, body: closing.ExceptionReopened, event: Event) -> None:
    state.asked_by = event.actor
    state.status = Status.OPEN
    state.reason = body.reason
    state.resolved_at = None
    state.run = None


def _sla_imminent(state: ExceptionState, _body: sla.SLAImminent, _event: Event) -> None:
    assert state.sla is not None
    state.sla.warn_at = None


def _sla_expired(state: ExceptionState, _body: sla.SLAExpired, _event: Event) -> None:
    assert state.sla is not None
    state.sla.warn_at = state.sla.expires_at = None


def _dead_lettered(state: ExceptionState, _body: control.DeadLettered, _event: Event) -> None:
    state.blocked += 1


def _unblocked(state: ExceptionState, _body: Any, _event: Event) -> None:
    state.blocked -= 1


def is_closed(state: ExceptionState) -> bool:
    return state.status in CLOSED


_REDUCERS: dict[str, Callable[[ExceptionState, Any, Event], None]] = {
    "ExceptionIngested": _ingested,
    "ExceptionSplitOff": _split_off,
    "ExceptionNormalized": _normalized,
    "ExceptionRecurred": _recurred,
    "ExceptionMerged": _merged,
    "TriageCompleted": _triaged,
    "PolicyEvaluated": _evaluated,
    "PlaybookMatched": _matched,
    "ApprovalRequested": _approval_requested,
    "ApprovalGranted": _approval_granted,
    "ApprovalRejected": _approval_ended,
    "ApprovalExpired": _approval_ended,
    "ApprovalWithdrawn": _approval_withdrawn,
    "PlaybookStarted": _run_started,
    "PlaybookStepStarted": _step_started,
    "PlaybookStepCompleted": _step_completed,
    "PlaybookStepSkipped": _step_skipped,
    "PlaybookStepFailed": _step_failed,
    "PlaybookCompleted": _run_ended(RunStatus.COMPLETED),
    "PlaybookFailed": _run_ended(RunStatus.FAILED),
    "OwnerAssigned": _owner_assigned,
    "StatusChanged": _status_changed,
    "ToolExecutionRequested": _tool_requested,
    "ExceptionResolved": _resolved,
    "ExceptionEscalated": _escalated,
    "ExceptionReopened": _reopened,
    "PlaybookRecalculationRequested": _recalculation_requested,
    "SLAImminent": _sla_imminent,
    "SLAExpired": _sla_expired,
    "DeadLettered": _dead_lettered,
    "DeadLetterRetried": _unblocked,
    "DeadLetterDiscarded": _unblocked,
}
