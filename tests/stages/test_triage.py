"""What does triage make of an exception, and when does it look again?"""

from datetime import timedelta
from uuid import UUID

import pytest
from sample_packs import DOMAIN, policy_for
from story import DECIDED, NOW, By, Story, compiled, given, ingested, names, normalized, only, payment, triaged

from sentinai.events.closing import ExceptionResolved
from sentinai.events.intake import ExceptionMerged, ExceptionRecurred
from sentinai.events.triage import TriageCompleted

RECURRED = ExceptionRecurred(5, UUID(int=9), "psp")


def triage(story: Story) -> TriageCompleted:
    found: TriageCompleted = only(story.when(normalized()), TriageCompleted)
    return found


@pytest.mark.parametrize(
    ("payload", "kind", "severity"),
    [
        (payment(code="card_declined"), "CARD_DECLINED", "LOW"),
        (payment(code="chargeback"), "CHARGEBACK", "CRITICAL"),
        (payment(code="refund_stuck"), "REFUND_STUCK", "HIGH"),
        (payment(code="review"), "MANUAL_REVIEW", "MEDIUM"),
        (payment(code="nothing known"), "UNCLASSIFIED", "MEDIUM"),
        ({}, "UNCLASSIFIED", "MEDIUM"),
        (None, "CARD_DECLINED", "LOW"),
        ([1, 2], "UNCLASSIFIED", "MEDIUM"),
        ({"code": None}, "UNCLASSIFIED", "MEDIUM"),
        ({"code": 7}, "UNCLASSIFIED", "MEDIUM"),
    ],
)
def test_the_deepest_matching_type_and_its_severity(payload: object, kind: str, severity: str) -> None:
    found = triage(given(ingested(payload)))
    assert (found.exception_type, found.severity) == (kind, severity)


def test_the_confidence_is_the_rules_and_none_for_what_nobody_knows() -> None:
    assert triage(given(ingested())).confidence == 0.95
    assert triage(given(ingested(payment(code="?")))).confidence == 0.0


def test_a_declared_type_that_the_taxonomy_knows_needs_no_rule() -> None:
    found = triage(given(ingested(payment(code="?"), exception_type="CHARGEBACK")))
    assert (found.exception_type, found.confidence) == ("CHARGEBACK", 1.0)


def test_a_declared_type_that_nobody_knows_is_evidence_and_no_more() -> None:
    found = triage(given(ingested(exception_type="NO_SUCH")))
    assert found.exception_type == "CARD_DECLINED"
    assert found.decision.evidence[0].outcome == "not_matched"


def test_the_first_severity_rule_that_matches_counts() -> None:
    story = given(ingested(payment(amount=2_000_000)))
    found = only(story.when(normalized({"paymentId": "p1", "amountMinor": 2_000_000, "tier": "gold"})), TriageCompleted)
    assert (found.severity, found.priority_score) == ("HIGH", 90)


def test_a_severity_from_a_lookup() -> None:
    story = given(ingested())
    found = only(story.when(normalized({"amountMinor": 1, "tier": "gold"})), TriageCompleted)
    assert found.severity == "HIGH"


def test_a_rule_that_cannot_be_evaluated_does_not_match_and_says_so() -> None:
    found = only(given(ingested()).when(normalized({})), TriageCompleted)
    assert found.severity == "LOW"
    assert {e.outcome for e in found.decision.evidence if e.rule == "severity big"} == {"not_evaluable"}


def test_the_tenants_override_comes_before_every_rule() -> None:
    policy = policy_for("acme") + "customSeverityOverrides: [{exceptionType: PAYMENT_FAILURE, severity: CRITICAL}]\n"
    found = triage(given(ingested(), config=compiled(policy=policy)))
    assert found.severity == "CRITICAL"


def test_an_override_for_what_nobody_could_classify() -> None:
    policy = policy_for("acme") + "customSeverityOverrides: [{exceptionType: UNCLASSIFIED, severity: CRITICAL}]\n"
    found = triage(given(ingested(payment(code="?")), config=compiled(policy=policy)))
    assert (found.exception_type, found.severity) == ("UNCLASSIFIED", "CRITICAL")


def test_a_deadline_for_what_nobody_could_classify() -> None:
    policy = policy_for("acme") + "slaOverrides: [{exceptionType: UNCLASSIFIED, resolveWithin: 2h}]\n"
    found = triage(given(ingested(payment(code="?")), config=compiled(policy=policy)))
    assert found.resolve_by == NOW + timedelta(hours=2)


def test_deadline_and_warning_count_from_reception() -> None:
    found = triage(given(ingested(), timedelta(minutes=5)))
    assert found.resolve_by == NOW + timedelta(hours=4)
    assert found.warn_at == NOW + timedelta(hours=3, minutes=30)


def test_title_tags_and_queue_come_from_the_packs() -> None:
    found = triage(given(ingested()))
    assert (found.title, found.tags, found.queue) == ("Card declined for p1", ["retryable"], None)
    assert triage(given(ingested(payment(code="chargeback")))).queue == "disputes"


def test_a_title_that_cannot_be_rendered_leaves_the_one_there_is() -> None:
    assert only(given(ingested()).when(normalized({})), TriageCompleted).title is None


def test_without_a_configuration_nothing_is_known() -> None:
    found = triage(given(ingested(), config=None))
    assert (found.exception_type, found.confidence) == ("UNCLASSIFIED", 0.0)
    assert "no active pack" in str(found.decision.evidence)


def test_a_recurrence_that_makes_it_worse_is_triaged_again() -> None:
    found = given(ingested(), normalized(), triaged()).when(RECURRED)
    assert only(found, TriageCompleted).severity == "HIGH"


def test_a_recurrence_that_changes_nothing_says_nothing() -> None:
    assert given(ingested(), normalized(), triaged()).when(ExceptionRecurred(2, UUID(int=9), "psp")) == []


def test_a_type_that_is_not_looked_at_again_stays_as_it_is() -> None:
    story = given(ingested(payment(code="review")), normalized(), triaged("MANUAL_REVIEW", "MEDIUM", 1.0))
    assert story.when(RECURRED) == []


@pytest.mark.parametrize(
    "end", [ExceptionResolved("done"), ExceptionMerged(UUID(int=9), DECIDED)], ids=["resolved", "merged"]
)
def test_what_is_closed_is_left_alone(end: object) -> None:
    assert given(ingested(), By("user:jo", end)).when(normalized()) == []


def test_a_conflict_of_rules_is_decided_by_confidence_within_a_depth() -> None:
    rule = "detectionRules: [{id: refund, condition: 'rawPayload.code == \"refund_stuck\"'"
    domain = DOMAIN.replace(rule + "}]", rule + ", confidence: 0.5}]").replace(
        "detectionRules: [{id: review, condition: 'rawPayload.code == \"review\"'}]",
        "detectionRules: [{id: review, condition: 'rawPayload.code == \"refund_stuck\"', confidence: 0.9}]",
    )
    assert (
        triage(given(ingested(payment(code="refund_stuck")), config=compiled(domain))).exception_type == "MANUAL_REVIEW"
    )


def test_every_rule_tried_is_evidence() -> None:
    found = triage(given(ingested(payment(code="?"))))
    assert {e.rule for e in found.decision.evidence} >= {
        "detection CARD_DECLINED/declined",
        "severity big",
        "default severity",
    }
    assert names([found]) == ["TriageCompleted"]
