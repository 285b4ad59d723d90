"""How does every worker take events, and what happens when one fails? The only place that commits, retries and parks."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import asyncpg
import structlog

from sentinai.errors import Conflict
from sentinai.events.envelope import PARTITIONS
from sentinai.infrastructure.database import CONFLICTS, LOST, Database
from sentinai.infrastructure.repositories.configurations import Configurations
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.infrastructure.repositories.exceptions import ExceptionKey, ExceptionRepository
from sentinai.infrastructure.repositories.executions import ExecutionRepository
from sentinai.infrastructure.repositories.tools import ToolRepository
from sentinai.infrastructure.unit_of_work import UnitOfWork
from sentinai.messaging.broker import Broker, Connection, KafkaOptions
from sentinai.messaging.parked import ParkedEvents
from sentinai.messaging.postgres import consumes
from sentinai.observability.metrics import BATCH_SECONDS, EVENTS_HANDLED, EVENTS_PARKED
from sentinai.orchestrator.recording import Recorder, Tracked
from sentinai.orchestrator.stages.occasion import Decided, Occasion, Stage
from sentinai.workers.batch import Batch, Claimed, Done, StageLoop, Work

CONFLICT_RETRIES_MAX = 5
PARKED_PER_BATCH = 100
EVENTS_FIRST = 64
"""Of a worker's first batch; they grow from there."""
STATES_BYTES_MAX = 32 * 1024 * 1024
"""States of the exceptions of one batch: where they are larger, the next batches are smaller."""

K = TypeVar("K")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Platform:
    """What every worker is built from (see bootstrap)."""

    database: Database
    broker: Broker
    store: EventStore
    exceptions: ExceptionRepository
    configurations: Configurations
    parked: ParkedEvents
    executions: ExecutionRepository
    tools: ToolRepository
    unit_of_work: UnitOfWork
    clock: Callable[[], datetime]
    new_id: Callable[[], UUID]
    batch_max: int
    chaining: bool
    kafka: KafkaOptions | None = None


