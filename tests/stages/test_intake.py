"""What becomes of a report: an exception of its own, several, a recurrence, or nothing at all?"""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from sample_packs import DOMAIN, policy_for
from story import NOW, Story, compiled, given, names, only, payment

from sentinai.errors import Rejected
from sentinai.events.closing import ExceptionResolved
from sentinai.events.intake import (
    ExceptionIngested,
    ExceptionMerged,
    ExceptionNormalized,
    ExceptionRecurred,
    ExceptionSplitOff,
)
from sentinai.models.exception_record import ExceptionState, Status
from sentinai.orchestrator.fold import blank
from sentinai.orchestrator.stages import intake
from sentinai.orchestrator.stages.occasion import Occasion, On


def take_in(
    report: ExceptionIngested, first: ExceptionState | None = None, actor: str = "user:shop", **world: Any
) -> Any:
    """What intake says of a report, when `first` holds the key it comes under."""
    story = Story(**world)
    event = story.record(report, actor)
    known = intake.IntakeKnown(intake.read(event, story.tenant.active), lambda _key: first)
    occasion = Occasion(story.state, story.tenant, story.config, story.now, event)
    return intake.decide(occasion, known)


def earlier(status: Status = Status.OPEN, ago: timedelta = timedelta(hours=1), occurrences: int = 1) -> ExceptionState:
    state = blank("acme", UUID(int=99))
    state.status, state.occurrences, state.last_seen_at, state.dedup_key = status, occurrences, NOW - ago, "psp:p1"
    return state


def test_a_report_is_mapped_by_the_source_that_takes_it() -> None:
    (found,) = take_in(ExceptionIngested("psp", payment()))
    assert (found.source, found.domain, found.dedup_key) == ("psp", "payments", "psp:p1")
    assert found.normalized_context == {"paymentId": "p1", "amountMinor": 500, "tier": "standard"}
    assert found.title == "Payment p1 failed"
    assert found.occurred_at is not None


@pytest.mark.parametrize(
    ("payload", "missing"),
    [
        ({"id": "p1", "code": "x"}, "amountMinor"),
        ({"id": "p1", "amount": "many", "code": "x"}, "amountMinor"),
        ({"id": "p1", "amount": None, "code": "x"}, "amountMinor"),
        ({"amount": 1}, "paymentId"),
        ([], "paymentId"),
        ({}, "paymentId"),
    ],
)
def test_a_field_that_fails_is_missing_and_named(payload: Any, missing: str) -> None:
    (found,) = take_in(ExceptionIngested("psp", payload))
    assert missing not in found.normalized_context
    assert f"field {missing}" in {e.rule for e in found.decision.evidence if e.outcome == "not_evaluable"}


@pytest.mark.parametrize(
    "created",
    [
        "yesterday",
        "2026-01-31T12:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        7,
        None,
        "",
        "\u0000",
    ],
)
def test_a_time_that_cannot_be_kept_is_missing(created: Any) -> None:
    (found,) = take_in(ExceptionIngested("psp", payment() | {"created": created}))
    assert found.occurred_at is None


def test_what_no_source_takes_is_kept_as_it_came() -> None:
    (found,) = take_in(ExceptionIngested("elsewhere", {"a": 1}))
    assert (found.source, found.normalized_context, found.decision.confidence) == (None, {}, 0.0)


def test_without_any_configuration_it_is_kept_too() -> None:
    (found,) = take_in(ExceptionIngested("psp", payment()), config=None)
    assert (found.domain, found.source) == (None, None)


@pytest.mark.parametrize("external_id", [None, "e-1"])
def test_the_senders_own_id_is_the_key_where_the_pack_has_none(external_id: str | None) -> None:
    (found,) = take_in(ExceptionIngested("elsewhere", {"a": 1}, external_id=external_id))
    assert found.dedup_key == (f"elsewhere:{external_id}" if external_id else None)


def test_the_same_key_while_the_first_is_open_is_a_recurrence() -> None:
    recurred, merged = take_in(ExceptionIngested("psp", payment()), earlier(occurrences=3))
    assert recurred == On(UUID(int=99), ExceptionRecurred(4, UUID(int=7), "psp", "shop"))
    assert isinstance(merged, ExceptionMerged)
    assert merged.merged_into == UUID(int=99)


@pytest.mark.parametrize(
    "first", [earlier(Status.RESOLVED), earlier(Status.MERGED), earlier(ago=timedelta(hours=25))],
    ids=["resolved", "merged", "outside the window"],
)  # fmt: skip
def test_otherwise_it_is_an_exception_of_its_own(first: ExceptionState) -> None:
    assert names(take_in(ExceptionIngested("psp", payment()), first)) == ["ExceptionNormalized"]


def test_exactly_at_the_end_of_the_window_it_recurs() -> None:
    assert len(take_in(ExceptionIngested("psp", payment()), earlier(ago=timedelta(hours=24)))) == 2


def batch(*numbers: str) -> ExceptionIngested:
    return ExceptionIngested("psp-batch", {"failures": [payment(n) for n in numbers]}, external_id="d1")


def test_a_delivery_of_many_is_split_and_the_first_keeps_the_accepted_id() -> None:
    found = take_in(batch("a", "b"), actor="user:shop/00000000-0000-0000-0000-000000000001")
    assert isinstance(found[0], ExceptionNormalized)
    child = uuid5(UUID(int=7), "1")
    assert [said.exception_id for said in found[1:]] == [child, child]
    split = found[1].body
    assert isinstance(split, ExceptionSplitOff)
    assert (split.index, split.external_id, split.reported_by) == (1, "d1#1", "shop")


def test_a_key_that_comes_twice_in_one_delivery_is_one_exception_seen_twice() -> None:
    found = take_in(batch("a", "b", "b"))
    assert names(s.body if isinstance(s, On) else s for s in found)[-1] == "ExceptionRecurred"
    assert found[-1].body.occurrences == 2
    assert found[-1].exception_id == uuid5(UUID(int=7), "1")


def test_a_delivery_with_nothing_in_it_is_closed_as_empty() -> None:
    found = take_in(batch())
    assert names(found) == ["ExceptionNormalized", "ExceptionResolved"]
    assert only(found, ExceptionResolved).reason == "the delivery holds no exception"


@pytest.mark.parametrize("failures", [{"not": "a list"}, "text", 7, [1] * 1001])
def test_what_is_no_list_of_items_is_refused_with_what_to_do(failures: Any) -> None:
    with pytest.raises(Rejected, match=r"must give a list|items"):
        take_in(ExceptionIngested("psp-batch", {"failures": failures}))


def test_the_named_domain_comes_before_the_first_source_that_matches() -> None:
    other = compiled(
        DOMAIN.replace("domainName: payments", "domainName: other"),
        policy_for("acme").replace("domainName: payments", "domainName: other"),
    )
    story = Story(active=(compiled(), other))
    event = story.record(ExceptionIngested("psp", payment(), domain="other"), "user:shop")
    reading = intake.read(event, story.tenant.active)
    assert reading.read is not None
    assert reading.read.config is other


def test_who_reported_is_remembered() -> None:
    assert given().run() is not None
    story = Story()
    story.record(ExceptionIngested("psp", payment()), "user:shop/00000000-0000-0000-0000-000000000001")
    assert story.state.involved == ["shop"]
