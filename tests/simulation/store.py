"""What would PostgreSQL do? Transactions, row locks and the log's horizon in memory, for one thread that takes turns.

Reads see what is committed at that moment and the transaction's own writes (read committed); a crash drops the rest.
"""

import types
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sentinai.errors import Conflict
from sentinai.events.envelope import Event
from sentinai.infrastructure.repositories.configurations import Configurations, TenantConfiguration
from sentinai.infrastructure.repositories.exceptions import Key, decode_state
from sentinai.messaging.broker import Claim, Delivery, Place
from sentinai.messaging.parked import BEHIND, DUE, Parked
from sentinai.orchestrator.pipeline import topics_of
from sentinai.orchestrator.recording import Tracked, track
from sentinai.packs.effective import EffectiveConfig

NOWHERE = Place(0, 0)
_encode = msgspec.json.Encoder().encode


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Here another process may go on, and this one may die."""
    yield


class Stored(NamedTuple):
    """An exception's row."""

    pending: int
    state: bytes
    log_xid: int


class Row(NamedTuple):
    """An event in the log."""

    place: Place
    event: Event


class Tx:
    def __init__(self, store: "Store") -> None:
        self.store = store
        self.xid: int | None = None
        self.waits_for: Tx | None = None
        self.writes: dict[tuple[str, Any], Any] = {}
        """By table and key; None deletes."""
        self.log: list[Row] = []
        self.handled: list[tuple[str, str, int]] = []

    def begin_writing(self) -> int:
        if self.xid is None:
            self.xid = self.store.next_xid
            self.store.next_xid += 1
        return self.xid

    def get(self, table: str, key: Any) -> Any:
        return self.writes.get((table, key), self.store.tables[table].get(key))

    def put(self, table: str, key: Any, value: Any) -> None:
        self.begin_writing()
        self.writes[table, key] = value

    def rows(self, table: str) -> dict[Any, Any]:
        own = {key: value for (name, key), value in self.writes.items() if name == table}
        return {key: value for key, value in (self.store.tables[table] | own).items() if value is not None}

    def try_lock(self, row: Any) -> bool:
        """Skip locked."""
        self.begin_writing()
        return self.store.locks.setdefault(row, self) is self

    async def lock(self, row: Any) -> None:
        """Waits for whoever holds the row; raises Conflict for who would close a circle."""
        while not self.try_lock(row):
            self.waits_for = self.store.locks[row]
            if self.waits_for.waits_for is self:
                raise Conflict("deadlock")
            await turn()
        self.waits_for = None

    def end(self, *, commit: bool) -> None:
        store = self.store
        if commit:
            for (table, key), value in self.writes.items():
                if value is None:
                    store.tables[table].pop(key, None)
                else:
                    store.tables[table][key] = value
            store.log += self.log
            store.handled += self.handled
        store.running.discard(self)
        store.locks = {row: tx for row, tx in store.locks.items() if tx is not self}


