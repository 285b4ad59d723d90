"""What would a configuration decide? A pack's own test cases, run through the agents without any database."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sentinai.agents import intake, policy, triage
from sentinai.errors import Rejected
from sentinai.models.decision import Evidence
from sentinai.models.exception_record import FOLD, ExceptionState
from sentinai.packs.effective import EffectiveConfig, Playbook
from sentinai.packs.facts import DecisionFacts
from sentinai.packs.sourcing import Report
from sentinai.playbooks.matching import choose_playbook

RECEIVED_AT = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
"""When every trial's report is received: results must not depend on the day they are run on."""
_ID = UUID(int=0)


class TrialResult(NamedTuple):
    """One case; `differences` say what came out instead."""

    suite: str
    case: str
    differences: list[str]

    @property
    def passed(self) -> bool:
        return not self.differences


def run_cases(config: EffectiveConfig, domain: Mapping[str, Any]) -> list[TrialResult]:
    """All cases of a Domain Pack's test suites under a configuration."""
    return [
        TrialResult(suite["name"], case["name"], _differences(config, case))
        for suite in domain.get("testSuites", [])
        for case in suite["cases"]
    ]


def decide_all(config: EffectiveConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the agents decide on the first exception of a report: type, severity, playbook, policy, title, queue, items.

    Raises Rejected for a report that no source can read.
    """
    occurred = datetime.fromisoformat(given["occurredAt"]) if "occurredAt" in given else None
    domain, payload = given.get("domain"), given["rawPayload"]
    report = Report(config.tenant_id, given["sourceSystem"], domain, payload, occurred, RECEIVED_AT)
    reading = intake.read([config], report, given.get("externalId"))
    found: dict[str, Any] = {"items": len(reading.items)}
    if not reading.items:
        return found
    state = _normalized(config, given, reading.items[0])
    triaged = triage.decide(triage.TriageFacts(state, reading.config, RECEIVED_AT))
    state.exception_type, state.severity = triaged.exception_type, triaged.severity
    state.confidence = triaged.decision.confidence
    state.tags = list(triaged.type.tags) if triaged.type else []
    playbook, evaluated = _evaluate(state, reading.config)
    return found | {
        "exceptionType": triaged.exception_type,
        "severity": triaged.severity,
        "title": triaged.title or state.title,
        "queue": triaged.queue,
        "playbook": playbook.name if playbook else None,
        "policy": evaluated.outcome,
    }


def _normalized(config: EffectiveConfig, given: Mapping[str, Any], item: intake.Item) -> ExceptionState:
    return ExceptionState(
        fold=FOLD,
        tenant_id=config.tenant_id,
        exception_id=_ID,
        source_system=given["sourceSystem"],
        declared_type=given.get("exceptionType"),
        raw_payload=item.raw,
        domain=config.domain,
        normalized_context=item.normalized_context,
        title=item.title,
        occurred_at=item.occurred_at or RECEIVED_AT,
        received_at=RECEIVED_AT,
    )


def _evaluate(state: ExceptionState, config: EffectiveConfig | None) -> tuple[Playbook | None, policy.PolicyDecision]:
    playbook: Playbook | None = None
    matching: list[Evidence] = []
    if config is not None:
        known = DecisionFacts(state, config, RECEIVED_AT)
        playbook, matching = choose_playbook(config, state, known)
    facts = policy.PolicyFacts(state, config, playbook, matching, frozenset(), RECEIVED_AT)
    return playbook, policy.decide(facts)


def _differences(config: EffectiveConfig, case: Mapping[str, Any]) -> list[str]:
    try:
        found = decide_all(config, case["input"])
    except Rejected as error:
        return [error.message]
    return [
        f"{name}: expected {wanted!r}, got {found.get(name)!r}"
        for name, wanted in case["expected"].items()
        if found.get(name) != wanted
    ]
