"""Which variables do a pack's rules see of an exception?"""

from datetime import datetime

from sentinai.models.exception_record import ExceptionState
from sentinai.models.json import Json
from sentinai.models.run import PlaybookRun
from sentinai.packs.effective import EffectiveConfig
from sentinai.packs.expressions import Activation, Scope, activation

NO_DEADLINE_MINUTES = 2**31
"""`sla.minutesRemaining` of an exception without a deadline."""


class DecisionFacts:
    """The variables of an exception, converted for expressions once, and only if there is an expression."""

    __slots__ = ("_built", "config", "now", "state")

    def __init__(self, state: ExceptionState, config: EffectiveConfig, now: datetime) -> None:
        self.state = state
        self.config = config
        self.now = now
        self._built: Activation | None = None

    @property
    def activation(self) -> Activation:
        if self._built is None:
            self._built = activation(Scope.DECISION, decision_values(self.state, self.config, self.now))
        return self._built


def decision_values(state: ExceptionState, config: EffectiveConfig, now: datetime) -> dict[str, Json]:
    """The variables of packs.md by name; text that is not known yet is empty."""
    return {
        "tenantId": state.tenant_id,
        "domain": config.domain,
        "sourceSystem": state.source_system,
        "exceptionType": state.exception_type or state.declared_type or "",
        "severity": state.severity or "",
        "confidence": state.confidence,
        "rawPayload": state.raw_payload,
        "normalizedContext": state.normalized_context,
        "tags": state.tags,
        "policyTags": list(config.policy_tags),
        "lookups": config.lookups,
        "occurrences": state.occurrences,
        "occurredAt": state.occurred_at,
        "receivedAt": state.received_at,
        "now": now,
        "sla": {"minutesRemaining": _minutes_remaining(state, now)},
    }


def playbook_activation(state: ExceptionState, config: EffectiveConfig, now: datetime, run: PlaybookRun) -> Activation:
    """The decision's variables and the outcome of the steps so far, as a playbook's expressions see them."""
    steps = {path: {"output": s.output, "status": str(s.status)} for path, s in run.steps.items()}
    return activation(Scope.PLAYBOOK, {**decision_values(state, config, now), "steps": steps})


def _minutes_remaining(state: ExceptionState, now: datetime) -> int:
    if state.sla is None:
        return NO_DEADLINE_MINUTES
    return int((state.sla.resolve_by - now).total_seconds() // 60)
