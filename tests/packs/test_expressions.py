"""What do conditions and templates accept, refuse and answer?"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinai.errors import Rejected
from sentinai.packs.expressions import VARIABLES, Activation, Condition, Scope, Template, activation, split_template

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
VALUES: dict[str, Any] = {
    "tenantId": "acme",
    "domain": "payments",
    "sourceSystem": "psp",
    "exceptionType": "CARD_DECLINED",
    "severity": "LOW",
    "confidence": 0.5,
    "rawPayload": {"n": 1, "text": "x}", "list": [1, 2, 3], "none": None, "long": list(range(20_000))},
    "item": {"id": "p1"},
    "normalizedContext": {},
    "tags": ["retryable"],
    "policyTags": [],
    "lookups": {"tier": {"gold": "HIGH"}},
    "occurrences": 2,
    "occurredAt": NOW,
    "receivedAt": NOW,
    "now": NOW,
    "sla": {"minutesRemaining": 30},
    "steps": {"retry": {"output": {"status": "ok"}, "status": "COMPLETED"}},
    "input": {"paymentId": "p1"},
}


def facts(scope: Scope = Scope.SOURCE, **changed: Any) -> Activation:
    return activation(scope, VALUES | changed)


def rendered(value: Any, **changed: Any) -> Any:
    return Template.compile(value, Scope.SOURCE).render(facts(**changed))


@pytest.mark.parametrize("scope", Scope)
def test_every_variable_of_a_scope_can_be_read(scope: Scope) -> None:
    for name in VARIABLES[scope]:
        assert Condition.compile(f"{name} == {name}", scope).test(facts(scope)) == (True, None)


@pytest.mark.parametrize(
    ("text", "scope"),
    [("item.id == ''", Scope.DECISION), ("steps.a.status == ''", Scope.DECISION), ("now", Scope.TOOL)],
)
def test_a_variable_of_another_scope_is_not_declared(text: str, scope: Scope) -> None:
    with pytest.raises(Rejected, match="undeclared reference"):
        Condition.compile(text, scope)


def test_an_activation_needs_every_variable() -> None:
    with pytest.raises(KeyError):
        activation(Scope.SOURCE, {"tenantId": "acme"})


def test_a_compile_error_names_line_and_column() -> None:
    with pytest.raises(Rejected) as caught:
        Condition.compile("true\n  && nobody", Scope.SOURCE)
    assert [(p.line, p.column) for p in caught.value.problems] == [(2, 6)]


def test_a_condition_that_is_not_a_bool_is_refused_when_that_is_known() -> None:
    with pytest.raises(Rejected, match="has to be a bool"):
        Condition.compile("1 + 1", Scope.SOURCE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rawPayload.n", "gives int, not a bool"),
        ("rawPayload.missing == 1", 'NOT_FOUND: Key not found in map : "missing"'),
        ("rawPayload.none.x == 1", "INVALID_ARGUMENT"),
        ("1 / 0 == 1", "INVALID_ARGUMENT: divide by zero"),
        ("dyn(rawPayload.?n)", "gives an optional"),
        ("rawPayload.long.all(x, x >= 0)", "INTERNAL: Iteration budget exceeded"),
        ("semver(rawPayload.text).major == 1", "semver: not a semantic version"),
        ("inCidr(rawPayload.text, '10.0.0.0/8')", "inCidr: not an IP address and a network"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_does_not_match_and_says_why(text: str, reason: str) -> None:
    verdict = Condition.compile(text, Scope.SOURCE).test(facts())
    assert not verdict.matched
    assert reason in (verdict.reason or "")


def test_text_that_is_not_unicode_in_a_payload_makes_a_condition_not_match() -> None:
    verdict = Condition.compile("rawPayload.a == 'x'", Scope.SOURCE).test(facts(rawPayload={"a": "\ud800"}))
    assert verdict == (False, "holds text that is not Unicode")


def test_own_functions_do_not_repeat_a_value_that_may_be_masked() -> None:
    reason = Condition.compile("inCidr(rawPayload.card, '10.0.0.0/8')", Scope.SOURCE).test(
        facts(rawPayload={"card": "4111111111111111"})
    )
    assert "4111" not in (reason.reason or "")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inCidr('10.1.2.3', '10.0.0.0/8')", True),
        ("inCidr('::1', '10.0.0.0/8')", False),
        ("glob('card_declined', 'card_*')", True),
        ("semver('v1.20.3-rc.1')", {"major": 1, "minor": 20, "patch": 3, "prerelease": "rc.1"}),
        ("hash('a')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("now", "2026-03-01T12:30:00Z"),
        ("duration('4h')", "14400s"),
        ("duration('1ms')", "0.001s"),
        ("duration('-90m')", "-5400s"),
        ("duration('315576000000s')", "315576000000s"),
        ("b'ab'", "YWI="),
        ("{'b': 1, 'a': 2, 3: 4}", {"3": 4, "a": 2, "b": 1}),
        ("rawPayload.?missing.orValue('z')", "z"),
        ("lookups.tier['gold']", "HIGH"),
        ("null", None),
        ("18446744073709551615u", 18446744073709551615),
    ],
)
def test_a_string_that_is_one_expression_keeps_the_type_of_its_value(expression: str, value: Any) -> None:
    assert rendered("${" + expression + "}") == value


def test_keys_of_a_map_come_sorted() -> None:
    assert list(rendered("${{'b': 1, 'a': 2}}")) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a ${item.id} b", "a p1 b"),
        ("${1}${2}", "12"),
        ("${true} ${null} ${1.0} ${1.5} ${2u}", "true null 1 1.5 2"),
        ("at ${now}", "at 2026-03-01T12:30:00Z"),
        ("$${item.id}", "${item.id}"),
        ("$$${item.id}", "$${item.id}"),
        ("5$ and {}", "5$ and {}"),
    ],
)
def test_expressions_inside_a_longer_text_become_text(text: str, value: str) -> None:
    assert rendered(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${'}' + \"}\"}", "}}"),
        ("${{'a': {'b': '{'}}}", {"a": {"b": "{"}}),
        (r"${r'\}'}", r"\}"),
        (r"${'\'}'}", "'}"),
        ("${'''it's }'''}", "it's }"),
        ("${// } not yet\n1}", 1),
    ],
)
def test_braces_inside_strings_maps_and_comments_do_not_end_an_expression(text: str, value: Any) -> None:
    assert rendered(text) == value


@pytest.mark.parametrize("text", ["${", "${}", "${item.id", "${nobody}", "${'", "a ${1 +} b", "${'\ud800'}"])
def test_a_template_that_does_not_compile_is_rejected(text: str) -> None:
    with pytest.raises(Rejected):
        Template.compile(text, Scope.SOURCE)


@pytest.mark.parametrize(
    "expression",
    ["rawPayload.missing", "0.0/0.0", "1.0/0.0", "type(1)", "optional.of(1)", "[optional.of(1)]", "rawPayload.?n"],
)
def test_a_value_without_json_form_is_rejected_and_names_the_expression(expression: str) -> None:
    with pytest.raises(Rejected) as caught:
        rendered("${" + expression + "}")
    assert "${" + expression + "}" in caught.value.message


def test_a_list_inside_a_longer_text_is_rejected() -> None:
    with pytest.raises(Rejected, match="use it as a value of its own"):
        rendered("ids: ${rawPayload.list}")


def test_every_broken_expression_of_a_value_is_reported_with_its_pointer() -> None:
    with pytest.raises(Rejected) as caught:
        Template.compile({"a": ["${nobody}", {"b/c": "${1 +}"}], "d": "${item.id}"}, Scope.SOURCE)
    assert [p.pointer for p in caught.value.problems] == ["/a/0", "/a/1/b~1c"]


def test_a_value_without_expressions_is_given_back_itself() -> None:
    source = {"a": [1, "x", {"b": None}]}
    template = Template.compile(source, Scope.SOURCE)
    assert template.constant
    assert template.render(facts()) is source


@pytest.mark.parametrize(
    "text",
    [
        "rawPayload.list.all(a, rawPayload.list.all(b, rawPayload.list.exists(c, c > 0)))",
        r"r'\' == '' || rawPayload.list.all(a, rawPayload.list.all(b, rawPayload.list.all(c, r'\' == '')))",
        "rawPayload.list.all(a, rawPayload.list.all // (\n (b, rawPayload.list.all(c, true)))",
        "cel.bind(a,1,cel.bind(b,a,cel.bind(c,b,cel.bind(d,c,cel.bind(e,d,e==1)))))",
        "'" + "x" * 4096 + "' == ''",
    ],
)
def test_an_expression_that_could_cost_too_much_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"may be nested|may have"):
        Condition.compile(text, Scope.SOURCE)


def test_the_word_of_a_macro_inside_a_string_is_no_nesting() -> None:
    text = "rawPayload.list.all(a, rawPayload.list.all(b, 'all(exists(' != ''))"
    assert Condition.compile(text, Scope.SOURCE).test(facts()).matched


@given(st.text().filter(lambda text: "${" not in text))
def test_text_without_an_expression_is_unchanged(text: str) -> None:
    assert rendered(text) == text


PARTS = st.sampled_from(
    ["${", "}", "$${", "{", "'", '"', "item", ".id", "\\", "//", "r'", "1", "+", " ", "\n", "[", "]"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.lists(PARTS).map("".join),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_template_raises_nothing_but_rejected(value: Any) -> None:
    with suppress(Rejected):
        Template.compile(value, Scope.SOURCE).render(facts())


@given(st.lists(PARTS).map("".join))
def test_a_condition_raises_nothing_but_rejected(text: str) -> None:
    with suppress(Rejected):
        Condition.compile(text, Scope.SOURCE).test(facts())


@given(JSON)
def test_any_payload_can_be_looked_at(payload: Any) -> None:
    changed = facts(rawPayload=payload)
    assert isinstance(Condition.compile("rawPayload.a[0] == 'x'", Scope.SOURCE).test(changed).matched, bool)
    with suppress(Rejected):
        Template.compile("${rawPayload}", Scope.SOURCE).render(changed)


@given(st.text())
def test_splitting_loses_no_text(text: str) -> None:
    escaped = text.replace("${", "$${")
    assert "".join(literal for literal, _ in split_template(escaped)) == text


@pytest.mark.parametrize(
    "expression",
    [
        '{"a": item.?b}',
        'dyn({"a": item.?b})',
        "[dyn(item.?b)]",
        '[{"a": [item.?id]}]',
        '{"a": {"b": {1: optional.none()}}}',
        '[item].map(i, {"z": i.?q})',
        "[1].map(i, optional.of(i))",
        '{"a": cel.bind(x, item.?b, x)}',
        '{"a": item.?id.optMap(x, x)}',
    ],
)
def test_an_optional_inside_of_a_value_is_an_error_and_not_the_end_of_the_process(expression: str) -> None:
    """The library ends the process when it converts a map that holds an optional."""
    with pytest.raises(Rejected, match="gives an optional"):
        rendered(f"${{{expression}}}")


def test_an_optional_that_is_unpacked_or_left_out_is_a_value() -> None:
    assert rendered('${{"a": item.?b.orValue(2), ?"c": item.?b, ?"id": item.?id}}') == {"a": 2, "id": "p1"}
