"""May the playbook run: by itself, after a person's yes, or not at all?"""

from datetime import timedelta
from typing import Any

import pytest
from sample_packs import DOMAIN, policy_for
from story import NOW, By, Story, compiled, given, ingested, names, normalized, only, payment, triaged

from sentinai.events.closing import ExceptionEscalated, ExceptionReopened, ExceptionResolved
from sentinai.events.playbook import PlaybookRecalculationRequested
from sentinai.events.policy import ApprovalRequested, PlaybookMatched, PolicyEvaluated

POLICY = policy_for("acme")
RULES = "humanApprovalRules:\n  - {id: huge, when: 'normalizedContext.amountMinor > 5000000', requireApproval: true, expiresAfter: 8h}\n"


def ready(context: dict[str, Any] | None = None, **world: Any) -> Story:
    return given(ingested(), normalized(context), **world)


def rules(*lines: str) -> dict[str, Any]:
    """The tests' pack with these approval rules instead of its own."""
    text = POLICY.replace(RULES, "humanApprovalRules:\n" + "".join(f"  - {line}\n" for line in lines))
    return {"config": compiled(policy=text)}


def evaluated(story: Story, **triage: Any) -> PolicyEvaluated:
    found: PolicyEvaluated = only(story.when(triaged(**triage)), PolicyEvaluated)
    return found


def test_what_nothing_forbids_is_approved_and_a_playbook_chosen() -> None:
    found = ready().when(triaged())
    assert names(found) == ["PolicyEvaluated", "PlaybookMatched"]
    assert (found[0].outcome, found[1].playbook) == ("APPROVED", "note-and-close")


@pytest.mark.parametrize(
    ("triage", "context", "reason"),
    [
        ({"kind": "CHARGEBACK", "severity": "CRITICAL"}, None, "CRITICAL without autoActionOnCritical"),
        ({"confidence": 0.59}, None, "confidence 0.59 below threshold 0.60"),
        ({}, {"amountMinor": 5_000_001}, "approval rule huge"),
        ({}, {"amountMinor": "many"}, "approval rule huge could not be evaluated"),
        ({}, {}, "approval rule huge could not be evaluated"),
        ({}, {"amountMinor": None}, "approval rule huge could not be evaluated"),
    ],
)
def test_reasons_why_a_person_has_to_say_yes(triage: Any, context: Any, reason: str) -> None:
    found = ready(context if context is not None else {"amountMinor": 1}).when(triaged(**triage))
    assert names(found) == ["PolicyEvaluated", "PlaybookMatched", "ApprovalRequested"]
    assert found[0].outcome == "NEEDS_APPROVAL"
    assert any(r.startswith(reason) for r in found[0].reasons)
    assert reason in found[2].reason


def test_exactly_at_the_threshold_nobody_is_asked() -> None:
    assert evaluated(ready(), confidence=0.6).outcome == "APPROVED"


def test_all_reasons_are_named_in_one_question() -> None:
    story = ready({"amountMinor": 9_000_000})
    asked = only(story.when(triaged("CHARGEBACK", "CRITICAL", 0.1)), ApprovalRequested)
    assert asked.reason.count(";") == 2


def test_critical_runs_by_itself_only_where_the_tenant_says_so() -> None:
    config = compiled(policy=POLICY + "autoActionOnCritical: true\n")
    assert evaluated(ready(config=config), kind="CHARGEBACK", severity="CRITICAL").outcome == "APPROVED"


def test_a_severity_gate_asks() -> None:
    config = compiled(
        DOMAIN.replace(
            "humanApprovalThreshold: 0.5",
            "humanApprovalThreshold: 0.5\n  severityGates: {HIGH: {requireApproval: true}}",
        )
    )
    assert evaluated(ready(config=config), severity="HIGH").reasons == ["severity gate HIGH"]
    assert evaluated(ready(config=config), severity="LOW").outcome == "APPROVED"


def test_an_approval_rule_for_a_type_covers_its_descendants() -> None:
    world = rules("{id: all, exceptionType: PAYMENT_FAILURE}")
    assert evaluated(ready(**world)).reasons == ["approval rule all"]


def test_an_approval_rule_for_another_type_or_severity_asks_nothing() -> None:
    world = rules("{id: a, exceptionType: CHARGEBACK}", "{id: b, severity: HIGH}")
    assert evaluated(ready(**world)).outcome == "APPROVED"


