"""How does a report become a normalised exception, and is it a repetition of one that is still open?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sentinai.errors import Rejected
from sentinai.models.decision import Decision, Evidence
from sentinai.models.instant import BOUNDS, is_keepable
from sentinai.models.json import Json
from sentinai.packs.effective import EffectiveConfig, Source
from sentinai.packs.expressions import Activation, Template
from sentinai.packs.sourcing import Report, Sourcing, choose_source, source_activation

ITEMS_MAX = 1000
"""Exceptions that one delivery may hold."""


class Item(NamedTuple):
    """One exception found in a report."""

    raw: Json
    normalized_context: dict[str, Json]
    dedup_key: str | None
    dedup_window_s: float | None
    title: str | None
    occurred_at: datetime | None
    evidence: list[Evidence]


class Reading(NamedTuple):
    """A report, read by a source: empty `items` means a delivery without any exception in it."""

    config: EffectiveConfig | None
    source: Source | None
    items: list[Item]
    split: bool
    evidence: list[Evidence]


class FirstSeen(NamedTuple):
    """The exception that was there first under a dedup key."""

    exception_id: UUID
    open: bool
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class IntakeFacts:
    reading: Reading
    index: int
    """Which item of the reading is decided on."""
    first: FirstSeen | None
    now: datetime


def read(configs: Sequence[EffectiveConfig], report: Report, external_id: str | None) -> Reading:
    """Find the source and map every item; raises Rejected when a delivery holds more than ITEMS_MAX."""
    sourcing = choose_source(configs, report)
    if sourcing.config is None or sourcing.source is None:
        return _unmatched(sourcing, report, external_id)
    config, source, whole = sourcing.config, sourcing.source, sourcing.facts
    assert whole is not None
    if source.items is None:
        item = _item(source, whole, report.payload, _external_key(report, external_id))
        return Reading(config, source, [item], False, sourcing.evidence)
    raws = source.items.render(whole)
    if not isinstance(raws, list) or len(raws) > ITEMS_MAX:
        raise Rejected(
            f"`items` of source {source.name!r} must give a list of at most {ITEMS_MAX}; "
            "correct the source in the pack, activate it and retry this event.",
            source=source.name,
        )
    items = [_item(source, source_activation(config, report, raw), raw, None) for raw in raws]
    return Reading(config, source, items, True, sourcing.evidence)


def decide(facts: IntakeFacts) -> Decision:
    """NEW for an exception of its own, RECURRED for a repetition of an open one inside the window."""
    item = facts.reading.items[facts.index]
    evidence = [*facts.reading.evidence, *item.evidence]
    confidence = 1.0 if facts.reading.source else 0.0
    if item.dedup_key is None:
        evidence.append(Evidence("dedup", "not_matched", "no dedup key"))
        return Decision("intake", "NEW", confidence, evidence, "triage")
    if facts.first is None:
        evidence.append(Evidence("dedup", "not_matched", f"first under {item.dedup_key!r}"))
        return Decision("intake", "NEW", confidence, evidence, "triage")
    if repeats(facts.first, item.dedup_window_s, facts.now):
        evidence.append(Evidence("dedup", "matched", f"repeats {facts.first.exception_id} under {item.dedup_key!r}"))
        return Decision("intake", "RECURRED", confidence, evidence, "none")
    evidence.append(Evidence("dedup", "not_matched", f"{facts.first.exception_id} is closed or outside the window"))
    return Decision("intake", "NEW", confidence, evidence, "triage")


def repeats(first: FirstSeen, window_s: float | None, now: datetime) -> bool:
    """Still open, and seen at most a window ago (no window: any time ago)."""
    in_window = window_s is None or now - first.last_seen_at <= timedelta(seconds=window_s)
    return first.open and in_window


def _unmatched(sourcing: Sourcing, report: Report, external_id: str | None) -> Reading:
    """Kept as it came: no source maps it, so the context stays empty."""
    key = _external_key(report, external_id)
    item = Item(report.payload, {}, key, None, None, report.occurred_at, [])
    return Reading(sourcing.config, None, [item], False, sourcing.evidence)


def _external_key(report: Report, external_id: str | None) -> str | None:
    return f"{report.source_system}:{external_id}" if external_id else None


def _item(source: Source, facts: Activation, raw: Json, external_key: str | None) -> Item:
    evidence: list[Evidence] = []

    def rendered(name: str, template: Template | None) -> Json:
        if template is None:
            return None
        try:
            return template.render(facts)
        except Rejected as error:
            evidence.append(Evidence(name, "not_evaluable", error.message))
            return None

    context = {name: rendered(f"field {name}", template) for name, template in source.fields.items()}
    key = rendered("dedupKey", source.dedup_key)
    title = rendered("title", source.title)
    return Item(
        raw=raw,
        normalized_context={name: value for name, value in context.items() if value is not None},
        dedup_key=str(key) if key is not None and str(key).strip() else external_key,  # a blank key names nothing
        dedup_window_s=source.dedup_window_s,
        title=str(title) if title is not None else None,
        occurred_at=_time(rendered("occurredAt", source.occurred_at), evidence),
        evidence=evidence,
    )


def _time(value: Json, evidence: list[Evidence]) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        evidence.append(Evidence("occurredAt", "not_evaluable", f"{value[:64]!r} is not an RFC 3339 time"))
        return None
    if time.tzinfo is None:
        evidence.append(Evidence("occurredAt", "not_evaluable", f"{value[:64]!r} has no time zone"))
        return None
    if not is_keepable(time):
        evidence.append(Evidence("occurredAt", "not_evaluable", BOUNDS))
        return None
    return time
