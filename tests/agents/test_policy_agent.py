"""Which checks does policy make, what does each leave as evidence, and whom does it have asked for how long?"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from story import CONFIG

from sentinai.agents.policy import APPROVED, BLOCKED, NEEDS_APPROVAL, PolicyDecision, PolicyFacts, decide
from sentinai.models.decision import Evidence
from sentinai.models.exception_record import FOLD, ExceptionState
from sentinai.packs.effective import ApprovalRule, EffectiveConfig, Playbook
from sentinai.packs.expressions import Condition, Scope
from sentinai.packs.facts import DecisionFacts

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FITS = [Evidence("playbook refund", "matched")]
REFUND = next(p for p in CONFIG.playbooks if p.name == "refund")
PLAIN = replace(CONFIG, approval_rules=())


def exception(
    kind: str = "REFUND_STUCK", severity: str = "HIGH", confidence: float = 1.0, amount: Any = 500
) -> ExceptionState:
    state = ExceptionState(fold=FOLD, tenant_id="acme", exception_id=UUID(int=7))
    state.exception_type, state.severity, state.confidence = kind, severity, confidence
    state.normalized_context = {"amountMinor": amount, "paymentId": "p1"}
    return state


def guarded(**limits: Any) -> EffectiveConfig:
    return replace(PLAIN, guardrails=replace(PLAIN.guardrails, **limits))


def rule(name: str = "r", when: str | None = None, **more: Any) -> ApprovalRule:
    given = {"severity": None, "exception_type": None, "require_approval": True, "approvers": 1}
    given |= {"expires_after_s": None, "on_expiry": "ESCALATE"}
    condition = Condition.compile(when, Scope.DECISION) if when else None
    return ApprovalRule(id=name, when=condition, **given | more)  # type: ignore[arg-type]


def asking(*rules: ApprovalRule) -> EffectiveConfig:
    return replace(PLAIN, approval_rules=rules)


def decided(
    config: EffectiveConfig | None = PLAIN,
    playbook: Playbook | None = REFUND,
    disabled: frozenset[str] = frozenset(),
    **state: Any,
) -> PolicyDecision:
    return decide(PolicyFacts(exception(**state), config, playbook, list(FITS), disabled, NOW))


def evidence(found: PolicyDecision) -> dict[str, str]:
    """Outcome of each rule tried, in the order tried."""
    return {e.rule: e.outcome for e in found.decision.evidence}


# ---- what every answer says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "severity", "outcome", "next_step"),
    [
        (PLAIN, "HIGH", APPROVED, "playbook"),
        (PLAIN, "CRITICAL", NEEDS_APPROVAL, "approval"),
        (guarded(blocked_tools=frozenset({"refundAgain"})), "HIGH", BLOCKED, "escalation"),
        (None, "HIGH", BLOCKED, "escalation"),
    ],
)
def test_the_answer_says_who_goes_on(config: Any, severity: str, outcome: str, next_step: str) -> None:
    found = decided(config, severity=severity, confidence=0.75)
    assert found.outcome == found.decision.decision == outcome
    assert (found.decision.stage, found.decision.next_step, found.decision.confidence) == ("policy", next_step, 0.75)
    assert bool(found.reasons) == (outcome != APPROVED)


def test_everything_that_was_tried_is_evidence_in_order() -> None:
    config = replace(guarded(), approval_rules=(rule("never", "false"), rule("off", require_approval=False)))
    assert list(evidence(decided(config)).items()) == [
        ("active policy", "matched"),
        ("playbook refund", "matched"),
        ("action call_tool not block-listed", "matched"),
        ("action call_tool allow-listed", "matched"),
        ("tool refundAgain not block-listed", "matched"),
        ("tool refundAgain allow-listed", "matched"),
        ("tool refundAgain approved", "matched"),
        ("tool refundAgain enabled", "matched"),
        ("action set_status not block-listed", "matched"),
        ("action set_status allow-listed", "matched"),
        ("CRITICAL without autoActionOnCritical", "not_matched"),
        ("severity gate HIGH", "not_matched"),
        ("confidence 1.00 below threshold 0.60", "not_matched"),
        ("approval rule never", "not_matched"),
        ("approval rule off", "matched"),
    ]


def test_the_evidence_names_the_policy_that_was_active() -> None:
    assert decided(replace(PLAIN, policy_version="7.1.0")).decision.evidence[0] == Evidence(
        "active policy", "matched", "7.1.0"
    )


# ---- what may not run at all -----------------------------------------------------------------------------------------


def test_without_an_active_policy_the_answer_says_what_to_do() -> None:
    found = decided(None)
    reason = "no active policy: activate a domain pack and a policy pack for this tenant"
    assert (found.outcome, found.reasons) == (BLOCKED, [reason])
    assert found.decision.evidence == [Evidence("active policy", "not_matched", reason)]


@pytest.mark.parametrize(("kind", "severity"), [("LOST", "LOW"), ("UNCLASSIFIED", "CRITICAL")])
def test_without_a_playbook_the_reason_names_what_none_was_found_for(kind: str, severity: str) -> None:
    found = decided(playbook=None, kind=kind, severity=severity)
    assert (found.outcome, found.reasons) == (BLOCKED, [f"no playbook for {kind} of severity {severity}"])
    assert evidence(found) == {"active policy": "matched", "playbook refund": "matched"}, "what was tried to find one"


@pytest.mark.parametrize(
    ("config", "disabled", "step", "check"),
    [
        (guarded(blocked_actions=frozenset({"call_tool"})), (), "again", "action call_tool not block-listed"),
        (guarded(blocked_actions=frozenset({"set_status"})), (), "close", "action set_status not block-listed"),
        (guarded(allowed_actions=frozenset({"set_status"})), (), "again", "action call_tool allow-listed"),
        (guarded(allowed_actions=frozenset({"call_tool"})), (), "close", "action set_status allow-listed"),
        (guarded(blocked_tools=frozenset({"refundAgain"})), (), "again", "tool refundAgain not block-listed"),
        (guarded(allowed_tools=frozenset()), (), "again", "tool refundAgain allow-listed"),
        (guarded(allowed_tools=frozenset({"retryCharge"})), (), "again", "tool refundAgain allow-listed"),
        (replace(PLAIN, approved_tools=frozenset({"retryCharge"})), (), "again", "tool refundAgain approved"),
        (PLAIN, ("payments.refundAgain",), "again", "tool refundAgain enabled"),
    ],
)
def test_each_check_alone_forbids_it_and_is_the_only_reason(config: Any, disabled: Any, step: str, check: str) -> None:
    found = decided(config, disabled=frozenset(disabled))
    assert (found.outcome, found.reasons) == (BLOCKED, [f"step {step}: {check} does not hold"])
    assert [name for name, outcome in evidence(found).items() if outcome != "matched"] == [check]


@pytest.mark.parametrize(
    ("config", "disabled"),
    [
        (guarded(allowed_tools=frozenset({"refundAgain"}), allowed_actions=frozenset({"call_tool", "set_status"})), ()),
        (guarded(blocked_tools=frozenset({"retryCharge"}), blocked_actions=frozenset({"notify"})), ()),
        (PLAIN, ("refundAgain", "other.refundAgain", "payments.retryCharge")),
    ],
)
def test_lists_that_name_other_things_forbid_nothing(config: Any, disabled: Any) -> None:
    assert decided(config, disabled=frozenset(disabled)).outcome == APPROVED


def test_every_reason_is_named_not_only_the_first() -> None:
    config = replace(guarded(blocked_actions=frozenset({"call_tool", "set_status"})), approved_tools=frozenset())
    assert [r.split(" does")[0] for r in decided(config).reasons] == [
        "step again: action call_tool not block-listed",
        "step again: tool refundAgain approved",
        "step close: action set_status not block-listed",
    ]


def test_an_action_without_a_tool_is_asked_about_no_tool() -> None:
    note = next(p for p in CONFIG.playbooks if p.name == "note-and-close")
    found = decided(replace(guarded(allowed_tools=frozenset()), approved_tools=frozenset()), note)
    assert found.outcome == APPROVED
    assert not any("tool" in name for name in evidence(found))


def test_what_is_blocked_is_not_asked_about() -> None:
    config = replace(
        guarded(allowed_tools=frozenset()),
        approval_rules=(rule(approvers=3, expires_after_s=60.0, on_expiry="REJECT"),),
    )
    found = decided(config, severity="CRITICAL", confidence=0.0)
    assert (found.approvers, found.expires_after_s, found.on_expiry) == (1, None, "ESCALATE")
    assert not any("approval" in name or "severity gate" in name for name in evidence(found))


# ---- what a person has to agree to -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "auto", "asks"),
    [("CRITICAL", False, True), ("CRITICAL", True, False), ("HIGH", False, False), ("LOW", False, False)],
)
def test_critical_is_asked_about_unless_the_tenant_says_otherwise(severity: str, auto: bool, asks: bool) -> None:
    found = decided(replace(PLAIN, auto_action_on_critical=auto), severity=severity)
    assert found.reasons == (["CRITICAL without autoActionOnCritical"] if asks else [])


@pytest.mark.parametrize("severity", ["LOW", "MEDIUM", "HIGH", "CRITICAL"])
@pytest.mark.parametrize("gated", [(), ("LOW",), ("HIGH", "CRITICAL")])
def test_a_gate_asks_for_its_severities_only(severity: str, gated: tuple[str, ...]) -> None:
    config = replace(guarded(gated_severities=frozenset(gated)), auto_action_on_critical=True)
    assert decided(config, severity=severity).reasons == ([f"severity gate {severity}"] if severity in gated else [])


def test_a_gate_holds_for_critical_even_where_automatic_action_is_allowed() -> None:
    config = replace(guarded(gated_severities=frozenset({"CRITICAL"})), auto_action_on_critical=True)
    assert decided(config, severity="CRITICAL").reasons == ["severity gate CRITICAL"]


@pytest.mark.parametrize(
    ("confidence", "threshold", "asks"),
    [
        (0.6, 0.6, False),
        (0.5999, 0.6, True),
        (0.0, 0.0, False),
        (0.0, 0.01, True),
        (1.0, 1.0, False),
        (0.99, 1.0, True),
    ],
)
def test_below_the_threshold_a_person_decides(confidence: float, threshold: float, asks: bool) -> None:
    found = decided(guarded(human_approval_threshold=threshold), confidence=confidence)
    assert found.reasons == ([f"confidence {confidence:.2f} below threshold {threshold:.2f}"] if asks else [])


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        ({}, True),
        ({"severity": "HIGH"}, True),
        ({"severity": "LOW"}, False),
        ({"exception_type": "REFUND_STUCK"}, True),
        ({"exception_type": "PAYMENT_FAILURE"}, True),
        ({"exception_type": "CHARGEBACK"}, False),
        ({"exception_type": "UNCLASSIFIED"}, False),
        ({"when": "normalizedContext.amountMinor == 500"}, True),
        ({"when": "normalizedContext.amountMinor == 501"}, False),
        ({"severity": "HIGH", "exception_type": "PAYMENT_FAILURE", "when": "true"}, True),
        ({"severity": "LOW", "exception_type": "PAYMENT_FAILURE", "when": "true"}, False),
        ({"severity": "HIGH", "exception_type": "CHARGEBACK", "when": "true"}, False),
        ({"severity": "HIGH", "exception_type": "PAYMENT_FAILURE", "when": "false"}, False),
    ],
)
def test_all_criteria_of_a_rule_have_to_hold(given: dict[str, Any], asks: bool) -> None:
    found = decided(asking(rule(**given)))
    assert found.reasons == (["approval rule r"] if asks else [])
    assert evidence(found)["approval rule r"] == ("matched" if asks else "not_matched")


@pytest.mark.parametrize("kind", ["UNCLASSIFIED", "GONE_FROM_THE_PACK", None])
@pytest.mark.parametrize(("wanted", "asks"), [("UNCLASSIFIED", True), ("PAYMENT_FAILURE", False), (None, True)])
def test_what_nobody_could_classify_is_a_type_of_its_own(kind: Any, wanted: str | None, asks: bool) -> None:
    found = decided(asking(rule(exception_type=wanted)), kind=kind)
    assert (found.reasons == ["approval rule r"]) is asks


UNKNOWN = "normalizedContext.noSuchField > 1"


@pytest.mark.parametrize(
    ("when", "amount"),
    [
        (UNKNOWN, 500),
        ("normalizedContext.amountMinor > 1", "many"),
        ("normalizedContext.amountMinor > 1", None),
        ("normalizedContext.amountMinor", 500),
        ("rawPayload.deep.er == 1", 500),
    ],
)
def test_a_rule_that_cannot_be_evaluated_asks(when: str, amount: Any) -> None:
    found = decided(asking(rule(when=when)), amount=amount)
    assert found.outcome == NEEDS_APPROVAL
    (reason,) = found.reasons
    assert reason.startswith("approval rule r could not be evaluated: ")
    said = found.decision.evidence[-1]
    assert (said.rule, said.outcome) == ("approval rule r", "not_evaluable")
    assert said.detail
    assert reason.endswith(said.detail)


def test_a_rule_that_cannot_be_evaluated_counts_with_its_people_and_time() -> None:
    found = decided(asking(rule(when=UNKNOWN, approvers=3, expires_after_s=60.0, on_expiry="REJECT")))
    assert (found.approvers, found.expires_after_s, found.on_expiry) == (3, 60.0, "REJECT")


@pytest.mark.parametrize("given", [{"severity": "LOW"}, {"exception_type": "CHARGEBACK"}])
def test_an_expression_is_not_looked_at_where_the_rule_is_about_something_else(given: Any) -> None:
    found = decided(asking(rule(when=UNKNOWN, **given)))
    assert (found.outcome, evidence(found)["approval rule r"]) == (APPROVED, "not_matched")


@pytest.mark.parametrize(
    ("when", "outcome"), [("true", "matched"), ("false", "not_matched"), (UNKNOWN, "not_evaluable")]
)
def test_a_rule_that_requires_nothing_is_evidence_only(when: str, outcome: str) -> None:
    found = decided(
        asking(rule(when=when, require_approval=False, approvers=5, expires_after_s=1.0, on_expiry="REJECT"))
    )
    assert (found.outcome, found.reasons) == (APPROVED, [])
    assert (found.approvers, found.expires_after_s, found.on_expiry) == (1, None, "ESCALATE")
    assert evidence(found)["approval rule r"] == outcome


def test_reasons_come_in_the_order_of_the_checks() -> None:
    config = replace(
        guarded(gated_severities=frozenset({"CRITICAL"})), approval_rules=(rule("b"), rule("c", "false"), rule("a"))
    )
    assert decided(config, severity="CRITICAL", confidence=0.1).reasons == [
        "CRITICAL without autoActionOnCritical",
        "severity gate CRITICAL",
        "confidence 0.10 below threshold 0.60",
        "approval rule b",
        "approval rule a",
    ]


def test_variables_that_were_built_already_are_used() -> None:
    state = exception(amount=500)
    facts = PolicyFacts(state, asking(rule(when="normalizedContext.amountMinor == 9")), REFUND, [], frozenset(), NOW)
    assert decide(facts).outcome == APPROVED
    known = DecisionFacts(exception(amount=9), PLAIN, NOW)
    assert decide(replace(facts, known=known)).outcome == NEEDS_APPROVAL


# ---- whom, for how long, and what then -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "approvers"),
    [
        ((), 1),
        ((rule("a"),), 1),
        ((rule("a", approvers=2), rule("b", approvers=3), rule("c")), 3),
        ((rule("a", approvers=2), rule("b", "false", approvers=9)), 2),
        ((rule("a", approvers=2, severity="LOW"), rule("b")), 1),
    ],
)
def test_as_many_people_as_the_most_demanding_rule_that_asks(rules: Any, approvers: int) -> None:
    assert decided(asking(*rules), severity="CRITICAL").approvers == approvers


LONG, SHORT = {"expires_after_s": 3600.0}, {"expires_after_s": 60.0}
NO = {"on_expiry": "REJECT"}


@pytest.mark.parametrize(
    ("rules", "after_s", "on_expiry"),
    [
        ((), None, "ESCALATE"),
        ((rule("a"),), None, "ESCALATE"),
        ((rule("a", **NO),), None, "ESCALATE"),
        ((rule("a", **LONG),), 3600.0, "ESCALATE"),
        ((rule("a", **LONG, **NO),), 3600.0, "REJECT"),
        ((rule("a", **LONG), rule("b", **SHORT)), 60.0, "ESCALATE"),
        ((rule("a", **SHORT), rule("b", **LONG)), 60.0, "ESCALATE"),
        ((rule("a", **LONG), rule("b")), 3600.0, "ESCALATE"),
        ((rule("a", **LONG, **NO), rule("b", **SHORT)), 60.0, "REJECT"),
        ((rule("a", **LONG), rule("b", **SHORT, **NO)), 60.0, "REJECT"),
        ((rule("a", **LONG), rule("b", **NO)), 3600.0, "ESCALATE"),
        ((rule("a", **LONG), rule("b", "false", **SHORT, **NO)), 3600.0, "ESCALATE"),
        ((rule("a", **LONG), rule("b", require_approval=False, **SHORT, **NO)), 3600.0, "ESCALATE"),
    ],
)
def test_the_shortest_time_counts_and_a_no_of_any_rule_with_a_time(
    rules: Any, after_s: float | None, on_expiry: str
) -> None:
    found = decided(asking(*rules))
    assert (found.expires_after_s, found.on_expiry) == (after_s, on_expiry)
