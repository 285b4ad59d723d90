"""Is what does not fit its type left out alone, and is nothing said that only follows from it?"""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from sample_packs import DOMAIN, policy_for

from sentinai.packs.check import check
from sentinai.packs.document import parse
from sentinai.packs.fit import Fit, fit
from sentinai.packs.model.domain_pack import DomainPack
from sentinai.packs.places import Placed, Places
from sentinai.services.vocabulary import VOCABULARY

Change = Callable[[dict[str, Any]], object]
REST = {"id": "late", "condition": "nobody"}
"""A rule with a fault of its own."""


@cache
def as_written(text: str) -> dict[str, Any]:
    return parse(text).content


def changed(text: str, change: Change) -> dict[str, Any]:
    content = copy.deepcopy(as_written(text))
    change(content)
    return content


def fitting(change: Change) -> Fit[DomainPack]:
    return fit(DomainPack, changed(DOMAIN, change), VOCABULARY)


def pointers(change: Change, text: str = DOMAIN) -> list[str]:
    problems = check(parse(msgspec.json.encode(changed(text, change))), VOCABULARY)
    return sorted(p.pointer for p in problems)


def test_a_good_pack_is_read_as_it_is_written() -> None:
    found = fitting(lambda _: None)
    assert found.violations == []
    assert [s.name for s in found.document.sources] == ["psp", "psp-batch"]
    assert found.document.exception_types["CARD_DECLINED"].detection_rules[0].confidence == 0.95


def test_an_optional_field_is_left_out_alone() -> None:
    found = fitting(lambda c: c["sources"][0].update(title=5))
    assert (found.document.sources[0].name, found.document.sources[0].title) == ("psp", None)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda c: c["severityRules"].insert(1, {"id": "x", "severity": "LOW"}), ["big", "often", "tier"]),
        (lambda c: c["severityRules"].insert(1, 5), ["big", "often", "tier"]),
        (lambda c: c["severityRules"][0].update(condition=5), ["often", "tier"]),
    ],
)
def test_an_entry_that_lacks_what_it_needs_is_left_out_alone(change: Change, names: list[str]) -> None:
    found = fitting(change)
    assert [rule.id for rule in found.document.severity_rules] == names
    assert len(found.violations) == 1


def test_what_a_pack_as_a_whole_lacks_is_taken_as_empty() -> None:
    found = fitting(lambda c: (c.pop("version"), c.update(exceptionTypes=[])))
    assert (found.document.version, found.document.exception_types) == ("", {})
    assert [v.pointer for v in found.violations if v.missing is None] == ["/exceptionTypes"]


def test_text_that_breaks_a_constraint_is_still_there_for_others() -> None:
    found = fitting(lambda c: c["sources"][0].update(name="a b"))
    assert found.document.sources[0].name == "a b"


def test_a_broken_entry_does_not_move_the_places_of_the_others() -> None:
    assert pointers(
        lambda c: (c["severityRules"].insert(0, 5), c["severityRules"].append({**REST, "severity": "LOW"}))
    ) == [
        "/severityRules/0",
        "/severityRules/4/condition",
    ]


ASK = {"name": "ask", "action": "request_approval", "onFailure": "CONTINUE", "params": {"reason": "why"}}
STEP = {"name": "x", "action": "add_comment", "params": {"text": "x"}}


