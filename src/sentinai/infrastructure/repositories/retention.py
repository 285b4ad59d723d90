"""Which closed exceptions may go, how are they removed as a whole, and what is left of them?"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sentinai.infrastructure.database import Connection

_CLOSED = """from exception x
  where tenant_id = $1 and domain = $2 and received_at < $3 and updated_at < $3 and status in ('RESOLVED', 'MERGED')
    and pending = 0
    and not exists (select from parked p where p.tenant_id = x.tenant_id and p.stream = 'exception/' || x.exception_id)
    and not exists (select from tool_execution t where t.tenant_id = x.tenant_id and t.exception_id = x.exception_id
                    and t.status in ('REQUESTED', 'RUNNING'))
    and not exists (select from event e join consumer_cursor k on k.consumer = $4 and k.topic = e.topic
                      and k.partition = e.partition and (e.xid, e.position) > (k.xid, k.position)
                    where e.tenant_id = x.tenant_id and e.stream = 'exception/' || x.exception_id)"""
_COUNT = f"select count(*) {_CLOSED}"
_TAKE = f"select exception_id {_CLOSED} order by received_at, exception_id limit $5 for update of x skip locked"
_ENDS = """select correlation_id, count(*)::int as events, (array_agg(hash order by sequence desc))[1] as hash from event
  where tenant_id = $1 and stream = any($2::text[]) group by correlation_id order by correlation_id"""
_OF_EVENTS = """delete from {table} using event e where e.tenant_id = $1 and e.stream = any($2::text[]) and e.type = '{type}'
  and {table}.tenant_id = $1 and {table}.{column} = (e.payload->>'{column}')::uuid"""
_OF_STREAMS = "x.tenant_id = $1 and x.exception_id = any(select substr(s, 11)::uuid from unnest($2::text[]) s)"
_REMOVE = (
    _OF_EVENTS.format(table="approval", type="ApprovalRequested", column="approval_id"),
    _OF_EVENTS.format(table="tool_execution", type="ToolExecutionRequested", column="execution_id"),
    f"""delete from dedup d using exception x where {_OF_STREAMS}
          and d.tenant_id = $1 and d.dedup_key = x.state->>'dedup_key' and d.exception_id = x.exception_id""",
    f"delete from exception x where {_OF_STREAMS}",
    "delete from event where tenant_id = $1 and stream = any($2::text[])",
)
"""Each finds its rows by key: what removes in a large database may not read whole tables."""
_TOMBSTONES = """select tenant_id, sequence, payload from event
  where type = 'ExceptionsRemoved' and ($1::text is null or tenant_id = $1) order by tenant_id, sequence"""
_STILL_THERE = "select count(*) from event where tenant_id = $1 and stream = any($2::text[])"


class Closed(NamedTuple):
    """Exceptions of a tenant's domain that are closed, wait for nothing, and have not changed since `before`."""

    tenant_id: str
    domain: str
    before: datetime
    kept_for: str | None
    """A consumer that has to have had every event of them; None where nobody has to."""


class ChainEnd(NamedTuple):
    """How long an exception's chain is, and where it ends."""

    exception_id: UUID
    events: int
    hash: bytes


class TombstoneRow(NamedTuple):
    tenant_id: str
    sequence: int
    payload: bytes
    """An `ExceptionsRemoved` as JSON."""


async def count_closed(tx: Connection, closed: Closed) -> int:
    return int(await tx.fetchval(_COUNT, *closed))


async def take_closed(tx: Connection, closed: Closed, limit: int) -> list[UUID]:
    """The oldest of them, locked."""
    return [row["exception_id"] for row in await tx.fetch(_TAKE, *closed, limit)]


async def chain_ends(tx: Connection, tenant_id: str, streams: Sequence[str]) -> list[ChainEnd]:
    """Of streams of exceptions, in the order of their ids."""
    rows = await tx.fetch(_ENDS, tenant_id, streams)
    return [ChainEnd(UUID(bytes=row["correlation_id"].bytes), row["events"], row["hash"]) for row in rows]


async def remove_streams(tx: Connection, tenant_id: str, streams: Sequence[str]) -> None:
    """Exceptions as a whole: events, row, approvals, tool calls and dedup keys."""
    for statement in _REMOVE:
        await tx.execute(statement, tenant_id, streams)


async def tombstones(tx: Connection, tenant_id: str | None) -> list[TombstoneRow]:
    """None spans all tenants (for verification by the operator)."""
    rows = await tx.fetch(_TOMBSTONES, tenant_id)
    return [TombstoneRow(row["tenant_id"], row["sequence"], row["payload"]) for row in rows]


async def count_events(tx: Connection, tenant_id: str, streams: Sequence[str]) -> int:
    """How many events these streams have (still)."""
    return int(await tx.fetchval(_STILL_THERE, tenant_id, streams))
