"""Which packs are accepted, and is everything that is wrong with the others said at once, with its place?"""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_packs import DOMAIN, policy_for

from sentinai.errors import Problem, Rejected
from sentinai.packs.check import check, check_pair, check_tool, load
from sentinai.packs.compile import compile_pair
from sentinai.packs.document import parse
from sentinai.services.vocabulary import VOCABULARY

SMALL = """kind: DomainPack
schemaVersion: 1
domainName: payments
version: 1.0.0
exceptionTypes:
  FAILURE: {severity: LOW}
"""
POLICY = """kind: TenantPolicyPack
schemaVersion: 1
tenantId: acme
domainName: payments
version: 1.0.0
approvedTools: []
"""

TEN_ERRORS = """kind: DomainPack
schemaVersion: 1
domainName: payments
version: 1.0
sources:
  - {name: psp, match: sourceSystem == nobody, dedupWindow: 1 day}
exceptionTypes:
  FAILURE: {severity: HUGE}
  DECLINED:
    parentType: NO_SUCH
    detectionRules:
      - {id: a, condition: 'rawPayload.code == "x"'}
      - {id: a, condition: '1 + 1'}
tools:
  charge:
    provider: http
    inputSchema: {type: objekt}
    outputSchema: {type: object}
    endpoint: {url: 'http://psp.example.com/charge', timeout: 31s}
playbooks:
  - name: one
    match: {exceptionTypes: [NOBODY]}
    steps:
      - {name: call, action: call_tool, params: {tool: nothing}}
      - {name: tell, action: shout, compensate: {}}
      - {name: note, action: add_comment, params: {text: '${steps.later.output}'}}
"""


def domain(change: Callable[[dict[str, Any]], object]) -> list[Problem]:
    """The problems of the sample domain pack after a change."""
    content = copy.deepcopy(parse(DOMAIN).content)
    change(content)
    return check(parse(msgspec.json.encode(content)), VOCABULARY)


def policy(change: Callable[[dict[str, Any]], object]) -> list[Problem]:
    content = copy.deepcopy(parse(policy_for("acme")).content)
    change(content)
    return check(parse(msgspec.json.encode(content)), VOCABULARY)


def put(path: str, value: Any) -> Callable[[dict[str, Any]], object]:
    """Sets the value at a JSON pointer."""

    def change(content: dict[str, Any]) -> None:
        *parents, last = path.strip("/").split("/")
        holder: Any = content
        for key in parents:
            holder = holder[int(key)] if isinstance(holder, list) else holder[key]
        holder[int(last) if isinstance(holder, list) else last] = value

    return change


@pytest.mark.parametrize("text", [DOMAIN, policy_for("acme"), SMALL, POLICY])
def test_a_good_pack_has_no_problems(text: str) -> None:
    assert check(load(text, VOCABULARY), VOCABULARY) == []


def test_the_example_that_shows_the_whole_format_is_accepted() -> None:
    folder = Path(__file__).parent / "format_example"
    packs = [load((folder / name).read_bytes(), VOCABULARY).content for name in ("domain.yaml", "policy.yaml")]
    assert check_pair(*packs, VOCABULARY) == []
    assert compile_pair(*packs).playbooks[0].name == "retry-then-notify"


