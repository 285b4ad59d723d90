"""Which events wait for their time, for an earlier one, or for a person?"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from sentinai.messaging.broker import Connection

DUE, BEHIND, DEAD = "due", "behind", "dead"

_PARK = """insert into parked (tenant_id, consumer, stream, sequence, dead_letter_id, type, state, attempts, due_at,
    error, message, parked_at)
  select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::uuid[], $6::text[], $7::text[], $8::int[],
    $9::timestamptz[], $10::text[], $11::text[], $12::timestamptz[])
  on conflict (tenant_id, consumer, stream, sequence) do update
    set state = excluded.state, attempts = excluded.attempts, due_at = excluded.due_at, error = excluded.error,
        message = excluded.message"""
_STREAMS = """select distinct tenant_id, stream from parked p join unnest($2::text[], $3::text[]) u(t, s)
  on p.tenant_id = u.t and p.stream = u.s where p.consumer = $1"""
_TAKE = """select tenant_id, consumer, stream, sequence, dead_letter_id, type, state, attempts, due_at, error, message,
    parked_at from parked p
  where consumer = $1 and state = 'due' and due_at <= $2
    and not exists (select from parked q where q.tenant_id = p.tenant_id and q.consumer = p.consumer
                    and q.stream = p.stream and q.sequence < p.sequence)
  order by due_at limit $3 for update skip locked"""
_RELEASE = """delete from parked where tenant_id = $1 and consumer = $2 and stream = $3 and sequence = $4"""
_NEXT = """update parked p set state = 'due', due_at = $4
  where tenant_id = $1 and consumer = $2 and stream = $3 and state = 'behind'
    and sequence = (select min(sequence) from parked q
                    where q.tenant_id = $1 and q.consumer = $2 and q.stream = $3)"""


class Parked(msgspec.Struct):
    """An event that a consumer could not handle yet (`due`, `behind`) or will not without a person (`dead`)."""

    tenant_id: str
    consumer: str
    stream: str
    sequence: int
    dead_letter_id: UUID
    type: str
    state: str
    attempts: int
    due_at: datetime | None
    error: str | None
    message: str | None
    parked_at: datetime


class ParkedEvents:
    """The `parked` table. Order per exception holds: later events are parked behind, and freed one by one."""

    async def park(self, tx: Connection, entries: Sequence[Parked]) -> None:
        if entries:
            await tx.execute(_PARK, *map(list, zip(*(msgspec.structs.astuple(e) for e in entries), strict=True)))

    async def streams_with_parked(
        self, tx: Connection, consumer: str, streams: Iterable[tuple[str, str]]
    ) -> set[tuple[str, str]]:
        """Those of the (tenant, stream) pairs that have an event parked for this consumer."""
        tenants, names = zip(*streams, strict=True)
        rows = await tx.fetch(_STREAMS, consumer, list(tenants), list(names))
        return {(row["tenant_id"], row["stream"]) for row in rows}

    async def take_due(self, tx: Connection, consumer: str, now: datetime, limit: int) -> list[Parked]:
        """The earliest parked event of streams whose time has come, locked. Spans tenants: the system's own work."""
        return [parked_of(row) for row in await tx.fetch(_TAKE, consumer, now, limit)]

    async def release(self, tx: Connection, entry: Parked, now: datetime) -> None:
        """It is handled or discarded: forget it, and make the next one behind it due."""
        await tx.execute(_RELEASE, entry.tenant_id, entry.consumer, entry.stream, entry.sequence)
        await tx.execute(_NEXT, entry.tenant_id, entry.consumer, entry.stream, now)


def parked_of(row: object) -> Parked:
    values = dict(row)  # type: ignore[call-overload]
    return Parked(**{name: values[name] for name in Parked.__struct_fields__})