def test_an_approval_rule_for_what_nobody_could_classify() -> None:
    domain = DOMAIN.replace("match: {exceptionTypes: [LOST]}", "match: {exceptionTypes: [UNCLASSIFIED]}")
    policy = POLICY.replace(RULES, "humanApprovalRules: [{id: unknown, exceptionType: UNCLASSIFIED}]\n").replace(
        "approvedTools: [", "approvedTools: [shredFile, "
    )
    found = evaluated(ready(config=compiled(domain, policy)), kind="UNCLASSIFIED", confidence=1.0)
    assert (found.outcome, found.reasons) == ("NEEDS_APPROVAL", ["approval rule unknown"])


def test_a_rule_that_requires_nothing_asks_nothing() -> None:
    assert evaluated(ready(**rules("{id: no, requireApproval: false}"))).outcome == "APPROVED"


def test_the_question_expires_when_the_shortest_rule_says() -> None:
    world = rules("{id: long, expiresAfter: 8h}", "{id: short, expiresAfter: 1h}", "{id: never}")
    asked = only(ready(**world).when(triaged()), ApprovalRequested)
    assert asked.expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        ({"config": None}, "no active policy"),
        ({"disabled_tools": frozenset({"payments.refundAgain"})}, "tool refundAgain enabled does not hold"),
        (
            {"config": compiled(policy=POLICY.replace("approvedTools: [retryCharge, refundAgain]", "approvedTools: []"))},
            "tool refundAgain approved does not hold",
        ),
        (
            {"config": compiled(DOMAIN.replace("guardrails:\n", "guardrails:\n  blockLists: {tools: [refundAgain]}\n"))},
            "tool refundAgain not block-listed does not hold",
        ),
        (
            {"config": compiled(DOMAIN.replace("guardrails:\n", "guardrails:\n  allowLists: {tools: []}\n"))},
            "tool refundAgain allow-listed does not hold",
        ),
        (
            {"config": compiled(DOMAIN.replace("guardrails:\n", "guardrails:\n  blockLists: {actions: [set_status]}\n"))},
            "action set_status not block-listed does not hold",
        ),
    ],
)  # fmt: skip
def test_reasons_why_it_may_not_run_at_all(world: Any, reason: str) -> None:
    found = ready(**world).when(triaged("REFUND_STUCK", "HIGH", 1.0))
    assert names(found) == ["PolicyEvaluated", "ExceptionEscalated"]
    assert found[0].outcome == "BLOCKED"
    assert reason in str(found[0].reasons)


def test_without_a_playbook_a_person_takes_it() -> None:
    found = ready().when(triaged("UNCLASSIFIED", "MEDIUM", 0.0))
    assert names(found) == ["PolicyEvaluated", "ExceptionEscalated"]
    assert "no playbook for UNCLASSIFIED" in found[1].reasons[0]


def test_the_playbook_of_highest_priority_whose_condition_holds() -> None:
    story = given(ingested(payment(retry=True)), normalized())
    assert only(story.when(triaged()), PlaybookMatched).playbook == "charge-again"


def test_blocked_wins_over_every_reason_to_ask() -> None:
    found = ready(disabled_tools=frozenset({"payments.refundAgain"})).when(triaged("REFUND_STUCK", "CRITICAL", 0.1))
    assert found[0].outcome == "BLOCKED"


def test_what_is_closed_is_left_alone() -> None:
    assert ready().given(By("user:jo", ExceptionResolved("done"))).when(triaged()) == []


def test_a_recalculation_is_decided_under_todays_configuration() -> None:
    stricter = compiled(
        policy=POLICY.replace(
            "customGuardrails: {humanApprovalThreshold: 0.6}", "customGuardrails: {humanApprovalThreshold: 0.99}"
        )
    )
    story = ready(active=(stricter,)).given(triaged())
    assert story.when(By("user:jo", PlaybookRecalculationRequested()))[0].outcome == "NEEDS_APPROVAL"


def test_a_recalculation_without_any_configuration_denies() -> None:
    found = ready(active=()).given(triaged()).when(By("user:jo", PlaybookRecalculationRequested()))
    assert names(found) == ["PolicyEvaluated", "ExceptionEscalated"]


def test_a_reopened_exception_is_decided_anew() -> None:
    story = ready().given(triaged(), By("user:jo", ExceptionResolved("done")))
    found = story.when(By("user:jo", ExceptionReopened("came back")))
    assert names(found) == ["PolicyEvaluated", "PlaybookMatched"]


def test_every_rule_tried_is_evidence() -> None:
    rules_tried = {e.rule for e in evaluated(ready()).decision.evidence}
    assert rules_tried >= {"active policy", "playbook charge-again", "approval rule huge", "severity gate LOW"}


def test_an_escalation_that_the_system_made_is_no_bar() -> None:
    story = ready().given(ExceptionEscalated(["no playbook"]))
    assert "PlaybookMatched" in names(story.when(triaged()))