def test_all_errors_of_a_pack_are_reported_at_once_with_line_and_column() -> None:
    with pytest.raises(Rejected) as caught:
        load(TEN_ERRORS, VOCABULARY)
    found = {(p.pointer, p.line, p.column) for p in caught.value.problems}
    assert found == {
        ("/version", 4, 10),
        ("/sources/0/match", 6, 24),
        ("/sources/0/dedupWindow", 6, 61),
        ("/exceptionTypes/FAILURE/severity", 8, 23),
        ("/exceptionTypes/DECLINED/parentType", 10, 17),
        ("/exceptionTypes/DECLINED/detectionRules/1/id", 13, 14),
        ("/exceptionTypes/DECLINED/detectionRules/1/condition", 13, 28),
        ("/tools/charge/inputSchema", 17, 18),
        ("/tools/charge/endpoint/url", 19, 21),
        ("/tools/charge/endpoint/timeout", 19, 63),
        ("/playbooks/0/match/exceptionTypes/0", 22, 30),
        ("/playbooks/0/steps/0/params/tool", 24, 56),
        ("/playbooks/0/steps/1/action", 25, 30),
        ("/playbooks/0/steps/1/compensate", 25, 49),
        ("/playbooks/0/steps/2", 26, 9),
    }
    places = [(p.line, p.column) for p in caught.value.problems]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("path", "value", "pointer", "detail"),
    [
        ("/exceptionTypes/LOST/parentType", "LOST", None, "its own ancestor"),
        ("/exceptionTypes/PAYMENT_FAILURE/parentType", "CHARGEBACK", None, "its own ancestor"),
        ("/exceptionTypes/LOST/parentType", "NOBODY", None, "there is no type 'NOBODY'"),
        ("/exceptionTypes/UNCLASSIFIED", {}, None, "the platform's own word"),
        ("/exceptionTypes/LOST/title", "${nobody}", None, "undeclared reference"),
        ("/exceptionTypes/LOST/sla", {"resolveWithin": "0s"}, "/exceptionTypes/LOST/sla/resolveWithin", "longer than"),
        (
            "/exceptionTypes/LOST/sla",
            {"resolveWithin": "1h", "warnBefore": "1h"},
            "/exceptionTypes/LOST/sla/warnBefore",
            "shorter than resolveWithin",
        ),
        ("/sources/1/name", "psp", None, "there twice"),
        ("/sources/0/items", "rawPayload.", None, "Syntax error"),
        ("/sources/0/fields/tier", "${item.", None, "without its `}`"),
        ("/sources/0/dedupWindow", "99999d", None, "longer than ten years"),
        ("/severityRules/1/id", "big", None, "there twice"),
        ("/severityRules/0/severity", "URGENT", None, "is not one of LOW"),
        ("/severityRules/0/condition", "occurrences", None, "has to be a bool"),
        ("/tools/shredFile/provider", "http", "/tools/shredFile", "needs an endpoint"),
        ("/tools/retryCharge/auth", {"type": "bearer"}, None, "needs a secret's name"),
        ("/tools/retryCharge/inputSchema", {"$ref": "http://127.0.0.1:1/x"}, None, "not a valid JSON Schema"),
        ("/tools/retryCharge/outputSchema", {"pattern": "("}, None, "not a valid JSON Schema"),
        ("/tools/retryCharge/endpoint/url", "https://${input.host}/", None, "the host cannot be computed"),
        (
            "/tools/retryCharge/endpoint/headers",
            {"Authorization": "Bearer x"},
            "/tools/retryCharge/endpoint/headers/Authorization",
            "use `auth`",
        ),
        ("/tools/retryCharge/retry/firstDelay", "4000d", None, "longer than ten years"),
        ("/guardrails/allowLists", {"tools": ["x"]}, "/guardrails/allowLists/tools/0", "there is no tool 'x'"),
        ("/guardrails/blockLists", {"actions": ["x"]}, "/guardrails/blockLists/actions/0", "there is no action 'x'"),
        ("/testSuites/0/cases/0/expected/exceptionType", "NOBODY", None, "there is no type"),
        ("/testSuites/0/cases/0/expected/playbook", "nobody", None, "there is no playbook"),
        ("/description", "key AKIAABCDEFGHIJKLMNOP", None, "looks like a secret"),
        ("/lookups/a", {"b~/c": ["ghp_" + "a" * 30]}, "/lookups/a/b~0~1c/0", "looks like a secret"),
    ],
)
def test_a_domain_pack_that_does_not_hold_together_is_refused(
    path: str, value: Any, pointer: str | None, detail: str
) -> None:
    found = [p for p in domain(put(path, value)) if p.pointer == (pointer or path)]
    assert any(detail in p.detail for p in found)


