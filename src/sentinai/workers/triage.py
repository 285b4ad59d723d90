"""Triage: type, severity, title, queue and deadline of a normalised exception."""

from datetime import timedelta
from typing import ClassVar

from sentinai.agents import triage as agent
from sentinai.events.triage import TriageCompleted
from sentinai.orchestrator.fold import is_closed
from sentinai.workers.base import BaseWorker
from sentinai.workers.work import Answer, Work


class TriageWorker(BaseWorker):
    name: ClassVar[str] = "triage"

    def handle(self, work: Work) -> Answer:
        state = work.state
        if is_closed(state):
            return
        found = agent.decide(agent.TriageFacts(state, work.config, work.now))
        if work.event.type == "ExceptionRecurred":
            wanted = found.type is not None and found.type.retriage_on_recurrence
            if not wanted or (found.exception_type, found.severity) == (state.exception_type, state.severity):
                return
        yield _completed(work, found)


def _completed(work: Work, found: agent.TriageDecision) -> TriageCompleted:
    sla = found.type.sla if found.type else None
    received_at = work.state.received_at
    assert received_at is not None
    resolve_by = received_at + timedelta(seconds=sla.resolve_within_s) if sla else None
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
