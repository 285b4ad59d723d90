"""What does a tenant's configuration say after both packs are compiled?"""

from typing import Any

import pytest
from sample_packs import DOMAIN, policy_for

from sentinai.errors import Rejected
from sentinai.packs.compile import compile_pair, compile_tool
from sentinai.packs.document import parse
from sentinai.packs.effective import EffectiveConfig
from sentinai.packs.expressions import Scope, activation

NOTE = {"name": "note", "action": "add_comment", "params": {"text": "x"}}


def merged(domain: dict[str, Any] | None = None, policy: dict[str, Any] | None = None) -> EffectiveConfig:
    """The sample pair with some of its top-level parts replaced."""
    return compile_pair(parse(DOMAIN).content | (domain or {}), parse(policy_for("acme")).content | (policy or {}))


def test_the_same_pair_has_the_same_hash_in_whatever_order_it_is_written() -> None:
    content = parse(DOMAIN).content
    turned = compile_pair(dict(reversed(content.items())), parse(policy_for("acme")).content)
    assert turned.hash == merged().hash


@pytest.mark.parametrize(("domain", "policy"), [({"version": "1.0.1"}, {}), ({}, {"policyTags": ["us"]})])
def test_another_pair_has_another_hash(domain: dict[str, Any], policy: dict[str, Any]) -> None:
    assert merged(domain, policy).hash != merged().hash


def test_the_hash_of_a_pair_is_the_same_in_every_release() -> None:
    """Events and running exceptions name it; it was computed by the release that wrote the first of them."""
    domain = {"kind": "DomainPack", "schemaVersion": 1, "domainName": "payments", "version": "1.0.0", "exceptionTypes": {"FAILURE": {"severity": "LOW"}}}  # fmt: skip
    policy = {"kind": "TenantPolicyPack", "schemaVersion": 1, "tenantId": "acme", "domainName": "payments", "version": "1.0.0", "approvedTools": []}  # fmt: skip
    assert compile_pair(domain, policy).hash == "d160bbc53bf4e23148c5815dc79db02c0ca3e89f06f6fb1c00cf7704d3627b33"


ASK = {"name": "ask", "action": "request_approval", "mode": "human", "onFailure": "CONTINUE", "params": {"reason": "x", "onExpiry": "REJECT"}}  # fmt: skip
CALL = {"name": "call", "action": "call_tool", "params": {"tool": "no such tool"}}


@pytest.mark.parametrize(
    ("domain", "policy"),
    [
        ({"entities": {"Payment": {"attributes": {"a": {}, "b": {"type": "money", "since": 1999}}}}}, {}),
        ({"entities": {"Payment": {"attributes": {"a": {"type": "string"}}}}, "sources": [{"name": "psp", "match": "true", "fields": {"b": 1}}]}, {}),
        ({"playbooks": [{"name": "a b", "version": 2**40, "steps": [ASK, CALL]}]}, {}),
        ({"playbooks": [{"name": "a", "version": 3.0, "priority": 1e3, "steps": [NOTE]}]}, {}),
        ({"testSuites": [{"name": "s", "cases": 5}], "somethingNew": True}, {}),
        ({}, {"humanApprovalRules": [{"onExpiry": "REJECT", "approvers": 99}]}),
    ],
)  # fmt: skip
def test_a_stored_pack_compiles_even_if_its_like_is_not_accepted_any_more(
    domain: dict[str, Any], policy: dict[str, Any]
) -> None:
    assert merged(domain, policy).hash != merged().hash


def test_names_and_versions_come_from_the_packs() -> None:
    config = merged()
    assert (config.tenant_id, config.domain, config.domain_version, config.policy_version) == (
        "acme",
        "payments",
        "1.0.0",
        "1.0.0",
    )


def test_a_type_inherits_what_it_does_not_say() -> None:
    types = {
        "ROOT": {"severity": "HIGH", "title": "${domain}", "sla": {"resolveWithin": "4h", "warnBefore": "30m"}},
        "MIDDLE": {"parentType": "ROOT", "severity": "LOW"},
        "LEAF": {"parentType": "MIDDLE"},
        "ALONE": {},
    }
    found = merged({"exceptionTypes": types}).types
    assert found["LEAF"].lineage == ("LEAF", "MIDDLE", "ROOT")
    assert (found["LEAF"].depth, found["LEAF"].severity) == (2, "LOW")
    assert found["LEAF"].title is not None
    assert found["LEAF"].sla == found["ROOT"].sla
    assert (found["ALONE"].severity, found["ALONE"].sla, found["ALONE"].title) == (None, None, None)


def test_types_are_tried_deepest_first_then_in_the_order_of_the_pack() -> None:
    types = {"A": {}, "B": {"parentType": "A"}, "C": {}, "D": {"parentType": "B"}, "E": {"parentType": "C"}}
    assert [t.name for t in merged({"exceptionTypes": types}).types_by_depth] == ["D", "B", "E", "A", "C"]


def deadlines(*overrides: dict[str, Any]) -> dict[str, tuple[float, float | None] | None]:
    types = {
        "ROOT": {"sla": {"resolveWithin": "4h", "warnBefore": "30m"}},
        "NEAR": {"parentType": "ROOT", "sla": {"resolveWithin": "1h"}},
        "FAR": {"parentType": "ROOT"},
    }
    found = merged({"exceptionTypes": types}, {"slaOverrides": list(overrides)}).types
    return {n: (t.sla.resolve_within_s, t.sla.warn_before_s) if t.sla else None for n, t in found.items()}


def test_a_tenant_changes_a_deadline_and_keeps_the_warning() -> None:
    assert deadlines({"exceptionType": "ROOT", "resolveWithin": "2h"}) == {
        "ROOT": (7200, 1800),
        "NEAR": (3600, None),
        "FAR": (7200, 1800),
    }