@pytest.mark.parametrize(
    ("path", "value", "detail"),
    [
        ("/humanApprovalRules/0/when", "rawPayload.", "Syntax error"),
        ("/humanApprovalRules/0/approvers", 11, "11 is greater than the maximum of 10"),
        ("/humanApprovalRules/0/approvers", 0, "0 is less than the minimum of 1"),
        ("/humanApprovalRules/0", {"onExpiry": "REJECT"}, "decides nothing: without expiresAfter"),
        ("/routing/0/when", "1", "has to be a bool"),
        ("/notifications/channels/ops/provider", "pigeon", "is not one of"),
        ("/notifications/channels/ops/url", "http://hooks.example.com", "has to be https"),
        ("/approvedTools", ["a b"], "does not match"),
        ("/customGuardrails/humanApprovalThreshold", 1.5, "1.5 is greater than the maximum of 1"),
        ("/customPlaybooks", [{"name": "a", "steps": [{"name": "b", "action": "wait"}]}], "not supported"),
        ("/slaOverrides", [{"exceptionType": "A", "resolveWithin": "1h"}] * 2, "there twice"),
    ],
)
def test_a_policy_pack_that_does_not_hold_together_is_refused(path: str, value: Any, detail: str) -> None:
    found = [p for p in policy(put(path, value)) if p.pointer.startswith(path)]
    assert any(detail in p.detail for p in found)


@pytest.mark.parametrize("approvers", [1, 2, 10])
def test_several_people_may_have_to_agree(approvers: int) -> None:
    assert policy(put("/humanApprovalRules/0/approvers", approvers)) == []


def test_a_webhook_channel_needs_a_url() -> None:
    assert [p.detail for p in policy(put("/notifications/channels/ops", {"provider": "webhook"}))] == [
        "a webhook needs a url"
    ]


def test_a_broken_part_does_not_hide_what_is_wrong_elsewhere() -> None:
    problems = domain(lambda c: (put("/sources/0", 5)(c), put("/exceptionTypes/LOST/parentType", "NOBODY")(c)))
    assert [p.pointer for p in problems] == ["/sources/0", "/exceptionTypes/LOST/parentType"]


PAIRS = [
    ({"domainName": "other"}, "/domainName"),
    ({"approvedTools": ["nothing"]}, "/approvedTools/0"),
    ({"customSeverityOverrides": [{"exceptionType": "NOBODY", "severity": "LOW"}]}, "/customSeverityOverrides/0/exceptionType"),
    ({"slaOverrides": [{"exceptionType": "NOBODY", "resolveWithin": "1h"}]}, "/slaOverrides/0/exceptionType"),
    ({"humanApprovalRules": [{"exceptionType": "NOBODY"}]}, "/humanApprovalRules/0/exceptionType"),
    ({"customGuardrails": {"blockLists": {"tools": ["nothing"]}}}, "/customGuardrails/blockLists/tools/0"),
    ({"customGuardrails": {"humanApprovalThreshold": 0.4}}, "/customGuardrails/humanApprovalThreshold"),
    ({"notifications": {"channels": {}}}, "/notifications/channels"),
    ({"customPlaybooks": [{"name": "a", "match": {"exceptionTypes": ["NOBODY"]}, "steps": [{"name": "a", "action": "add_comment", "params": {"text": "x"}}]}]}, "/customPlaybooks/0/match/exceptionTypes/0"),
    ({"customPlaybooks": [{"name": "a", "steps": [{"name": "a", "action": "notify", "params": {"channel": "x", "message": "y"}}]}]}, "/notifications/channels"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "pointer"), PAIRS)
