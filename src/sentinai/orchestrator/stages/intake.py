"""Intake: a report becomes one or more normalised exceptions, or a recurrence of one that is open."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid5

import msgspec

from sentinai.agents import intake as agent
from sentinai.errors import SentinaiError
from sentinai.events.closing import ExceptionResolved
from sentinai.events.envelope import Event
from sentinai.events.intake import (
    ExceptionIngested,
    ExceptionMerged,
    ExceptionNormalized,
    ExceptionRecurred,
    ExceptionSplitOff,
)
from sentinai.models.actor import subject_of
from sentinai.models.decision import Decision
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator.fold import is_closed
from sentinai.orchestrator.stages.occasion import Decided, Occasion, On, Stage
from sentinai.packs.effective import EffectiveConfig
from sentinai.packs.sourcing import Report

FirstUnder = Callable[[str], ExceptionState | None]
"""The exception that is first under a dedup key of the tenant."""


class ReadAttempt(NamedTuple):
    """What the loop does first, to know which keys it has to ask for: the report as read, or why it cannot be."""

    read: agent.Reading | None
    error: SentinaiError | None

    @property
    def keys(self) -> list[str]:
        return [item.dedup_key for item in self.read.items if item.dedup_key is not None] if self.read else []


@dataclass(slots=True, frozen=True)
class IntakeKnown:
    """The reading of the report, and who was first under its keys."""

    reading: ReadAttempt
    first_under: FirstUnder


class _First(NamedTuple):
    exception_id: UUID
    open: bool
    occurrences: int
    last_seen_at: datetime


def read(event: Event, configs: Sequence[EffectiveConfig]) -> ReadAttempt:
    body: ExceptionIngested = event.body
    report = Report(event.tenant_id, body.source_system, body.domain, body.payload, body.occurred_at, event.occurred_at)
    try:
        return ReadAttempt(agent.read(configs, report, body.external_id), None)
    except SentinaiError as error:
        return ReadAttempt(None, error)


def config_for(_occasion: Occasion, known: IntakeKnown) -> EffectiveConfig | None:
    """The one whose source takes the report."""
    return known.reading.read.config if known.reading.read is not None else None


def decide(occasion: Occasion, known: IntakeKnown) -> Decided:
    if known.reading.error is not None:
        raise known.reading.error
    reading = known.reading.read
    assert reading is not None
    if not reading.items:
        decision = Decision("intake", "EMPTY", 1.0, reading.evidence, "none")
        return [_normalized(reading, None, decision), ExceptionResolved("the delivery holds no exception")]
    answer: Decided = []
    here: dict[str, _First] = {}
    for index, item in enumerate(reading.items):
        first = _first(item.dedup_key, here, known, occasion)
        seen = agent.FirstSeen(first.exception_id, first.open, first.last_seen_at) if first else None
        decision = agent.decide(agent.IntakeFacts(reading, index, seen, occasion.now))
        own = occasion.state.exception_id if index == 0 else uuid5(occasion.state.exception_id, str(index))
        if first is not None and decision.decision == "RECURRED":
            assert item.dedup_key is not None
            here[item.dedup_key] = first._replace(occurrences=first.occurrences + 1, last_seen_at=occasion.now)
            answer += _recurred(occasion, index, first, decision)
            continue
        if item.dedup_key is not None:
            here[item.dedup_key] = _First(own, True, 1, occasion.now)
        normalized = _normalized(reading, item, decision)
        answer += [normalized] if index == 0 else [On(own, _split_off(occasion, item, index)), On(own, normalized)]
    return answer


def _first(key: str | None, here: dict[str, _First], known: IntakeKnown, occasion: Occasion) -> _First | None:
    """Who was first under the key: among the items before this one, or in the tenant."""
    if key is None:
        return None
    if key in here:
        return here[key]
    state = known.first_under(key)
    if state is None:
        return None
    return _First(state.exception_id, not is_closed(state), state.occurrences, state.last_seen_at or occasion.now)


def _recurred(occasion: Occasion, index: int, first: _First, decision: Decision) -> Decided:
    own, by = occasion.state.exception_id, subject_of(occasion.event.actor)
    repeated = ExceptionRecurred(first.occurrences + 1, own, occasion.state.source_system, by)
    merged: Decided = [ExceptionMerged(first.exception_id, decision)] if index == 0 else []
    return [On(first.exception_id, repeated), *merged]


def _split_off(occasion: Occasion, item: agent.Item, index: int) -> ExceptionSplitOff:
    body: ExceptionIngested = occasion.event.body
    external_id = f"{body.external_id}#{index}" if body.external_id else None
    return ExceptionSplitOff(
        body.source_system,
        item.raw,
        occasion.state.exception_id,
        index,
        body.exception_type,
        external_id,
        subject_of(occasion.event.actor),
    )


def _normalized(reading: agent.Reading, item: agent.Item | None, decision: Decision) -> ExceptionNormalized:
    return ExceptionNormalized(
        decision,
        reading.config.domain if reading.config else None,
        reading.source.name if reading.source else None,
        item.normalized_context if item else {},
        item.raw if item and reading.split else msgspec.UNSET,
        item.dedup_key if item else None,
        item.title if item else None,
        item.occurred_at if item else None,
    )


STAGE = Stage("intake", decide, ("ExceptionIngested",), config_for)
