"""What is it, and how bad is it?"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from sentinai.errors import Rejected
from sentinai.models.decision import Decision, Evidence, tried
from sentinai.models.exception_record import UNCLASSIFIED, ExceptionState
from sentinai.models.json import Json
from sentinai.packs.effective import SEVERITIES, EffectiveConfig, ExceptionType
from sentinai.packs.expressions import Activation, Scope, activation
from sentinai.packs.facts import decision_values

DEFAULT_SEVERITY = "MEDIUM"
"""When neither tenant, rule nor taxonomy says one; the evidence names it as a default."""


@dataclass(frozen=True, slots=True)
class TriageFacts:
    state: ExceptionState
    config: EffectiveConfig | None
    now: datetime


class TriageDecision(NamedTuple):
    decision: Decision
    exception_type: str
    severity: str
    priority_score: int | None
    title: str | None
    queue: str | None
    type: ExceptionType | None


def decide(facts: TriageFacts) -> TriageDecision:
    """Declared type or deepest matching detection rule; then override, first severity rule, or the type's own."""
    state, config = facts.state, facts.config
    if config is None:
        evidence = [Evidence("active configuration", "not_matched", "no active pack takes this exception")]
        decision = Decision("triage", UNCLASSIFIED, 0.0, evidence, "policy")
        return TriageDecision(decision, UNCLASSIFIED, DEFAULT_SEVERITY, None, None, None, None)
    evidence = []
    values = decision_values(state, config, facts.now)
    known = activation(Scope.DECISION, values)
    kind, confidence = _classify(state, config, known, evidence)
    values |= {
        "exceptionType": kind.name,
        "confidence": confidence,
        "tags": list(kind.tags),
        "severity": "",
    }
    if config.ranking_sees_type:
        known = activation(Scope.DECISION, values)
    severity, score = _rank(kind, config, known, evidence)
    decision = Decision("triage", values["exceptionType"], confidence, evidence, "policy")
    routed = activation(Scope.DECISION, values | {"severity": severity}) if config.routing else known
    return TriageDecision(
        decision, values["exceptionType"], severity, score, _title(kind, known), _queue(config, routed, evidence), kind
    )


def _classify(
    state: ExceptionState, config: EffectiveConfig, facts: Activation, evidence: list[Evidence]
) -> tuple[ExceptionType, float]:
    declared = state.declared_type
    if declared is not None:
        known = config.types.get(declared)
        evidence.append(tried(f"declared type {declared}", known is not None, None))
        if known is not None:
            return known, 1.0
    for _, kinds in groupby(config.types_by_depth, key=lambda kind: kind.depth):
        best: tuple[ExceptionType, float] | None = None
        for kind in kinds:
            for rule in kind.detection_rules:
                verdict = rule.condition.test(facts)
                evidence.append(tried(f"detection {kind.name}/{rule.id}", verdict.matched, verdict.reason))
                if verdict.matched and (best is None or rule.confidence > best[1]):
                    best = kind, rule.confidence
        if best is not None:
            return best
    return config.unclassified, 0.0


def _rank(
    kind: ExceptionType, config: EffectiveConfig, facts: Activation, evidence: list[Evidence]
) -> tuple[str, int | None]:
    for override in config.severity_overrides:
        if override.exception_type not in kind.lineage:
            continue
        matched, reason = override.when.test(facts) if override.when else (True, None)
        evidence.append(tried(f"tenant override {override.exception_type}", matched, reason))
        if matched:
            return override.severity, None
    for rule in config.severity_rules:
        verdict = rule.condition.test(facts)
        severity, reason = None, verdict.reason
        if verdict.matched:
            severity, reason = _severity_of(rule.severity.render, facts)
        evidence.append(tried(f"severity {rule.id}", severity is not None, reason))
        if severity is not None:
            return severity, rule.priority_score
    if kind.severity is not None:
        evidence.append(Evidence(f"severity of type {kind.name}", "applied", kind.severity))
        return kind.severity, None
    evidence.append(Evidence("default severity", "applied", DEFAULT_SEVERITY))
    return DEFAULT_SEVERITY, None


def _severity_of(render: Callable[[Activation], Json], facts: Activation) -> tuple[str | None, str | None]:
    try:
        severity = render(facts)
    except Rejected as error:
        return None, error.message
    if severity not in SEVERITIES:
        return None, f"{severity!r} is not one of {', '.join(SEVERITIES)}"
    return severity, None


def _title(kind: ExceptionType, facts: Activation) -> str | None:
    """A title that cannot be rendered leaves the source's title in place."""
    if kind.title is None:
        return None
    try:
        return str(kind.title.render(facts))
    except Rejected:
        return None


def _queue(config: EffectiveConfig, facts: Activation, evidence: list[Evidence]) -> str | None:
    for route in config.routing:
        verdict = route.when.test(facts)
        evidence.append(tried(f"route to {route.queue}", verdict.matched, verdict.reason))
        if verdict.matched:
            return route.queue
    return None
