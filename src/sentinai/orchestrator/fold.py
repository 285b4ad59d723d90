"""How do events become state? `apply` is the single reducer; everything that shows state was folded here."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from sentinai.events import closing, control, intake, playbook, policy, sla, triage
from sentinai.events.envelope import Body, Event
from sentinai.models.actor import subject_of
from sentinai.models.exception_record import CLOSED, FOLD, ExceptionState, SlaTimes, Status
from sentinai.playbooks.evolve import REDUCERS as RUN_REDUCERS
from sentinai.playbooks.evolve import Origin, begin_run, evolve
from sentinai.playbooks.ledger import CALL_EVENTS, evolve_calls, keep_outputs, settled_by_hand

ExceptionReducer: TypeAlias = Callable[[ExceptionState, Any, Event], None]


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
    return ExceptionState(fold=FOLD, tenant_id=tenant_id, exception_id=exception_id)


def apply(state: ExceptionState, event: Event) -> None:
    """Fold one event into the state; sequence gaps are a broken invariant."""
    assert event.sequence == state.sequence + 1, (event.stream, event.sequence, state.sequence)
    kind = type(event.body)
    if kind in CALL_EVENTS:  # before the run: whether a step waits for an answer is said by the run as it was
        state.calls = dict(evolve_calls(state.calls, event.body, state.exception_id, state.run))
    if kind in RUN_REDUCERS and state.run is not None:
        state.run = evolve(state.run, event.body, Origin(event.actor, event.occurred_at))
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
    _involve(state, event)


def _involve(state: ExceptionState, event: Event, subject: str | None = None) -> None:
    who = subject or subject_of(event.actor)
    if who is not None and who not in state.involved:
        state.involved = [*state.involved, who]


def _split_off(state: ExceptionState, body: intake.ExceptionSplitOff, event: Event) -> None:
    state.source_system = body.source_system
    state.raw_payload = body.payload
    state.external_id = body.external_id
    state.declared_type = body.exception_type
    state.split_from = body.split_from
    state.occurred_at = state.received_at = state.last_seen_at = event.occurred_at
    _involve(state, event, body.reported_by)


def _normalized(state: ExceptionState, body: intake.ExceptionNormalized, event: Event) -> None:
    state.domain = body.domain
    state.source = body.source
    state.normalized_context = body.normalized_context
    state.dedup_key = body.dedup_key
    state.title = body.title
    state.config_hash = event.config_hash
    state.learnt_at = event.sequence
    if body.item is not msgspec.UNSET:
        state.raw_payload = body.item
    if body.occurred_at:
        state.occurred_at = body.occurred_at


def _recurred(state: ExceptionState, body: intake.ExceptionRecurred, event: Event) -> None:
    state.occurrences = body.occurrences
    state.last_seen_at = event.occurred_at
    state.learnt_at = event.sequence
    _involve(state, event, body.reported_by)


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
    state.learnt_at = event.sequence
    state.triaged_at = state.triaged_at or event.occurred_at
    if body.resolve_by and (state.sla is None or state.sla.resolve_by != body.resolve_by):
        state.sla = SlaTimes(body.resolve_by, body.warn_at, body.resolve_by)


def _evaluated(state: ExceptionState, body: policy.PolicyEvaluated, event: Event) -> None:
    state.policy_outcome = body.outcome
    state.policy_tags = body.policy_tags
    state.config_hash = event.config_hash
    state.judged_at = event.sequence


def _matched(state: ExceptionState, body: policy.PlaybookMatched, _event: Event) -> None:
    state.calls = dict(keep_outputs(state.calls, state.run))
    state.run = begin_run(body, state.policy_outcome, state.run)


def _approval_requested(state: ExceptionState, body: policy.ApprovalRequested, _event: Event) -> None:
    state.status = Status.AWAITING_APPROVAL
    state.reason = body.reason


def _voted(state: ExceptionState, _body: Body, event: Event) -> None:
    who = subject_of(event.actor)
    if who is not None and who not in state.voters:
        state.voters = [*state.voters, who]


def _approval_granted(state: ExceptionState, body: Body, event: Event) -> None:
    _voted(state, body, event)
    _approval_answered(state, body, event)


def _approval_answered(state: ExceptionState, _body: Body, _event: Event) -> None:
    """Unless another question is still open, or the exception was closed or escalated meanwhile."""
    if state.status is Status.AWAITING_APPROVAL and not state.approvals:
        state.status = Status.IN_PROGRESS
        state.reason = None


def _approval_rejected(state: ExceptionState, body: policy.ApprovalRejected, event: Event) -> None:
    _approval_answered(state, body, event)
    if body.step is None:
        state.taken_over = True


def _run_started(state: ExceptionState, _body: playbook.PlaybookStarted, _event: Event) -> None:
    state.status = Status.IN_PROGRESS
    state.reason = None


def _step_done_by_hand(state: ExceptionState, _body: Body, event: Event) -> None:
    _involve(state, event)
    waiting = state.run.waiting if state.run is not None and state.run.active else None
    step = waiting[1] if waiting is not None else None
    if step is not None and step.execution_id is not None and step.answer is not None and step.answer.kind == "done":
        state.calls = dict(settled_by_hand(state.calls, step.execution_id))


def _owner_assigned(state: ExceptionState, body: playbook.OwnerAssigned, event: Event) -> None:
    state.owner = body.owner
    state.owner_kept = subject_of(event.actor) is not None


def _status_changed(state: ExceptionState, body: playbook.StatusChanged, _event: Event) -> None:
    state.status = Status(body.status)
    state.reason = body.reason


def _resolved(state: ExceptionState, body: closing.ExceptionResolved, event: Event) -> None:
    state.status = Status.RESOLVED
    state.reason = body.reason
    state.resolved_at = event.occurred_at
    if state.sla:
        state.sla.warn_at = state.sla.expires_at = None


def _escalated(state: ExceptionState, body: closing.ExceptionEscalated, event: Event) -> None:
    state.status = Status.ESCALATED
    state.taken_over = state.taken_over or subject_of(event.actor) is not None
    state.reason = "; ".join(body.reasons)
    state.queue = body.queue or state.queue


def _recalculation_requested(state: ExceptionState, _body: Body, event: Event) -> None:
    _involve(state, event)
    state.taken_over = state.owner_kept = False


def _reopened(state: ExceptionState, body: closing.ExceptionReopened, event: Event) -> None:
    _involve(state, event)
    state.taken_over = state.owner_kept = False
    state.status = Status.OPEN
    state.reason = body.reason
    state.resolved_at = None
    state.calls = dict(keep_outputs(state.calls, state.run))
    state.run = None


def _sla_imminent(state: ExceptionState, _body: sla.SLAImminent, _event: Event) -> None:
    assert state.sla is not None
    state.sla.warn_at = None


def _sla_expired(state: ExceptionState, _body: sla.SLAExpired, _event: Event) -> None:
    assert state.sla is not None
    state.sla.warn_at = state.sla.expires_at = None


def _dead_lettered(state: ExceptionState, _body: control.DeadLettered, _event: Event) -> None:
    state.blocked += 1


def _unblocked(state: ExceptionState, _body: Body, _event: Event) -> None:
    state.blocked -= 1


def is_closed(state: ExceptionState) -> bool:
    return state.status in CLOSED


_REDUCERS: dict[str, ExceptionReducer] = {
    "ExceptionIngested": _ingested,
    "ExceptionSplitOff": _split_off,
    "ExceptionNormalized": _normalized,
    "ExceptionRecurred": _recurred,
    "ExceptionMerged": _merged,
    "TriageCompleted": _triaged,
    "PolicyEvaluated": _evaluated,
    "PlaybookMatched": _matched,
    "ApprovalRequested": _approval_requested,
    "ApprovalVoted": _voted,
    "ApprovalGranted": _approval_granted,
    "ApprovalRejected": _approval_rejected,
    "ApprovalExpired": _approval_answered,
    "ApprovalWithdrawn": _approval_answered,
    "PlaybookStarted": _run_started,
    "OwnerAssigned": _owner_assigned,
    "StatusChanged": _status_changed,
    "ExceptionResolved": _resolved,
    "ExceptionEscalated": _escalated,
    "ExceptionReopened": _reopened,
    "PlaybookStepCompletionRequested": _step_done_by_hand,
    "PlaybookStepSkipRequested": _step_done_by_hand,
    "PlaybookRecalculationRequested": _recalculation_requested,
    "SLAImminent": _sla_imminent,
    "SLAExpired": _sla_expired,
    "DeadLettered": _dead_lettered,
    "DeadLetterRetried": _unblocked,
    "DeadLetterDiscarded": _unblocked,
}
