"""Timers: warnings, deadlines and expiries whose time has come. Its stream is the clock, so it is asked without an event."""

from datetime import datetime

from sentinai.events.policy import ApprovalExpired
from sentinai.events.sla import SLAExpired, SLAImminent
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator.stages.occasion import Body


def due(state: ExceptionState, now: datetime) -> list[Body]:
    """What has come to be true of an exception by `now`. What follows from it is the run's business."""
    said: list[Body] = []
    sla = state.sla
    if sla is not None and sla.warn_at is not None and sla.warn_at <= now:
        said.append(SLAImminent(sla.resolve_by))
    if sla is not None and sla.expires_at is not None and sla.expires_at <= now:
        said.append(SLAExpired(sla.resolve_by))
    for approval in state.approvals:
        if approval.expires_at is not None and approval.expires_at <= now:
            said.append(ApprovalExpired(approval.approval_id, approval.on_expiry, approval.step))
    return said