class BatchSize:
    """How many events the next batch takes: it grows while batches are full and light, and shrinks after a heavy one."""

    def __init__(self, events_max: int) -> None:
        self._max = events_max
        self.events = min(EVENTS_FIRST, events_max)

    def regulate(self, count: int, read: Collection[Tracked]) -> None:
        size = sum(len(tracked.stored or b"") for tracked in read)
        if size > STATES_BYTES_MAX:
            self.events = max(1, self.events * STATES_BYTES_MAX // size)
        elif count >= self.events // 2:
            self.events = min(self._max, self.events * 2)


class Loop(Protocol):
    """What a process runs in turn."""

    name: str
    handled: int
    more: bool
    """Whether the last batch may have left something that was there."""

    async def process(self) -> int:
        """Take one batch; returns how much was taken. Raises Unavailable when the database is away."""

    async def process_parked(self) -> int:
        """Take parked events whose time has come, one per exception; returns how many."""

    async def lag(self, tx: Connection) -> int:
        """Events it has yet to take."""


class BaseWorker(Generic[K]):
    """The loop of one stage. Where a stage needs to know more than the exception itself, a subclass reads that in `gather`,
    hands it over in `known`, and writes what belongs to that stage alone in `settle`."""

    def __init__(self, platform: Platform, stage: Stage[K]) -> None:
        self.platform = platform
        self.stage = stage
        self.name = stage.name
        self.hosted: Mapping[str, StageLoop] = {self.name: self}
        """All stages of this process; the runner sets it."""
        self.handled = 0
        self.size = BatchSize(platform.batch_max)
        self.more = True

    async def gather(self, tx: Connection, batch: Batch, works: Sequence[Work]) -> None:
        """Read what the stage needs beside the exceptions themselves, for all works in a few statements."""

    def known(self, occasion: Occasion) -> K | None:  # noqa: ARG002
        """What the stage needs to know, right before it decides."""
        return None

    def recorded(self, occasion: Occasion, answer: Decided) -> None:
        """What the stage answered is recorded."""

    async def lag(self, tx: Connection) -> int:
        """Events it has yet to take; see Broker.lag."""
        return await self.platform.broker.lag(tx, self.name)

    async def settle(self, tx: Connection, done: Sequence[Done]) -> None:
        """Write what belongs to the stage alone, after the events."""

    async def process(self) -> int:
        """Take one batch; returns how many events were taken. Raises Unavailable when the database is away."""
        for _ in range(CONFLICT_RETRIES_MAX):
            try:
                taken = await self._attempt(self.size.events)
            except Conflict:
                continue
            except asyncpg.PostgresError as error:
                log.warning("batch_split", consumer=self.name, error=type(error).__name__)
                taken = await self._isolate()
            self.handled += taken
            return taken
        raise Conflict("Another writer was first, again and again; the batch is tried later.", consumer=self.name)

    async def process_parked(self) -> int:
        """Take parked events whose time has come, one per exception; returns how many."""
        try:
            return await self._attempt_parked(PARKED_PER_BATCH)
        except asyncpg.PostgresError as error:
            log.warning("batch_split", consumer=self.name, parked=True, error=type(error).__name__)
        taken = 0
        while taken < PARKED_PER_BATCH and await self._attempt_parked(1):
            taken += 1
        return taken

    async def _isolate(self) -> int:
        """A batch could not be written: partition by partition, each in ever smaller parts, until the guilty event is alone."""
        taken = 0
        for partition in range(PARTITIONS):
            events_max = self.size.events
            while events_max > 1:
                try:
                    taken += await self._attempt(events_max, partition)
                    break
                except asyncpg.PostgresError:
                    events_max //= 2
            else:
                taken += await self._attempt(1, partition)
        return taken

    async def _attempt(self, events_max: int, partition: int | None = None) -> int:
        """One batch; an event that is alone in it and cannot be written is parked as a dead letter."""
        platform = self.platform
        async with platform.database.transaction() as tx:
            claim = await platform.broker.claim(tx, self.name, events_max, partition)
            if claim is None:
                return 0
            self.more = claim.more
            with BATCH_SECONDS.labels(consumer=self.name).time():
                sources = [Claimed(d.event) for d in claim.deliveries if consumes(self.name, d.event)]
                await self._take(tx, sources, alone=events_max == len(sources) == 1)
                await platform.broker.advance(tx, claim)
            return len(claim.deliveries) or int(bool(claim.ends))

    async def _attempt_parked(self, events_max: int) -> int:
        platform = self.platform
        async with platform.database.transaction() as tx:
            entries = await platform.parked.take_due(tx, self.name, platform.clock(), events_max)
            read = platform.store.read_one
            sources = [Claimed(await read(tx, e.tenant_id, e.stream, e.sequence), e) for e in entries]
            if sources:
                await self._take(tx, sources, alone=events_max == len(sources) == 1)
        return len(entries)

    async def _take(self, tx: Connection, sources: Sequence[Claimed], *, alone: bool) -> None:
        """Handle events and write what came of it.

        One that is alone is tried within a savepoint: its place is held from the failure until it is parked, so that nobody
        else's event can come to stand there and be taken for the guilty one.
        """
        if not alone:
            await self._write(tx, await self._handle(tx, sources))
            return
        try:
            async with tx.transaction():
                await self._write(tx, await self._handle(tx, sources))
        except (*CONFLICTS, *LOST):
            raise
        except asyncpg.PostgresError as error:
            await self._write(tx, await self._handle(tx, sources, guilty=error))

    async def _handle(self, tx: Connection, sources: Sequence[Claimed], guilty: BaseException | None = None) -> Batch:
        platform = self.platform
        recorder = Recorder(platform.new_id, platform.clock())
        batch = Batch(self.hosted, platform.configurations, recorder, chaining=platform.chaining)
        batch.states = await platform.exceptions.lock(tx, (_key(s) for s in sources))
        self.size.regulate(len(sources), batch.states.values())
        recorder.now = platform.clock()  # after the locks: later than every event already in these streams
        await self._load_configurations(tx, batch)
        ready = [s for s in sources if s.parked] or await self._without_parked(tx, batch, sources)
        works = [(s, Work(s.event, batch.states[_key(s)])) for s in ready]
        if guilty is None and works:
            await self.gather(tx, batch, [work for _, work in works])
        for source, work in works:
            if guilty is None:
                batch.run(self, work, source)
            else:
                batch.park_dead(source, work.tracked, self.name, guilty)
        return batch

    async def _load_configurations(self, tx: Connection, batch: Batch) -> None:
        tenants = {tenant_id for tenant_id, _ in batch.states}
        used = ((tenant_id, t.state.config_hash) for (tenant_id, _), t in batch.states.items())
        await self.platform.configurations.load(tx, tenants, used)

    async def _without_parked(self, tx: Connection, batch: Batch, sources: Sequence[Claimed]) -> list[Claimed]:
        """Park events behind earlier parked ones of their exception; order per exception holds."""
        if not sources:
            return []
        streams = {(s.event.tenant_id, s.event.stream) for s in sources}
        held = await self.platform.parked.streams_with_parked(tx, self.name, streams)
        ready = []
        for source in sources:
            if (source.event.tenant_id, source.event.stream) in held:
                batch.park_behind(source, self.name)
            else:
                ready.append(source)
        return ready

    async def _write(self, tx: Connection, batch: Batch) -> None:
        await self.platform.unit_of_work.write(tx, batch.recorder.events, batch.states.values())
        for name, done in batch.done.items():
            if done:
                await self.hosted[name].settle(tx, done)
                EVENTS_HANDLED.labels(consumer=name).inc(len(done))
        await _park(tx, self.platform.parked, batch)


async def _park(tx: Connection, parked: ParkedEvents, batch: Batch) -> None:
    for entry in batch.released:
        await parked.release(tx, entry, batch.now)
    await parked.park(tx, batch.parked)
    for entry in batch.parked:
        EVENTS_PARKED.labels(consumer=entry.consumer, state=entry.state).inc()


def _key(source: Claimed) -> ExceptionKey:
    assert source.event.correlation_id is not None
    return source.event.tenant_id, source.event.correlation_id
