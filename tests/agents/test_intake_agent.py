"""How is a report read, under which key does it come, and when is it a repetition?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from story import CONFIG, payment

from sentinai.agents.intake import ITEMS_MAX, FirstSeen, IntakeFacts, Item, Reading, decide, read, repeats
from sentinai.errors import Rejected
from sentinai.models.decision import Evidence
from sentinai.models.instant import BOUNDS
from sentinai.packs.effective import EffectiveConfig, Source
from sentinai.packs.expressions import Condition, Scope, Template
from sentinai.packs.sourcing import Report

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SENT = datetime(2026, 1, 30, tzinfo=UTC)
FIRST = UUID(int=99)
TICK = timedelta(microseconds=1)


def template(value: Any) -> Template | None:
    return Template.compile(value, Scope.SOURCE) if value is not None else None


def source(name: str = "s", match: str = "true", fields: dict[str, Any] | None = None, **given: Any) -> Source:
    texts = {key: template(given.get(key)) for key in ("items", "occurred_at", "dedup_key", "title")}
    mapped = {key: Template.compile(value, Scope.SOURCE) for key, value in (fields or {}).items()}
    window = given.get("dedup_window_s")
    return Source(
        name, Condition.compile(match, Scope.SOURCE), fields=mapped, dedup_window_s=window, sensitive=(), **texts
    )


def config(*sources: Source, domain: str = "payments") -> EffectiveConfig:
    return replace(CONFIG, sources=sources, domain=domain)


def report(
    payload: Any = None, domain: str | None = None, occurred_at: datetime | None = SENT, system: str = "psp"
) -> Report:
    return Report("acme", system, domain, payload, occurred_at, NOW)


def reading(*configs: EffectiveConfig, external_id: str | None = None, **said: Any) -> Reading:
    return read(configs, report(**said), external_id)


def item_of(given: Source, payload: Any, external_id: str | None = None) -> Item:
    """The one item that this source finds in a report."""
    (item,) = reading(config(given), payload=payload, external_id=external_id).items
    return item


# ---- which source ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matches", "taken"),
    [
        (("true", "true"), "first"),
        (("false", "true"), "second"),
        (("rawPayload.no.such == 1", "true"), "second"),
        (("false", "false"), None),
        (("item.id == 'p1'", "true"), "first"),
        (("sourceSystem == 'other'", "sourceSystem == 'psp'"), "second"),
        (("occurredAt < receivedAt", "true"), "first"),
    ],
)
def test_the_first_source_that_matches_takes_the_report(matches: tuple[str, str], taken: str | None) -> None:
    found = reading(config(source("first", matches[0]), source("second", matches[1])), payload=payment())
    assert (found.source.name if found.source else None) == taken
    tried = {e.rule: e.outcome for e in found.evidence}
    assert (tried["source payments/first"] == "matched") == (taken == "first")
    assert ("source payments/second" in tried) == (taken != "first"), "nothing is tried after the one that takes it"


@pytest.mark.parametrize(
    ("domain", "taken", "source_name"),
    [
        (None, "one", "s"),
        ("one", "one", "s"),
        ("two", "two", "s"),
        ("three", "three", None),
        ("none of them", None, None),
    ],
)
def test_the_domain_that_the_sender_names_decides(
    domain: str | None, taken: str | None, source_name: str | None
) -> None:
    active = (
        config(source(), domain="one"),
        config(source(), domain="two"),
        config(source(match="false"), domain="three"),
    )
    found = reading(*active, domain=domain, payload={})
    assert (found.config.domain if found.config else None) == taken
    assert (found.source.name if found.source else None) == source_name


@pytest.mark.parametrize("configs", [(), (config(),), (config(source(match="false")),)])
def test_what_nobody_takes_is_one_item_as_it_came(configs: Any) -> None:
    found = reading(*configs, payload={"a": [1]}, external_id="e-1")
    assert (found.config, found.source, found.split) == (None, None, False)
    assert found.items == [Item({"a": [1]}, {}, "psp:e-1", None, None, SENT, [])]


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_values_keep_their_types_and_nothing_is_what_is_null() -> None:
    fields = {
        "n": "${item.n}",
        "f": "${item.f}",
        "b": "${item.b}",
        "l": "${item.l}",
        "m": "${item.m}",
        "nil": "${item.nil}",
        "fix": "EUR",
    }
    given = {"n": 7, "f": 0.5, "b": False, "l": [1, "a"], "m": {"k": None}, "nil": None}
    item = item_of(source(fields=fields), given)
    assert item.normalized_context == {"n": 7, "f": 0.5, "b": False, "l": [1, "a"], "m": {"k": None}, "fix": "EUR"}
    assert item.evidence == []


def test_every_field_that_fails_is_evidence_and_the_others_are_there() -> None:
    item = item_of(source(fields={"a": "${item.no}", "b": "${item.id}", "c": "${int(item.id)}"}), {"id": "x"})
    assert item.normalized_context == {"b": "x"}
    assert [(e.rule, e.outcome) for e in item.evidence] == [("field a", "not_evaluable"), ("field c", "not_evaluable")]
    assert all(e.detail for e in item.evidence)


@pytest.mark.parametrize(
    ("key", "external_id", "found"),
    [
        ("${'k:' + item.id}", None, "k:p1"),
        ("${'k:' + item.id}", "e-1", "k:p1"),
        ("${item.number}", None, "7"),
        ("${item.nothing}", "e-1", "psp:e-1"),
        ("${item.nothing}", None, None),
        ("${item.no.such}", "e-1", "psp:e-1"),
        ("${item.no.such}", None, None),
        ("${item.blank}", "e-1", "psp:e-1"),
        ("${item.blank}", None, None),
        (None, "e-1", "psp:e-1"),
        (None, None, None),
        (None, "", None),
    ],
)
def test_the_packs_key_comes_before_the_senders(key: str | None, external_id: str | None, found: str | None) -> None:
    payload = {"id": "p1", "number": 7, "nothing": None, "blank": " "}
    assert item_of(source(dedup_key=key), payload, external_id).dedup_key == found


def test_a_key_that_fails_is_evidence_too() -> None:
    item = item_of(source(dedup_key="${item.no}", title="${item.no}"), {})
    assert [e.rule for e in item.evidence] == ["dedupKey", "title"]
    assert item.title is None


@pytest.mark.parametrize(
    ("title", "found"),
    [("Payment ${item.id}", "Payment p1"), ("${item.number}", "7"), ("fixed", "fixed"), (None, None)],
)
def test_a_title_is_text(title: str | None, found: str | None) -> None:
    assert item_of(source(title=title), {"id": "p1", "number": 7}).title == found


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-01-31T11:00:00Z", datetime(2026, 1, 31, 11, tzinfo=UTC)),
        ("2026-01-31T12:00:00+01:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
        ("2026-01-31T11:00:00.123456Z", datetime(2026, 1, 31, 11, 0, 0, 123456, UTC)),
        ("9999-12-30T00:00:00Z", datetime(9999, 12, 30, tzinfo=UTC)),
    ],
)
def test_a_time_with_its_zone_is_an_instant(value: str, time: datetime) -> None:
    item = item_of(source(occurred_at="${item.at}"), {"at": value})
    assert (item.occurred_at, item.evidence) == (time, [])


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("yesterday", "'yesterday' is not an RFC 3339 time"),
        ("2026-13-01T00:00:00Z", "is not an RFC 3339 time"),
        ("2026-01-31T11:00:00", "has no time zone"),
        ("2026-01-31", "has no time zone"),
        ("9999-12-31T00:00:00Z", BOUNDS),
        ("0001-01-01T00:00:00+14:00", BOUNDS),
        ("x" * 5000, f"'{'x' * 64}' is not"),
    ],
)
def test_a_time_that_cannot_be_kept_is_missing_and_the_evidence_says_why(value: str, detail: str) -> None:
    item = item_of(source(occurred_at="${item.at}"), {"at": value})
    assert item.occurred_at is None
    (said,) = item.evidence
    assert (said.rule, said.outcome) == ("occurredAt", "not_evaluable")
    assert detail in str(said.detail)
    assert len(str(said.detail)) < 200


@pytest.mark.parametrize("value", [None, 7, True, [], {}])
def test_what_is_no_text_is_no_time(value: Any) -> None:
    assert item_of(source(occurred_at="${item.at}"), {"at": value}).occurred_at is None


# ---- many in one -----------------------------------------------------------------------------------------------------

SPLITS = source(
    items="${rawPayload.all}",
    fields={"id": "${item.id}", "of": "${rawPayload.file}"},
    dedup_key="${item.?key.orValue(null)}",
)


def test_every_item_is_read_by_itself_and_sees_the_whole_delivery() -> None:
    found = reading(config(SPLITS), payload={"file": "f1", "all": [{"id": 1}, {"id": 2, "key": "k"}]})
    assert found.split
    assert [i.normalized_context for i in found.items] == [{"id": 1, "of": "f1"}, {"id": 2, "of": "f1"}]
    assert [i.raw for i in found.items] == [{"id": 1}, {"id": 2, "key": "k"}]


def test_the_senders_id_is_of_the_delivery_and_no_items_key() -> None:
    found = reading(
        config(SPLITS), payload={"file": "f1", "all": [{"id": 1}, {"id": 2, "key": "k"}]}, external_id="d-1"
    )
    assert [i.dedup_key for i in found.items] == [None, "k"]


def test_one_item_that_cannot_be_mapped_spoils_no_other() -> None:
    found = reading(config(SPLITS), payload={"file": "f1", "all": [{"id": 1}, "text", None, {"id": 4}]})
    assert [i.normalized_context.get("id") for i in found.items] == [1, None, None, 4]
    assert [bool(i.evidence) for i in found.items] == [False, True, True, False]


@pytest.mark.parametrize(("count", "fits"), [(0, True), (1, True), (ITEMS_MAX, True), (ITEMS_MAX + 1, False)])
def test_a_delivery_holds_so_many_and_no_more(count: int, fits: bool) -> None:
    payload = {"file": "f1", "all": [None] * count}
    bare = replace(SPLITS, fields={}, dedup_key=None)
    if fits:
        assert len(reading(config(bare), payload=payload).items) == count
        return
    with pytest.raises(Rejected, match=str(ITEMS_MAX)) as refused:
        reading(config(bare), payload=payload)
    assert refused.value.details == {"source": "s"}


@pytest.mark.parametrize("items", [{}, {"all": None}, {"all": {"id": 1}}, {"all": "text"}, {"all": 7}, []])
def test_what_is_no_list_of_items_will_never_be_read(items: Any) -> None:
    with pytest.raises(Rejected):
        reading(config(SPLITS), payload=items)


# ---- new or again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(
    ("ago", "window_s", "inside"),
    [
        (timedelta(0), None, True),
        (timedelta(days=9999), None, True),
        (timedelta(0), 0.0, True),
        (TICK, 0.0, False),
        (timedelta(seconds=60), 60.0, True),
        (timedelta(seconds=60) + TICK, 60.0, False),
        (-timedelta(hours=1), 60.0, True),
    ],
)
def test_it_repeats_what_is_open_and_was_seen_at_most_a_window_ago(
    is_open: bool, ago: timedelta, window_s: float | None, inside: bool
) -> None:
    assert repeats(FirstSeen(FIRST, is_open, NOW - ago), window_s, NOW) == (is_open and inside)


def judged(
    key: str | None = "k", first: FirstSeen | None = None, window_s: float | None = 60.0, known: bool = True
) -> Any:
    item = Item({}, {}, key, window_s, None, None, [Evidence("field a", "not_evaluable", "so")])
    one = Reading(CONFIG, CONFIG.sources[0] if known else None, [item], False, [Evidence("source s", "matched")])
    return decide(IntakeFacts(one, 0, first, NOW))


@pytest.mark.parametrize(
    ("key", "first", "decision", "said"),
    [
        (None, None, "NEW", "no dedup key"),
        (None, FirstSeen(FIRST, True, NOW), "NEW", "no dedup key"),
        ("k", None, "NEW", "first under 'k'"),
        ("k", FirstSeen(FIRST, True, NOW), "RECURRED", f"repeats {FIRST} under 'k'"),
        ("k", FirstSeen(FIRST, False, NOW), "NEW", f"{FIRST} is closed or outside the window"),
        ("k", FirstSeen(FIRST, True, NOW - timedelta(hours=1)), "NEW", f"{FIRST} is closed or outside the window"),
    ],
)
def test_the_decision_says_which_exception_it_was_compared_with(key: Any, first: Any, decision: str, said: str) -> None:
    found = judged(key, first)
    assert (found.stage, found.decision, found.next_step) == (
        "intake",
        decision,
        "triage" if decision == "NEW" else "none",
    )
    outcome = "matched" if decision == "RECURRED" else "not_matched"
    assert found.evidence == [
        Evidence("source s", "matched"),
        Evidence("field a", "not_evaluable", "so"),
        Evidence("dedup", outcome, said),
    ]


@pytest.mark.parametrize(("known", "confidence"), [(True, 1.0), (False, 0.0)])
@pytest.mark.parametrize("first", [None, FirstSeen(FIRST, True, NOW), FirstSeen(FIRST, False, NOW)])
def test_intake_is_sure_of_what_a_source_mapped_and_of_nothing_else(known: bool, confidence: float, first: Any) -> None:
    assert judged(first=first, known=known).confidence == confidence


def test_each_item_is_decided_on_by_its_own_key_and_evidence() -> None:
    found = reading(config(SPLITS), payload={"file": "f1", "all": [{"id": 1}, {"key": "k"}]})
    first, second = (decide(IntakeFacts(found, n, FirstSeen(FIRST, True, NOW), NOW)) for n in (0, 1))
    assert (first.decision, second.decision) == ("NEW", "RECURRED")
    assert [e.rule for e in second.evidence] == ["source payments/s", "field id", "dedup"]
    assert len(found.evidence) == 1, "to decide adds nothing to the reading"
