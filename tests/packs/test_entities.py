"""Is a misspelt attribute found wherever a pack that declares its entities reads one?"""

from typing import Any

import msgspec
import pytest

from sentinai.packs.check import check, check_pair
from sentinai.packs.document import parse
from sentinai.services.vocabulary import VOCABULARY

ENTITIES = {"Payment": {"attributes": {"paymentId": {"type": "string", "required": True}, "amountMinor": {"type": "integer", "unit": "cent"}}, "relations": []}}  # fmt: skip
SOURCE = {"name": "psp", "match": "true", "fields": {"paymentId": "${item.id}", "amountMinor": "${item.amount}"}}


def pack(**parts: Any) -> dict[str, Any]:
    head = {"kind": "DomainPack", "schemaVersion": 1, "domainName": "payments", "version": "1.0.0"}
    return {**head, "exceptionTypes": {"FAILURE": {}}, "entities": ENTITIES, "sources": [SOURCE], **parts}


def found(**parts: Any) -> list[tuple[str, str]]:
    return [(p.pointer, p.detail) for p in check(parse(msgspec.json.encode(pack(**parts))), VOCABULARY)]


def playbook(**step: Any) -> list[dict[str, Any]]:
    return [{"name": "a", "steps": [{"name": "b", "action": "add_comment", "params": {"text": "x"}, **step}]}]


def test_declared_attributes_may_be_read_everywhere() -> None:
    condition = 'has(normalizedContext.amountMinor) && normalizedContext["paymentId"] != ""'
    rules = [{"id": "a", "condition": condition, "severity": "LOW"}]
    assert found(severityRules=rules, playbooks=playbook(when=condition)) == []


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        (
            {"severityRules": [{"id": "a", "condition": "normalizedContext.amountMinr > 1", "severity": "LOW"}]},
            "/severityRules/0/condition",
        ),
        (
            {"severityRules": [{"id": "a", "condition": "true", "severity": "${normalizedContext.amountMinr}"}]},
            "/severityRules/0/severity",
        ),
        (
            {
                "exceptionTypes": {
                    "A": {"detectionRules": [{"id": "a", "condition": "has(normalizedContext.amountMinr)"}]}
                }
            },
            "/exceptionTypes/A/detectionRules/0/condition",
        ),
        ({"exceptionTypes": {"A": {"title": "x ${normalizedContext.?amountMinr}"}}}, "/exceptionTypes/A/title"),
        (
            {"playbooks": [{**playbook()[0], "match": {"when": 'normalizedContext["amountMinr"] > 1'}}]},
            "/playbooks/0/match/when",
        ),
        ({"playbooks": playbook(when='"amountMinr" in normalizedContext')}, "/playbooks/0/steps/0/when"),
        (
            {"playbooks": playbook(params={"text": "${normalizedContext.amountMinr}"})},
            "/playbooks/0/steps/0/params/text",
        ),
    ],
)
def test_a_misspelt_attribute_is_found_and_the_right_one_is_named(parts: dict[str, Any], pointer: str) -> None:
    ((at, detail),) = found(**parts)
    assert at == pointer
    assert "`amountMinr`: did you mean `amountMinor`?" in detail


def test_the_place_within_the_expression_is_named() -> None:
    rule = {"id": "a", "condition": 'rawPayload.a == 1 &&\n  normalizedContext.x == "y"', "severity": "LOW"}
    ((_, detail),) = found(severityRules=[rule])
    assert "there are amountMinor, paymentId (line 2, column 21 of the expression)" in detail


def test_a_name_inside_a_string_or_a_comment_is_no_attribute() -> None:
    condition = 'rawPayload.a == "normalizedContext.x" // normalizedContext.y'
    assert found(severityRules=[{"id": "a", "condition": condition, "severity": "LOW"}]) == []


def test_a_field_that_no_entity_declares_is_found() -> None:
    source = {**SOURCE, "fields": {"paymentID": "${item.id}"}}
    assert found(sources=[source]) == [
        ("/sources/0/fields/paymentID", "no entity declares the attribute `paymentID`: did you mean `paymentId`?")
    ]


@pytest.mark.parametrize("entities", [{}, {"Payment": {}}, {"Payment": {"attributes": {}}}])
def test_a_pack_without_attributes_may_name_its_fields_as_it_likes(entities: dict[str, Any]) -> None:
    rule = {"id": "a", "condition": "normalizedContext.anything == 1", "severity": "LOW"}
    assert found(entities=entities, severityRules=[rule]) == []


@pytest.mark.parametrize(
    ("attribute", "pointer"),
    [
        ({"type": "money"}, "/entities/Payment/attributes/x/type"),
        ({}, "/entities/Payment/attributes/x"),
        ({"type": "string", "required": "yes"}, "/entities/Payment/attributes/x/required"),
        ({"type": "string", "requird": True}, "/entities/Payment/attributes/x/requird"),
    ],
)
def test_a_broken_attribute_is_reported_and_still_a_name(attribute: dict[str, Any], pointer: str) -> None:
    entities = {"Payment": {"attributes": {**ENTITIES["Payment"]["attributes"], "x": attribute}}}
    source = {**SOURCE, "fields": {"x": "${item.x}"}}
    assert [at for at, _ in found(entities=entities, sources=[source])] == [pointer]


def test_where_names_cannot_be_read_nothing_is_said_about_them() -> None:
    rule = {"id": "a", "condition": "normalizedContext.x == 1", "severity": "LOW"}
    assert [at for at, _ in found(sources=[{**SOURCE, "fields": 5}], severityRules=[rule])] == ["/sources/0/fields"]
    assert [at for at, _ in found(entities=5, severityRules=[rule])] == ["/entities"]


def test_a_policy_is_held_to_the_attributes_of_its_domain() -> None:
    policy = {"kind": "TenantPolicyPack", "schemaVersion": 1, "tenantId": "acme", "domainName": "payments", "version": "1.0.0", "approvedTools": []}  # fmt: skip
    rules = [{"when": "normalizedContext.amountMinr > 1"}]
    steps = playbook(when="normalizedContext.amountMinr > 1")
    problems = check_pair(pack(), {**policy, "humanApprovalRules": rules, "customPlaybooks": steps}, VOCABULARY)
    assert [p.pointer for p in problems] == ["/humanApprovalRules/0/when", "/customPlaybooks/0/steps/0/when"]
    assert check_pair(pack(entities={}), {**policy, "humanApprovalRules": rules}, VOCABULARY) == []
