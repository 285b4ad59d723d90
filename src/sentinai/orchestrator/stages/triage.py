"""Triage: type, severity, title, queue and deadline of a normalised exception."""

from datetime import timedelta

from sentinai.agents import triage as agent
from sentinai.events.intake import ExceptionRecurred
from sentinai.events.triage import TriageCompleted
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator.fold import is_closed
from sentinai.orchestrator.stages.occasion import Decided, Occasion, Stage


def decide(occasion: Occasion, _known: None) -> Decided:
    """The first time always; for a recurrence only if its type wants that and something is different now."""
    state = occasion.state
    if is_closed(state):
        return []
    found = agent.decide(agent.TriageFacts(state, occasion.config, occasion.now))
    if isinstance(occasion.body, ExceptionRecurred):
        wanted = found.type is not None and found.type.retriage_on_recurrence
        if not wanted or (found.exception_type, found.severity) == (state.exception_type, state.severity):
            return []
    return [_completed(state, found)]


def _completed(state: ExceptionState, found: agent.TriageDecision) -> TriageCompleted:
    sla = found.type.sla if found.type else None
    assert state.received_at is not None
    resolve_by = state.received_at + timedelta(seconds=sla.resolve_within_s) if sla else None
    warn_at = resolve_by - timedelta(seconds=sla.warn_before_s) if sla and resolve_by and sla.warn_before_s else None
    return TriageCompleted(
        found.decision,
        found.exception_type,
        found.severity,
        found.decision.confidence,
        found.priority_score,
        found.title,
        list(found.type.tags) if found.type else [],
        found.queue,
        resolve_by,
        warn_at,
    )


STAGE = Stage("triage", decide, ("ExceptionNormalized", "ExceptionRecurred"))
