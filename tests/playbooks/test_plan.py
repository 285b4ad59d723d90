"""To what is a yes bound? When does a playbook fit?"""

from datetime import timedelta
from typing import Any

import pytest
from sample_packs import DOMAIN, policy_for
from story import NOW, Story, compiled, given, ingested, normalized, payment, triaged

from sentinai.orchestrator.fold import blank
from sentinai.packs.facts import DecisionFacts
from sentinai.playbooks.matching import choose_playbook, find_playbook
from sentinai.playbooks.plan import plan_of


def bound(story: Story, name: str = "charge-again", config: Any = None) -> str:
    config = config or story.own
    playbook = find_playbook(config, name, 1)
    assert playbook is not None
    return plan_of(config, playbook, story.state)


def triaged_story(context: dict[str, Any] | None = None, **triage: Any) -> Story:
    return given(ingested(payment(retry=True)), normalized(context), triaged(**triage))


def test_the_same_plan_is_the_same_whenever_it_is_looked_at() -> None:
    story = triaged_story()
    before = bound(story)
    story.now += timedelta(days=2)
    story.state.occurrences = 4
    assert bound(story) == before


@pytest.mark.parametrize(
    "other",
    [
        triaged_story(severity="CRITICAL"),
        triaged_story(kind="CHARGEBACK"),
        triaged_story({"paymentId": "p2", "amountMinor": 500, "tier": "standard"}),
    ],
    ids=["severity", "type", "input"],
)
def test_another_severity_type_or_input_is_another_plan(other: Story) -> None:
    assert bound(other) != bound(triaged_story())


def test_another_playbook_or_configuration_is_another_plan() -> None:
    story = triaged_story()
    assert bound(story, "refund") != bound(story)
    stricter = compiled(policy=policy_for("acme").replace("policyTags: [eu]", "policyTags: [us]"))
    assert bound(story, config=stricter) != bound(story)


def test_an_input_that_depends_on_a_step_is_not_known_yet_and_does_not_change_the_plan() -> None:
    domain = DOMAIN.replace(
        "params: {channel: ops, message: 'Still", "params: {channel: ops, message: '${steps.retry.output.status} Still"
    )
    assert bound(triaged_story(), config=compiled(domain))


def fits(match: str, kind: str = "CARD_DECLINED", severity: str = "LOW", **payload: Any) -> bool:
    domain = DOMAIN.replace("match: {exceptionTypes: [LOST]}", f"priority: 99\n    match: {match}")
    config = compiled(domain)
    state = blank("acme", Story().state.exception_id)
    state.exception_type, state.severity, state.raw_payload = kind, severity, payment(**payload)
    state.occurred_at = state.received_at = NOW
    chosen, _ = choose_playbook(config, state, DecisionFacts(state, config, NOW))
    return chosen is not None and chosen.name == "shred"


@pytest.mark.parametrize(
    ("match", "kind", "expected"),
    [
        ("{}", "CARD_DECLINED", True),
        ("{}", "UNCLASSIFIED", False),
        ("{exceptionTypes: [UNCLASSIFIED]}", "UNCLASSIFIED", True),
        ("{exceptionTypes: [UNCLASSIFIED]}", "CARD_DECLINED", False),
        ("{exceptionTypes: [PAYMENT_FAILURE]}", "CARD_DECLINED", True),
        ("{exceptionTypes: [CARD_DECLINED]}", "PAYMENT_FAILURE", False),
        ("{exceptionTypes: [CHARGEBACK, CARD_DECLINED]}", "CARD_DECLINED", True),
        ("{severities: [HIGH]}", "CARD_DECLINED", False),
        ("{severities: [LOW, HIGH]}", "CARD_DECLINED", True),
        ("{when: 'occurrences == 1'}", "CARD_DECLINED", True),
        ("{when: 'occurrences > 1'}", "CARD_DECLINED", False),
        ("{when: 'rawPayload.missing == 1'}", "CARD_DECLINED", False),
        ("{exceptionTypes: [CARD_DECLINED], severities: [LOW], when: 'tags == []'}", "CARD_DECLINED", True),
    ],
)
def test_a_playbook_fits_when_all_its_criteria_do(match: str, kind: str, expected: bool) -> None:
    assert fits(match, kind) is expected