def test_a_policy_that_does_not_fit_its_domain_is_refused(change: dict[str, Any], pointer: str) -> None:
    content = parse(policy_for("acme")).content | change
    assert {p.pointer for p in check_pair(parse(DOMAIN).content, content, VOCABULARY)} == {pointer}


def test_a_policy_that_fits_its_domain_has_no_problems() -> None:
    assert check_pair(parse(DOMAIN).content, parse(policy_for("acme")).content, VOCABULARY) == []


@pytest.mark.parametrize(
    ("limits", "loosened"),
    [
        ({"humanApprovalThreshold": 0.8}, {"humanApprovalThreshold": 0.7}),
        ({"allowLists": {"tools": ["retryCharge"]}}, {"allowLists": {"tools": ["refundAgain", "retryCharge"]}}),
        (
            {"severityGates": {"HIGH": {"requireApproval": True}}},
            {"severityGates": {"HIGH": {"requireApproval": False}}},
        ),
    ],
)
def test_guardrails_loosen_only_where_the_domain_says_so(limits: dict[str, Any], loosened: dict[str, Any]) -> None:
    pack, own = parse(DOMAIN).content, parse(policy_for("acme")).content | {"customGuardrails": loosened}
    assert len(check_pair(pack | {"guardrails": limits}, own, VOCABULARY)) == 1
    assert check_pair(pack | {"guardrails": limits | {"overridable": list(limits)}}, own, VOCABULARY) == []


def test_guardrails_may_tighten() -> None:
    limits = {"humanApprovalThreshold": 0.5, "allowLists": {"tools": ["retryCharge", "refundAgain"]}}
    tighter = {"humanApprovalThreshold": 0.6, "allowLists": {"tools": []}, "severityGates": {"LOW": {"requireApproval": True}}}  # fmt: skip
    own = parse(policy_for("acme")).content | {"customGuardrails": tighter}
    assert check_pair(parse(DOMAIN).content | {"guardrails": limits}, own, VOCABULARY) == []


def test_a_tool_registered_by_itself_is_checked_like_one_in_a_pack() -> None:
    good = {"provider": "log", "inputSchema": {"type": "object"}}
    assert check_tool("note", good, VOCABULARY) == []
    assert [p.pointer for p in check_tool("note", {**good, "inputSchema": 1}, VOCABULARY)] == [
        "/definition/inputSchema"
    ]
    assert [p.pointer for p in check_tool("note", {**good, "provider": "http"}, VOCABULARY)] == [
        "/definition",
        "/definition",
    ]
    assert [p.pointer for p in check_tool("note", {**good, "extra": 1}, VOCABULARY)] == ["/definition/extra"]


VALUES = st.sampled_from(
    [None, 1, -1.5, True, "", "x", "${", "${nobody}", [], {}, [1], {"a": 1}, [None], [[]], "*" * 30, ["x", "x"], 10**18,
     {"$ref": "file:///x"}, "7d", "https://${input.h}/"]
)  # fmt: skip


def _paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before, *(path for key, part in inner for path in _paths(part, (*before, key)))]


@settings(max_examples=25 if os.environ.get("SENTINAI_TEST_LONG") is None else 500)
@given(st.data())
def test_a_pack_with_any_value_replaced_is_refused_with_places_or_can_be_merged(data: st.DataObject) -> None:
    packs = [copy.deepcopy(parse(DOMAIN).content), copy.deepcopy(parse(policy_for("acme")).content)]
    changed = data.draw(st.integers(0, 1))
    *parents, last = data.draw(st.sampled_from(_paths(packs[changed])[1:]))
    holder: Any = packs[changed]
    for key in parents:
        holder = holder[key]
    holder[last] = data.draw(VALUES)
    try:
        packs[changed] = load(msgspec.json.encode(packs[changed]), VOCABULARY).content
    except Rejected as error:
        assert [p for p in error.problems if not p.line or not p.column] == []  # noqa: PT017
        return
    if not check_pair(*packs, VOCABULARY):
        compile_pair(*packs)