class Store:
    """Stands for the database, the broker, and every repository of `Platform`."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Any, Any]] = {"exception": {}, "cursor": {}, "parked": {}, "dedup": {}}
        self.log: list[Row] = []
        self.handled: list[tuple[str, str, int]] = []
        """(consumer, stream, sequence), in the order of the commits."""
        self.locks: dict[Any, Tx] = {}
        self.running: set[Tx] = set()
        self.next_xid = self.next_position = 1

    def open(self) -> Tx:
        tx = Tx(self)
        self.running.add(tx)
        return tx

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        tx = self.open()
        try:
            yield tx
            if tx.xid is not None:
                await turn()
        except BaseException:
            tx.end(commit=False)
            raise
        tx.end(commit=True)
        if tx.xid is not None:
            await turn()

    def horizon(self) -> int:
        """The oldest transaction still running: nothing below it can still appear."""
        return min((tx.xid for tx in self.running if tx.xid is not None), default=self.next_xid)

    def write(self, tx: Tx, events: Sequence[Event], touched: Iterable[Tracked]) -> None:
        """Raises Conflict when a sequence is taken already."""
        touched = list(touched)
        after = {tracked.stream: tracked.after for tracked in touched}
        for event in events:
            key = event.stream, event.sequence
            if not tx.try_lock(key) or any((r.event.stream, r.event.sequence) == key for r in self.log):
                raise Conflict("sequence taken")
            xid = max(tx.begin_writing(), after.get(event.stream, 0))
            tx.log.append(Row(Place(xid, self.next_position), event))
            self.next_position += 1
        for tracked in touched:
            state = tracked.state
            row = Stored(tracked.pending, _encode(state), max(tx.begin_writing(), tracked.after))
            tx.put("exception", (state.tenant_id, state.exception_id), row)


class UnitOfWork:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, tx: Tx, events: Sequence[Event], touched: Iterable[Tracked]) -> None:
        self._store.write(tx, events, touched)
        await turn()


class Broker:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, tx: Tx, consumer: str, events_max: int, partition: int | None = None) -> Claim | None:
        """Two statements, as PostgresBroker: lock the cursors of a partition with news, then read with a later snapshot."""
        waiting = self._newer(tx, consumer, partition)
        partitions = sorted({r.event.partition for r in waiting})
        held = next(([p] for p in partitions if tx.try_lock((consumer, p))), None)
        if held is None:
            return None
        await turn()
        rows: list[Row] = []
        for number in held:
            for topic in topics_of(consumer):
                found = [r for r in self._newer(tx, consumer, number) if r.event.topic == topic]
                rows += found[: max(1, events_max // len(held))]
        rows.sort(key=lambda row: row.place)
        ends = {(r.event.topic, r.event.partition): r.place for r in rows}
        return Claim(consumer, [Delivery(msgspec.structs.replace(r.event), r.place) for r in rows], ends)

    async def advance(self, tx: Tx, claim: Claim) -> None:
        for (topic, partition), place in claim.ends.items():
            tx.put("cursor", (claim.consumer, topic, partition), place)

    def _newer(self, tx: Tx, consumer: str, partition: int | None) -> list[Row]:
        horizon, topics = self._store.horizon(), topics_of(consumer)
        return sorted(
            row
            for row in self._store.log
            if row.event.topic in topics
            and not row.event.handled
            and (partition is None or row.event.partition == partition)
            and row.place.xid < horizon
            and row.place > (tx.get("cursor", (consumer, row.event.topic, row.event.partition)) or NOWHERE)
        )


class Exceptions:
    async def lock(self, tx: Tx, keys: Iterable[Key]) -> dict[Key, Tracked]:
        wanted = sorted({key for key in keys if tx.get("exception", key)}, key=lambda key: (key[1], key[0]))
        for key in wanted:
            await tx.lock(key)
        if wanted:
            await turn()
        return {key: _tracked(tx, tx.get("exception", key)) for key in wanted}

    async def lock_due(self, tx: Tx, now: datetime, _limit: int) -> dict[Key, Tracked]:
        times = {key: decode_state(row.state).due_at for key, row in tx.rows("exception").items()}
        due = [key for key, time in times.items() if time and time <= now and tx.try_lock(key)]
        return {key: _tracked(tx, tx.get("exception", key)) for key in due}

    async def claim_dedup_keys(
        self, tx: Tx, claims: Mapping[tuple[str, str], UUID], _now: datetime
    ) -> dict[tuple[str, str], UUID]:
        for key in sorted(claims):
            await tx.lock(("dedup", key))
            tx.put("dedup", key, tx.get("dedup", key) or claims[key])
        return {key: tx.get("dedup", key) for key in claims}

    async def take_dedup_keys(self, tx: Tx, taken: Mapping[tuple[str, str], UUID], _now: datetime) -> None:
        for key, number in taken.items():
            tx.put("dedup", key, number)


class ParkedRows:
    """Keys are (consumer, stream, sequence): the simulation has one tenant."""

    async def park(self, tx: Tx, entries: Sequence[Parked]) -> None:
        for entry in entries:
            key = entry.consumer, entry.stream, entry.sequence
            await tx.lock(key)
            tx.put("parked", key, msgspec.structs.replace(entry))

    async def streams_with_parked(self, tx: Tx, consumer: str, streams: set[tuple[str, str]]) -> set[tuple[str, str]]:
        return {(e.tenant_id, e.stream) for e in tx.rows("parked").values() if e.consumer == consumer} & streams

    async def take_due(self, tx: Tx, consumer: str, now: datetime, limit: int) -> list[Parked]:
        earliest: dict[str, Parked] = {}
        for _, entry in sorted(tx.rows("parked").items()):
            if entry.consumer == consumer:
                earliest.setdefault(entry.stream, entry)
        due = [e for e in earliest.values() if e.state == DUE and e.due_at is not None and e.due_at <= now]
        taken = [e for e in due if tx.try_lock((consumer, e.stream, e.sequence))][:limit]
        if taken:
            await turn()
        return [msgspec.structs.replace(e) for e in taken]

    async def release(self, tx: Tx, entry: Parked, now: datetime) -> None:
        key = entry.consumer, entry.stream, entry.sequence
        await tx.lock(key)
        tx.put("parked", key, None)
        later = sorted(k for k in tx.rows("parked") if k[:2] == key[:2])
        if later and (following := tx.get("parked", later[0])).state == BEHIND:
            tx.put("parked", later[0], msgspec.structs.replace(following, state=DUE, due_at=now))


class Log:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def read_one(self, _tx: Tx, _tenant_id: str, stream: str, sequence: int) -> Event:
        found = (r.event for r in self._store.log if (r.event.stream, r.event.sequence) == (stream, sequence))
        return msgspec.structs.replace(next(found))


class Executions:
    async def accept(self, _tx: Tx, executions: Sequence[tuple[str, UUID]], _now: datetime) -> None:
        assert not executions, "the simulated pack calls no tools"


class OneTenant(Configurations):
    def __init__(self, config: EffectiveConfig) -> None:
        super().__init__()
        self._compiled[config.hash] = config
        self._tenants[config.tenant_id] = TenantConfiguration(config.tenant_id, 1, False, (config,), frozenset())

    async def load(self, *_: Any) -> None: ...


def _tracked(tx: Tx, row: Stored) -> Tracked:
    after = row.log_xid if row.log_xid > tx.begin_writing() else 0
    return track(decode_state(row.state), row.pending, row.state, after)
