"""How are events appended, read back and verified? The EventStore."""

from collections.abc import AsyncIterator, Mapping, Sequence

import asyncpg

from sentinai.events.catalog import decode
from sentinai.events.envelope import Event, chain_hash
from sentinai.infrastructure.database import Connection
from sentinai.orchestrator.recording import StreamEnd

TYPES = {
    "tenant_id": "text",
    "stream": "text",
    "sequence": "integer",
    "event_id": "uuid",
    "type": "text",
    "schema_version": "smallint",
    "topic": "text",
    "partition": "smallint",
    "occurred_at": "timestamptz",
    "actor": "text",
    "correlation_id": "uuid",
    "causation_id": "uuid",
    "config_hash": "text",
    "payload": "json",
    "hash": "bytea",
    "handled": "boolean",
}
COLUMNS = tuple(TYPES)
STREAM_EVENTS_MAX = 100_000
"""Events of one stream that are read at once; a longer stream is a broken invariant."""

_COLUMN_LIST = ", ".join(COLUMNS)
_PLACED = TYPES | {"xid": "xid8"}
_READ_STREAM = f"select {_COLUMN_LIST} from event where tenant_id = $1 and stream = $2 order by sequence limit $3"
_READ_ONE = f"select {_COLUMN_LIST} from event where tenant_id = $1 and stream = $2 and sequence = $3"
_STREAM_END = "select sequence, hash from event where tenant_id = $1 and stream = $2 order by sequence desc limit 1"
_SCAN = f"""select {_COLUMN_LIST} from event
  where ($1::text is null or tenant_id = $1) order by tenant_id, stream, sequence"""


class EventStore:
    """The append-only log. The database role has INSERT and SELECT on it, nothing else.

    `copy`: append by COPY, twice as fast as INSERT; PostgreSQL refuses it to roles under row-level security.
    """

    def __init__(self, *, copy: bool) -> None:
        self._copy = copy

    async def append(
        self, tx: Connection, events: Sequence[Event], after: Mapping[tuple[str, str], int] | None = None
    ) -> None:
        """Append in one statement. A sequence that is taken already raises the driver's UniqueViolationError.

        `after`: (tenant, stream) of which a transaction with a higher id than ours wrote the last event. The log is read by
        transaction id, so ours are stored with that one: nothing lower can still appear once it is below the horizon.
        """
        if after:
            placed = [(*_record(e), after[e.tenant_id, e.stream]) for e in events if (e.tenant_id, e.stream) in after]
            await self._write(tx, placed, _PLACED)
            events = [e for e in events if (e.tenant_id, e.stream) not in after]
        await self._write(tx, [_record(event) for event in events], TYPES)

    async def _write(self, tx: Connection, records: Sequence[tuple[object, ...]], types: Mapping[str, str]) -> None:
        if records and self._copy:
            await tx.copy_records_to_table("event", records=records, columns=tuple(types))
        elif records:
            lists = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(types.values(), 1))
            insert = f"insert into event ({', '.join(types)}) select * from unnest({lists})"
            await tx.execute(insert, *map(list, zip(*records, strict=True)))

    async def read_stream(self, tx: Connection, tenant_id: str, stream: str) -> list[Event]:
        """All events of a stream in order; empty for another tenant's or an unknown one."""
        return [event_of(row) for row in await tx.fetch(_READ_STREAM, tenant_id, stream, STREAM_EVENTS_MAX)]

    async def read_one(self, tx: Connection, tenant_id: str, stream: str, sequence: int) -> Event:
        """One event that is known to be there."""
        row = await tx.fetchrow(_READ_ONE, tenant_id, stream, sequence)
        assert row is not None, (tenant_id, stream, sequence)
        return event_of(row)

    async def stream_end(self, tx: Connection, tenant_id: str, stream: str) -> StreamEnd:
        """Where the stream stands; sequence 0 when it has no events yet."""
        row = await tx.fetchrow(_STREAM_END, tenant_id, stream)
        return (
            StreamEnd(tenant_id, stream, row["sequence"], row["hash"]) if row else StreamEnd(tenant_id, stream, 0, b"")
        )

    async def scan(self, tx: Connection, tenant_id: str | None) -> AsyncIterator[list[Event]]:
        """Whole streams, one after the other; `None` spans all tenants (for verification by the operator)."""
        stream: list[Event] = []
        async for row in tx.cursor(_SCAN, tenant_id, prefetch=200):
            event = event_of(row)
            if stream and (stream[0].tenant_id, stream[0].stream) != (event.tenant_id, event.stream):
                yield stream
                stream = []
            stream.append(event)
        if stream:
            yield stream


def first_broken(stream: Sequence[Event]) -> str | None:
    """Why the chain of a whole stream does not hold, naming the first broken event; None when it holds."""
    previous = b""
    for expected, event in enumerate(stream, 1):
        place = f"tenant {event.tenant_id}, stream {event.stream}, sequence {event.sequence} ({event.type})"
        if event.sequence != expected:
            return f"{place}: event {expected} is missing before it"
        if chain_hash(previous, event) != event.hash:
            return f"{place}: its hash does not match its content and its predecessor"
        previous = event.hash
    return None


def _record(event: Event) -> tuple[object, ...]:
    return (
        event.tenant_id,
        event.stream,
        event.sequence,
        event.event_id,
        event.type,
        event.schema_version,
        event.topic,
        event.partition,
        event.occurred_at,
        event.actor,
        event.correlation_id,
        event.causation_id,
        event.config_hash,
        event.payload,
        event.hash,
        event.handled,
    )


def event_of(row: asyncpg.Record) -> Event:
    """The event of a row that has COLUMNS."""
    return Event(
        tenant_id=row["tenant_id"],
        stream=row["stream"],
        sequence=row["sequence"],
        event_id=row["event_id"],
        type=row["type"],
        schema_version=row["schema_version"],
        topic=row["topic"],
        partition=row["partition"],
        occurred_at=row["occurred_at"],
        actor=row["actor"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        config_hash=row["config_hash"],
        payload=row["payload"],
        hash=row["hash"],
        handled=row["handled"],
        body=decode(row["type"], row["schema_version"], row["payload"]),
    )
