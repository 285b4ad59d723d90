"""What does triage decide at the corners: equal confidences, depths, overrides, severities that are none, routes?"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from story import CONFIG

from sentinai.agents.triage import DEFAULT_SEVERITY, TriageDecision, TriageFacts, decide
from sentinai.models.exception_record import FOLD, UNCLASSIFIED, ExceptionState
from sentinai.packs.effective import (
    DetectionRule,
    EffectiveConfig,
    ExceptionType,
    Route,
    SeverityOverride,
    SeverityRule,
)
from sentinai.packs.expressions import Condition, Scope, Template

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
UNKNOWN = "rawPayload.no.such == 1"


def when(text: str) -> Condition:
    return Condition.compile(text, Scope.DECISION)


def kind(
    name: str, *rules: tuple[str, float], parents: tuple[str, ...] = (), severity: Any = None, **more: Any
) -> ExceptionType:
    detection = tuple(
        DetectionRule(f"{name}-{n}", when(text), confidence) for n, (text, confidence) in enumerate(rules, 1)
    )
    given = {"tags": (), "retriage_on_recurrence": False, "title": None, "sla": None} | more
    parent = parents[0] if parents else None
    return ExceptionType(
        name=name, description="", parent=parent, depth=len(parents), detection_rules=detection, severity=severity,
        lineage=(name, *parents), **given,
    )  # fmt: skip


def config(*kinds: ExceptionType, **more: Any) -> EffectiveConfig:
    deepest_first = tuple(sorted(kinds, key=lambda k: -k.depth))
    given = {"severity_overrides": (), "severity_rules": (), "routing": (), "ranking_sees_type": True} | more
    return replace(CONFIG, types={k.name: k for k in kinds}, types_by_depth=deepest_first, **given)


def severity_rule(name: str, condition: str, severity: str, score: int | None = None) -> SeverityRule:
    return SeverityRule(name, when(condition), Template.compile(severity, Scope.DECISION), score)


def decided(under: EffectiveConfig | None, payload: Any = None, **known: Any) -> TriageDecision:
    state = ExceptionState(
        fold=FOLD, tenant_id="acme", exception_id=UUID(int=7), raw_payload=payload or {}, received_at=NOW
    )
    state.occurred_at = NOW
    for name, value in known.items():
        setattr(state, name, value)
    return decide(TriageFacts(state, under, NOW))


def tried(found: TriageDecision) -> dict[str, str]:
    return {e.rule: e.outcome for e in found.decision.evidence}


def test_without_a_configuration_nobody_can_say_what_it_is() -> None:
    found = decided(None, declared_type="A")
    assert (found.exception_type, found.severity, found.type) == (UNCLASSIFIED, DEFAULT_SEVERITY, None)
    assert (found.decision.confidence, found.decision.next_step) == (0.0, "policy")
    assert tried(found) == {"active configuration": "not_matched"}


@pytest.mark.parametrize(
    ("a", "b", "found", "confidence"),
    [
        ([("true", 0.5)], [("true", 0.5)], "A", 0.5),
        ([("true", 0.5)], [("true", 0.51)], "B", 0.51),
        ([("true", 0.5), ("true", 0.9)], [("true", 0.8)], "A", 0.9),
        ([("false", 1.0)], [("true", 0.1)], "B", 0.1),
        ([(UNKNOWN, 1.0)], [("true", 0.1)], "B", 0.1),
        ([(UNKNOWN, 1.0)], [("false", 1.0)], UNCLASSIFIED, 0.0),
        ([("true", 0.0)], [], "A", 0.0),
        ([], [], UNCLASSIFIED, 0.0),
    ],
)
def test_of_types_equally_deep_the_surest_rule_counts_and_of_equals_the_first(
    a: Any, b: Any, found: str, confidence: float
) -> None:
    decision = decided(config(kind("A", *a), kind("B", *b)))
    assert (decision.exception_type, decision.decision.confidence) == (found, confidence)
    assert len([r for r in tried(decision) if r.startswith("detection")]) == len(a) + len(b), (
        "all of one depth are tried"
    )


def test_a_deeper_type_comes_before_a_surer_one() -> None:
    deep, root = kind("DEEP", ("true", 0.1), parents=("ROOT",)), kind("ROOT", ("true", 1.0))
    found = decided(config(root, deep))
    assert (found.exception_type, found.decision.confidence) == ("DEEP", 0.1)
    assert "detection ROOT/ROOT-1" not in tried(found)


@pytest.mark.parametrize(
    ("declared", "found", "outcome"),
    [
        ("B", "B", "matched"),
        ("NO_SUCH", "A", "not_matched"),
        ("", "A", "not_matched"),
        (UNCLASSIFIED, "A", "not_matched"),
    ],
)
def test_a_declared_type_counts_if_the_taxonomy_has_it(declared: str, found: str, outcome: str) -> None:
    decision = decided(config(kind("A", ("true", 0.5)), kind("B")), declared_type=declared)
    assert (decision.exception_type, tried(decision)[f"declared type {declared}"]) == (found, outcome)
    assert decision.decision.confidence == (1.0 if found == "B" else 0.5)


@pytest.mark.parametrize(
    ("text", "severity", "outcome"),
    [
        ("HIGH", "HIGH", "matched"),
        ("${rawPayload.severity}", "CRITICAL", "matched"),
        ("${rawPayload.lower}", "LOW", "not_evaluable"),
        ("${rawPayload.number}", "LOW", "not_evaluable"),
        ("${rawPayload.nothing}", "LOW", "not_evaluable"),
        ("${rawPayload.no.such}", "LOW", "not_evaluable"),
        ("URGENT", "LOW", "not_evaluable"),
    ],
)
def test_a_severity_that_is_none_makes_its_rule_not_count(text: str, severity: str, outcome: str) -> None:
    under = config(kind("A", ("true", 1.0), severity="LOW"), severity_rules=(severity_rule("r", "true", text, 9),))
    found = decided(under, {"severity": "CRITICAL", "lower": "high", "number": 7, "nothing": None})
    assert (found.severity, tried(found)["severity r"]) == (severity, outcome)
    assert found.priority_score == (9 if outcome == "matched" else None)


@pytest.mark.parametrize(
    ("overrides", "severity"),
    [
        ((SeverityOverride("A", "CRITICAL", None),), "CRITICAL"),
        ((SeverityOverride("ROOT", "CRITICAL", None),), "CRITICAL"),
        ((SeverityOverride("B", "CRITICAL", None),), "HIGH"),
        ((SeverityOverride("A", "CRITICAL", when("false")),), "HIGH"),
        ((SeverityOverride("A", "CRITICAL", when(UNKNOWN)),), "HIGH"),
        ((SeverityOverride("A", "LOW", when("false")), SeverityOverride("ROOT", "CRITICAL", None)), "CRITICAL"),
        ((SeverityOverride("ROOT", "LOW", None), SeverityOverride("A", "CRITICAL", None)), "LOW"),
    ],
)
def test_a_tenants_override_comes_before_every_rule_of_the_pack(overrides: Any, severity: str) -> None:
    under = config(
        kind("A", ("true", 1.0), parents=("ROOT",)),
        kind("ROOT"),
        severity_rules=(severity_rule("r", "true", "HIGH", 9),),
        severity_overrides=overrides,
    )
    found = decided(under)
    assert (found.severity, found.priority_score) == (severity, 9 if severity == "HIGH" else None)


def test_a_default_severity_is_named_as_one() -> None:
    found = decided(config(kind("A", ("true", 1.0))))
    assert (found.severity, tried(found)["default severity"]) == ("MEDIUM", "applied")


@pytest.mark.parametrize(
    "condition",
    ["exceptionType == 'A'", "confidence == 0.7", "'t' in tags", "severity == ''"],
)
def test_ranking_sees_what_detection_found_and_not_what_was_known_before(condition: str) -> None:
    under = config(kind("A", ("true", 0.7), tags=("t",)), severity_rules=(severity_rule("r", condition, "CRITICAL"),))
    found = decided(under, exception_type="OLD", severity="LOW", confidence=0.2, tags=["old"])
    assert found.severity == "CRITICAL"


@pytest.mark.parametrize("condition", ["severity == 'LOW'", "exceptionType == 'OLD'"])
def test_detection_sees_what_was_known_before(condition: str) -> None:
    assert decided(config(kind("A", (condition, 1.0))), exception_type="OLD", severity="LOW").exception_type == "A"


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        ((), None),
        ((("severity == 'HIGH'", "urgent"),), "urgent"),
        ((("exceptionType == 'A'", "a"), ("true", "rest")), "a"),
        (((UNKNOWN, "broken"), ("true", "rest")), "rest"),
        ((("severity == 'LOW'", "slow"),), None),
    ],
)
def test_the_first_route_that_matches_and_it_sees_the_severity(routes: Any, queue: str | None) -> None:
    under = config(
        kind("A", ("true", 1.0), severity="HIGH"), routing=tuple(Route(when(text), name) for text, name in routes)
    )
    assert decided(under).queue == queue


@pytest.mark.parametrize(
    ("title", "found"),
    [("A ${rawPayload.id}", "A 7"), ("${rawPayload.id}", "7"), ("${rawPayload.no}", None), (None, None)],
)
def test_a_title_that_cannot_be_rendered_is_none(title: str | None, found: str | None) -> None:
    text = Template.compile(title, Scope.DECISION) if title else None
    assert decided(config(kind("A", ("true", 1.0), title=text)), {"id": 7}).title == found