def test_a_tenants_deadline_for_a_type_leaves_the_parent_alone() -> None:
    found = deadlines({"exceptionType": "FAR", "resolveWithin": "3h", "warnBefore": "1h"})
    assert (found["ROOT"], found["FAR"]) == ((14_400, 1800), (10_800, 3600))


def test_a_warning_that_would_come_before_the_report_is_left_out() -> None:
    assert deadlines({"exceptionType": "FAR", "resolveWithin": "20m"})["FAR"] == (1200, None)


def test_guardrails_of_both_packs_hold() -> None:
    limits = {
        "allowLists": {"tools": ["retryCharge", "refundAgain"], "actions": ["notify"]},
        "blockLists": {"tools": ["shredFile"]},
        "severityGates": {"CRITICAL": {"requireApproval": True}},
        "humanApprovalThreshold": 0.5,
    }
    own = {
        "allowLists": {"tools": ["retryCharge"]},
        "blockLists": {"tools": ["refundAgain"], "actions": ["set_status"]},
        "severityGates": {"HIGH": {"requireApproval": True}},
        "humanApprovalThreshold": 0.9,
    }
    guard = merged({"guardrails": limits}, {"customGuardrails": own}).guardrails
    assert guard.allowed_tools == {"retryCharge"}
    assert guard.allowed_actions == {"notify"}
    assert guard.blocked_tools == {"shredFile", "refundAgain"}
    assert guard.blocked_actions == {"set_status"}
    assert guard.gated_severities == {"CRITICAL", "HIGH"}
    assert guard.human_approval_threshold == 0.9


def test_an_absent_allow_list_restricts_nothing_and_an_empty_one_allows_nothing() -> None:
    guard = merged({"guardrails": {"allowLists": {"actions": []}}}, {"customGuardrails": {}}).guardrails
    assert guard.allowed_tools is None
    assert guard.allowed_actions == frozenset()
    assert guard.human_approval_threshold == 0


def test_the_best_playbook_comes_first() -> None:
    def playbook(name: str, priority: int = 0, version: int = 1, **match: Any) -> dict[str, Any]:
        return {"name": name, "priority": priority, "version": version, "match": match, "steps": [NOTE]}

    domain = [
        playbook("plain"),
        playbook("newer", version=2),
        playbook("narrow", exceptionTypes=["LOST"]),
        playbook("narrower", exceptionTypes=["LOST"], when="true"),
        playbook("urgent", priority=9),
    ]
    config = merged({"playbooks": domain}, {"customPlaybooks": [playbook("own")]})
    assert [p.name for p in config.playbooks] == ["urgent", "own", "narrower", "narrow", "newer", "plain"]


def test_what_a_playbook_does_not_say_has_its_default() -> None:
    (playbook,) = merged({"playbooks": [{"name": "a", "steps": [NOTE]}]}).playbooks
    (step,) = playbook.steps
    assert (playbook.version, playbook.priority, playbook.description, playbook.match.specificity) == (1, 0, "", 0)
    assert (step.mode, step.on_failure, step.when) == ("auto", "ESCALATE", None)


def test_what_an_approval_rule_does_not_say_has_its_default() -> None:
    first, second = merged(
        policy={"humanApprovalRules": [{"id": "own"}, {"approvers": 3, "expiresAfter": "8h"}]}
    ).approval_rules
    assert (first.id, first.require_approval, first.approvers, first.expires_after_s) == ("own", True, 1, None)
    assert (second.id, second.approvers, second.expires_after_s, second.on_expiry) == ("#2", 3, 28_800, "ESCALATE")


def test_a_tool_is_shown_as_it_was_declared() -> None:
    declared = {"provider": "log", "inputSchema": {}, "description": ""}
    assert compile_tool("note", declared).definition == declared


def test_a_critical_exception_waits_for_a_person_unless_the_policy_says_otherwise() -> None:
    assert not merged().auto_action_on_critical
    assert merged(policy={"autoActionOnCritical": True}).auto_action_on_critical


@pytest.mark.parametrize(
    ("declared", "attempts", "delay_s"),
    [
        ({}, 1, 1.0),
        ({"idempotent": True}, 3, 1.0),
        ({"retry": {"maxAttempts": 5, "firstDelay": "2s"}}, 5, 2.0),
        ({"idempotent": True, "retry": {"maxAttempts": 1}}, 1, 1.0),
    ],
)
def test_only_an_idempotent_tool_is_tried_again_by_itself(
    declared: dict[str, Any], attempts: int, delay_s: float
) -> None:
    retry = compile_tool("note", {"provider": "log", "inputSchema": {}, **declared}).retry
    assert (retry.max_attempts, retry.first_delay_s) == (attempts, delay_s)


def test_an_endpoint_posts_within_ten_seconds_by_default() -> None:
    declared = {"provider": "http", "inputSchema": {}, "endpoint": {"url": "https://psp.example.com/${input.id}"}}
    endpoint = compile_tool("charge", declared).endpoint
    assert endpoint is not None
    assert (endpoint.method, endpoint.timeout_s, endpoint.body) == ("POST", 10.0, None)
    assert endpoint.url.render(activation(Scope.TOOL, {"input": {"id": "p1"}})) == "https://psp.example.com/p1"


def test_sensitive_paths_are_below_the_item() -> None:
    sources = [{"name": "a", "match": "true", "sensitive": ["item.card.number", "rawPayload.email", "cards.*.pan"]}]
    assert merged({"sources": sources}).sources[0].sensitive == (("card", "number"), ("email",), ("cards", "*", "pan"))


def test_a_pack_that_was_not_checked_is_rejected() -> None:
    with pytest.raises(Rejected):
        merged({"sources": [{"name": "a", "match": "nobody"}]})