def playbooks(*steps: Any, **more: Any) -> Change:
    return lambda c: c.update(playbooks=[{"name": "note-and-close", "steps": list(steps), **more}])


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda c: c["tools"]["retryCharge"].update(provider=5), "/tools/retryCharge/provider"),
        (lambda c: c["tools"].update(retryCharge=5), "/tools/retryCharge"),
        (lambda c: c["tools"]["retryCharge"].update(endpoint={"method": "POST"}), "/tools/retryCharge/endpoint"),
        (lambda c: c["tools"]["retryCharge"].update(outputSchema=5), "/tools/retryCharge/outputSchema"),
        (lambda c: c["tools"]["retryCharge"]["auth"].update(secret="not a name"), "/tools/retryCharge/auth/secret"),
        (lambda c: c["tools"]["retryCharge"]["auth"].update(secret=5), "/tools/retryCharge/auth/secret"),
        (lambda c: c.update(tools=5), "/tools"),
        (lambda c: c["playbooks"].append({**c["playbooks"][0], "name": "a", "match": 5}), "/playbooks/6/match"),
        (lambda c: c["playbooks"].append({**c["playbooks"][0], "name": "a", "priority": "low"}), "/playbooks/6/priority"),
        (lambda c: c["playbooks"].append({**c["playbooks"][0], "priority": 9, "version": "two"}), "/playbooks/6/version"),
        (lambda c: c["playbooks"][1]["steps"].insert(0, ASK) or c["playbooks"][1]["steps"][1].update(when=5), "/playbooks/1/steps/1/when"),
        (lambda c: c["exceptionTypes"].update(PAYMENT_FAILURE=5), "/exceptionTypes/PAYMENT_FAILURE"),
        (lambda c: c["exceptionTypes"]["CARD_DECLINED"].update(tags=5), "/exceptionTypes/CARD_DECLINED/tags"),
        (lambda c: c.update(exceptionTypes=5), "/exceptionTypes"),
        (lambda c: c["playbooks"][0].update(name=5), "/playbooks/0/name"),
        (lambda c: c["playbooks"][0].update(match=5), "/playbooks/0/match"),
        (lambda c: c["playbooks"][1].update(priority="high"), "/playbooks/1/priority"),
        (lambda c: c["playbooks"][1]["steps"][0].update(params=5), "/playbooks/1/steps/0/params"),
        (lambda c: c["playbooks"][1]["steps"][0].update(name=5), "/playbooks/1/steps/0/name"),
        (lambda c: c["playbooks"][1]["steps"].insert(0, 5), "/playbooks/1/steps/0"),
        (lambda c: c.update(playbooks=5), "/playbooks"),
        (lambda c: c.update(guardrails={"severityGates": {"URGENT": {"requireApproval": True}}}), "/guardrails/severityGates"),
        (lambda c: c.update(guardrails={"allowLists": {"tools": ["a b", "retryCharge"]}}), "/guardrails/allowLists/tools/0"),
    ],
)  # fmt: skip
def test_what_only_follows_from_a_broken_part_is_not_reported(change: Change, pointer: str) -> None:
    assert pointers(change) == [pointer]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda c: c["humanApprovalRules"][0].update(expiresAfter=8, onExpiry="REJECT"), "/humanApprovalRules/0/expiresAfter"),
        (lambda c: c["notifications"]["channels"].update(ops={"provider": "webhook", "url": 5}), "/notifications/channels/ops/url"),
        (lambda c: c.pop("approvedTools"), ""),
    ],
)  # fmt: skip
def test_the_same_holds_for_a_policy(change: Change, pointer: str) -> None:
    assert pointers(change, policy_for("acme")) == [pointer]


def test_a_misspelt_key_is_said_and_the_rest_of_its_entry_is_still_checked() -> None:
    change = playbooks({**STEP, "wehn": "true", "when": "nobody"})
    assert [p for p in pointers(change) if p.startswith("/playbooks")] == [
        "/playbooks/0/steps/0/wehn",
        "/playbooks/0/steps/0/when",
    ]


@pytest.mark.parametrize("number", [1e300, 2**40, -1, 1.5, "1"])
def test_a_number_that_is_none_of_the_kind_is_reported(number: Any) -> None:
    change = playbooks(STEP, version=number)
    assert [p for p in pointers(change) if p.startswith("/playbooks")] == ["/playbooks/0/version"]


def test_a_whole_number_may_be_written_with_a_fraction_of_zero() -> None:
    change = playbooks(STEP, version=3.0)
    assert fitting(change).document.playbooks[0].version == 3


def test_places_skip_what_was_left_out() -> None:
    places = Places(dropped=["/a/0", "/a/2", "/b/0"])
    assert list(places.of("xyz", "/a")) == [Placed("/a/1", "x"), Placed("/a/3", "y"), Placed("/a/4", "z")]


def test_a_value_is_whole_only_if_everything_below_it_was_read() -> None:
    places = Places(amiss=["/a/0/b~1c/d"])
    assert not places.whole("/a/0/b~1c")
    assert not places.whole("/a")
    assert places.whole("/a/1")
    assert places.hides("/a/0/b~1c/d/e")
    assert not places.hides("/a/0/b~1c")
