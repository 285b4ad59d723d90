"""Intake: a report becomes one or more normalised exceptions, or a recurrence of one that is open."""

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID, uuid5

import msgspec

from sentinai.agents import intake as agent
from sentinai.errors import SentinaiError
from sentinai.events.closing import ExceptionResolved
from sentinai.events.intake import (
    ExceptionIngested,
    ExceptionMerged,
    ExceptionNormalized,
    ExceptionRecurred,
    ExceptionSplitOff,
)
from sentinai.infrastructure.repositories.exceptions import Key
from sentinai.messaging.broker import Connection
from sentinai.models.decision import Decision
from sentinai.orchestrator.fold import is_closed
from sentinai.orchestrator.recording import Tracked, new_exception
from sentinai.packs.sourcing import Report
from sentinai.workers.base import BaseWorker
from sentinai.workers.batch import Batch
from sentinai.workers.work import Answer, To, Work

DedupKey = tuple[str, str]
"""(tenant, key)"""


class Read(msgspec.Struct):
    """What gather found out for one report: its reading, or the error that reading it raised."""

    reading: agent.Reading | None
    error: SentinaiError | None
    states: dict[Key, Tracked]
    """All exceptions of the batch. Not the batch itself: it holds this, and a circle is only freed by the collector."""
    firsts: dict[DedupKey, UUID]
    """Whose each dedup key is; shared by the batch, so that the second report of a batch finds the first."""
    taken: dict[DedupKey, UUID]


class IntakeWorker(BaseWorker):
    name: ClassVar[str] = "intake"

    async def gather(self, tx: Connection, batch: Batch, works: Sequence[Work]) -> None:
        """Read all reports, then lock the dedup keys and the exceptions that were first under them."""
        firsts: dict[DedupKey, UUID] = {}
        taken: dict[DedupKey, UUID] = {}
        claims: dict[DedupKey, UUID] = {}
        for work in works:
            reading, error = _read(work)
            work.facts = Read(reading, error, batch.states, firsts, taken)
            for item in reading.items if reading else ():
                if item.dedup_key is not None:
                    claims.setdefault((work.event.tenant_id, item.dedup_key), work.state.exception_id)
        now = batch.now
        firsts |= await self.platform.exceptions.claim_dedup_keys(tx, claims, now)
        unknown = {(tenant_id, first) for (tenant_id, _), first in firsts.items()} - batch.states.keys()
        found = await self.platform.exceptions.lock(tx, unknown)
        batch.states |= found
        if found:
            used = ((tenant_id, t.state.config_hash) for (tenant_id, _), t in found.items())
            await self.platform.configurations.load(tx, {tenant_id for tenant_id, _ in found}, used)

    def handle(self, work: Work) -> Answer:
        facts: Read = work.facts
        if facts.error is not None:
            raise facts.error
        assert facts.reading is not None
        work.config = facts.reading.config
        if not facts.reading.items:
            decision = Decision("intake", "EMPTY", 1.0, facts.reading.evidence, "none")
            yield _normalized(facts.reading, None, decision)
            yield ExceptionResolved("the delivery holds no exception")
            return
        for index in range(len(facts.reading.items)):
            yield from _item(work, facts, index)

    async def settle(self, tx: Connection, works: Sequence[Work]) -> None:
        now = self.platform.clock()
        await self.platform.exceptions.take_dedup_keys(tx, works[0].facts.taken, now)


def _read(work: Work) -> tuple[agent.Reading | None, SentinaiError | None]:
    body: ExceptionIngested = work.body
    report = Report(
        work.event.tenant_id,
        body.source_system,
        body.domain,
        body.payload,
        body.occurred_at,
        work.event.occurred_at,
    )
    try:
        return agent.read(work.tenant.active, report, body.external_id), None
    except SentinaiError as error:
        return None, error


def _item(work: Work, facts: Read, index: int) -> Answer:
    assert facts.reading is not None
    item = facts.reading.items[index]
    key = (work.event.tenant_id, item.dedup_key) if item.dedup_key is not None else None
    first = _first(facts, key)
    seen = _seen(first, work)
    decision = agent.decide(agent.IntakeFacts(facts.reading, index, seen, work.now))
    if first is not None and decision.decision == "RECURRED":
        repeated = ExceptionRecurred(first.state.occurrences + 1, work.state.exception_id, work.state.source_system)
        yield To(first, repeated)
        if index == 0:
            yield ExceptionMerged(first.state.exception_id, decision)
        return
    own = work.tracked if index == 0 else _split_off(work, facts, index)
    if index > 0:
        yield To(own, _split_event(work, facts.reading, index))
    yield To(own, _normalized(facts.reading, item, decision))
    if key is not None and facts.firsts[key] != own.state.exception_id:
        facts.firsts[key] = facts.taken[key] = own.state.exception_id


def _seen(first: Tracked | None, work: Work) -> agent.FirstSeen | None:
    if first is None:
        return None
    state = first.state
    return agent.FirstSeen(state.exception_id, not is_closed(state), state.last_seen_at or work.now)


def _first(facts: Read, key: DedupKey | None) -> Tracked | None:
    """The exception that holds the key, unless that is the very one being taken in and nobody was before it."""
    if key is None:
        return None
    holder = facts.firsts[key]
    first = facts.states.get((key[0], holder))
    if first is None or first.state.dedup_key != key[1]:
        return None
    return first


def _split_off(work: Work, facts: Read, index: int) -> Tracked:
    """A further item's exception; its id is derived, so that a repetition of this work makes the same one."""
    child = new_exception(work.event.tenant_id, uuid5(work.state.exception_id, str(index)))
    facts.states[child.state.tenant_id, child.state.exception_id] = child
    return child


def _split_event(work: Work, reading: agent.Reading, index: int) -> ExceptionSplitOff:
    body: ExceptionIngested = work.body
    raw = reading.items[index].raw
    external_id = f"{body.external_id}#{index}" if body.external_id else None
    return ExceptionSplitOff(body.source_system, raw, work.state.exception_id, index, body.exception_type, external_id)


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
