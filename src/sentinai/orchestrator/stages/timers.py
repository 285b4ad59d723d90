"""Timers: warnings, deadlines and expiries whose time has come. Its stream is the clock, so it is asked without an event."""

from datetime import datetime

from sentinai.events.closing import ExceptionEscalated
from sentinai.events.envelope import Body
from sentinai.events.policy import ApprovalExpired
from sentinai.events.sla import SLAExpired, SLAImminent
from sentinai.models.exception_record import ExceptionState, Status
from sentinai.models.run import WaitsFor
from sentinai.orchestrator.fold import is_closed
from sentinai.orchestrator.lifecycle import may_become
from sentinai.playbooks.machine import stopped


def due(state: ExceptionState, now: datetime) -> list[Body]:
    """What has come to be true of an exception by `now`.

    A deadline that has passed ends the run in the same transaction, so that no attempt of a call can come between. What
    follows from an expired question is the run's business.
    """
    said: list[Body] = []
    sla = state.sla
    if sla is not None and sla.warn_at is not None and sla.warn_at <= now:
        said.append(SLAImminent(sla.resolve_by))
    if sla is not None and sla.expires_at is not None and sla.expires_at <= now:
        return [*said, SLAExpired(sla.resolve_by), *overdue(state, sla.resolve_by)]
    for approval in state.approvals:
        if approval.expires_at is not None and approval.expires_at <= now:
            said.append(ApprovalExpired(approval.approval_id, approval.on_expiry, approval.step))
    return said


def overdue(state: ExceptionState, resolve_by: datetime) -> list[Body]:
    """The deadline has passed: the run ends and people take over. One that waits for a person of an exception that people
    have already is left to them."""
    if is_closed(state):
        return []
    waiting = state.run.waiting if state.run is not None else None
    if state.status is Status.ESCALATED and waiting is not None and waiting[1].waits_for is WaitsFor.PERSON:
        return []
    reason = f"not resolved by {resolve_by.isoformat()}"
    escalated = [ExceptionEscalated([reason])] if may_become(state.status, Status.ESCALATED) else []
    return [*stopped(state, reason), *escalated]
