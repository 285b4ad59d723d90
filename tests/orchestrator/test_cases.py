"""Does `packs test` decide as production does, through the playbook to its end?"""

from typing import Any

import pytest
from sample_packs import DOMAIN, policy_for
from story import CONFIG, compiled, payment

from sentinai.orchestrator.cases import run_cases
from sentinai.packs.check import check
from sentinai.packs.document import parse
from sentinai.services.vocabulary import VOCABULARY
from sentinai.tools.gate import refusal


def differences(expected: dict[str, Any], config: Any = CONFIG, **case: Any) -> list[str]:
    given = {
        "name": "c",
        "input": {"sourceSystem": "psp", "rawPayload": case.pop("payload")},
        "expected": expected,
        **case,
    }
    (result,) = run_cases(config, {"testSuites": [{"name": "s", "cases": [given]}]}, refusal)
    return result.differences


RETRY = payment(retry=True)
REVIEW = payment(code="review")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"payload": payment()}, {"status": "RESOLVED", "owner": "payments-desk", "steps": {"note": "COMPLETED", "own": "COMPLETED", "close": "COMPLETED"}}),
        ({"payload": RETRY}, {"status": "IN_PROGRESS", "tools": ["retryCharge"], "steps": {"retry": "RUNNING"}}),
        ({"payload": RETRY, "answers": {"retryCharge": [{"status": "ok"}]}}, {"status": "RESOLVED", "notified": []}),
        ({"payload": RETRY, "answers": {"retryCharge": [{"status": "declined"}]}}, {"status": "ESCALATED", "notified": ["ops"]}),
        ({"payload": RETRY, "answers": {"retryCharge": [{"failed": "stolen"}]}}, {"status": "ESCALATED", "steps": {"retry": "FAILED"}}),
        ({"payload": RETRY, "answers": {"retryCharge": [{"unknown": "no answer"}]}}, {"status": "ESCALATED", "steps": {"retry": "RUNNING"}}),
        ({"payload": payment(code="chargeback")}, {"status": "AWAITING_APPROVAL", "policy": "NEEDS_APPROVAL", "steps": {}}),
        ({"payload": payment(code="chargeback"), "people": [{"approve": "fine"}]}, {"status": "RESOLVED"}),
        ({"payload": payment(code="chargeback"), "people": [{"reject": "no"}]}, {"status": "ESCALATED", "steps": {}}),
        ({"payload": REVIEW, "people": [{"complete": "look", "output": {"seen": True}}, {"approve": ""}]}, {"status": "RESOLVED"}),
        ({"payload": REVIEW, "people": [{"skip": "look"}, {"reject": "never"}]}, {"status": "ESCALATED", "steps": {"look": "SKIPPED", "ask": "FAILED"}}),
        ({"payload": payment(code="lost")}, {"status": "ESCALATED", "policy": "BLOCKED", "playbook": "shred", "tools": []}),
        ({"payload": payment(code="?")}, {"status": "ESCALATED", "exceptionType": "UNCLASSIFIED", "playbook": None}),
    ],
)  # fmt: skip
def test_a_case_is_played_to_where_it_comes_to_rest(case: dict[str, Any], expected: dict[str, Any]) -> None:
    assert differences(expected, **case) == []


def test_what_came_out_instead_is_said() -> None:
    assert differences({"status": "ESCALATED"}, payload=payment()) == ["status: expected 'ESCALATED', got 'RESOLVED'"]


def test_who_may_not_answer_in_production_may_not_here() -> None:
    found = differences({}, payload=payment(code="chargeback"), people=[{"approve": "", "by": "reporter"}])
    assert "may not answer" in found[0]


def test_an_input_that_the_tool_does_not_take_is_refused_as_in_production() -> None:
    config = compiled(
        DOMAIN.replace(
            "paymentId: {type: string}}}\n    outputSchema: {type: object, required: [status]",
            "paymentId: {type: integer}}}\n    outputSchema: {type: object, required: [status]",
        )
    )
    assert differences({"status": "ESCALATED", "steps": {"retry": "FAILED"}}, config, payload=RETRY) == []


def test_a_report_that_cannot_be_read_is_a_dead_letter_here_too() -> None:
    case = {"name": "c", "input": {"sourceSystem": "psp-batch", "rawPayload": {"failures": 7}}, "expected": {}}
    (result,) = run_cases(CONFIG, {"testSuites": [{"name": "s", "cases": [case]}]}, refusal)
    assert "must give a list" in result.differences[0]


@pytest.mark.parametrize(
    ("more", "finding"),
    [
        ("answers: {noSuchTool: []}", "there is no tool 'noSuchTool'"),
        ("people: [{}]", "say one of approve, reject, complete, skip, not 0 of them"),
        ("people: [{approve: a, reject: b}]", "not 2 of them"),
        ("people: [{aprove: a}]", "aprove"),
    ],
)
def test_a_case_that_says_nonsense_is_an_import_error(more: str, finding: str) -> None:
    case = "      - name: a declared thing\n        input: {sourceSystem: psp, rawPayload: {}}\n        expected: {}\n        "
    problems = check(parse(DOMAIN + case + more + "\n"), VOCABULARY)
    assert any(finding in p.detail for p in problems), problems
    assert all(p.line for p in problems)


def test_a_playbook_that_a_tenant_may_not_run_is_not_run() -> None:
    policy = policy_for("acme").replace("approvedTools: [retryCharge, refundAgain]", "approvedTools: []")
    expected = {"status": "ESCALATED", "policy": "BLOCKED", "tools": []}
    assert differences(expected, compiled(policy=policy), payload=RETRY) == []
