"""How is the durable list of tool calls kept: requested, leased, ended?"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.events.envelope import Event
from sentinai.events.policy import ApprovalGranted
from sentinai.events.tool import (
    ToolExecutionCalledOff,
    ToolExecutionCompleted,
    ToolExecutionFailed,
    ToolExecutionRequested,
    ToolExecutionStarted,
)
from sentinai.infrastructure.repositories.pages import Listed, PageRequest, read_page
from sentinai.infrastructure.repositories.rows import columns_of, one_of
from sentinai.infrastructure.tables.tables import tool_execution

Connection = asyncpg.Connection

_REQUEST = """insert into tool_execution (tenant_id, execution_id, exception_id, stream, step, tool, is_channel, input,
    config_hash, status, requested_by, requested_at, causation_id, idempotency_key)
  select t, x, e, s, p, n, c, i::json, h, 'REQUESTED', b, a, u, k from unnest($1::text[], $2::uuid[], $3::uuid[],
    $4::text[], $5::text[], $6::text[], $7::boolean[], $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::uuid[],
    $13::uuid[]) r(t, x, e, s, p, n, c, i, h, b, a, u, k)
  on conflict do nothing"""
_ACCEPT = """update tool_execution t set due_at = $3 from unnest($1::text[], $2::uuid[]) u(tenant_id, execution_id)
  where t.tenant_id = u.tenant_id and t.execution_id = u.execution_id and t.status = 'REQUESTED'"""
_START = """update tool_execution t set started_at = coalesce(t.started_at, u.at), idle_lease = null, waits_for = null
  from unnest($1::text[], $2::uuid[], $3::timestamptz[]) u(tenant_id, execution_id, at)
  where t.tenant_id = u.tenant_id and t.execution_id = u.execution_id"""
_END = """update tool_execution t set status = u.status, attempts = u.attempts, output = u.output::json, error = u.error,
    ended_at = u.at, due_at = null, lease_until = null, waits_for = null, answer = u.answer::json
  from unnest($1::text[], $2::uuid[], $3::text[], $4::int[], $5::text[], $6::text[], $7::timestamptz[], $8::text[])
    u(tenant_id, execution_id, status, attempts, output, error, at, answer)
  where t.tenant_id = u.tenant_id and t.execution_id = u.execution_id"""
_CALL_OFF = """update tool_execution t set status = 'CANCELLED', error = u.reason, ended_at = u.at, due_at = null,
    lease_until = null, waits_for = null
  from unnest($1::text[], $2::uuid[], $3::text[], $4::timestamptz[]) u(tenant_id, execution_id, reason, at)
  where t.tenant_id = u.tenant_id and t.execution_id = u.execution_id
    and (t.status = 'REQUESTED' and (t.started_at is null or t.waits_for is not null)
      or t.status = 'RUNNING' and t.idle_lease = t.lease_until)"""
"""Not one that began and waits for nothing that is named: the version before recorded no ToolExecutionRetryScheduled, so by its
events it is still under way and a later run may wait for it. Its next attempt meets the gate, which ends it if nobody does."""
_RELEASE = """update tool_execution t set due_at = u.at, waits_for = null
  from unnest($1::text[], $2::uuid[], $3::timestamptz[]) u(tenant_id, exception_id, at)
  where t.tenant_id = u.tenant_id and t.exception_id = u.exception_id and t.status = 'REQUESTED'
    and t.waits_for = 'APPROVAL'"""
_UNKNOWN = "select true from tool_execution where tenant_id = $1 and execution_id = $2 and status = 'UNKNOWN' for no key update"
_OPEN = "status in ('REQUESTED', 'RUNNING') and due_at <= $1"
_LEASE = f"""with recursive tenants as (
    (select tenant_id from tool_execution where {_OPEN} order by tenant_id limit 1)
  union all
    select n.tenant_id from tenants t cross join lateral (select tenant_id from tool_execution
      where {_OPEN} and tenant_id > t.tenant_id order by tenant_id limit 1) n),
  asking as (select tenant_id from tenants where tenant_id <> all($4::text[]) order by random() limit $2),
  due as (select d.* from asking a cross join lateral (
      select tenant_id, execution_id, status = 'RUNNING' and idle_lease is distinct from lease_until as crashed
      from tool_execution where {_OPEN} and tenant_id = a.tenant_id
      order by due_at limit (select greatest(1, $2 / count(*)) from asking) for update skip locked) d)
  update tool_execution t set status = 'RUNNING', attempts = t.attempts + 1, lease_until = $3, due_at = $3, idle_lease = $3
  from due where t.tenant_id = due.tenant_id and t.execution_id = due.execution_id
  returning t.tenant_id, t.execution_id, t.exception_id, t.stream, t.step, t.tool, t.is_channel, t.input, t.config_hash,
    t.attempts, t.requested_at, t.lease_until, t.causation_id, coalesce(t.idempotency_key, t.execution_id) as key,
    due.crashed"""
_HOLD = """select lease_until from tool_execution where tenant_id = $1 and execution_id = $2 and status = 'RUNNING'
  for no key update"""
_AGAIN = """update tool_execution set status = 'REQUESTED', due_at = $3, lease_until = null, error = $4, idle_lease = null,
    attempts = attempts - $5, waits_for = $6
  where tenant_id = $1 and execution_id = $2 and status = 'RUNNING'"""

_PROJECTED = frozenset(
    {
        ToolExecutionRequested,
        ToolExecutionStarted,
        ToolExecutionCalledOff,
        ToolExecutionCompleted,
        ToolExecutionFailed,
        ApprovalGranted,
    }
)
_encode = msgspec.json.Encoder().encode


class Leased(msgspec.Struct):
    """A call that this process may make until its lease ends; `crashed`: an earlier attempt began and never reported back.

    A lease says of itself that nothing was sent yet (`idle_lease`); one of a process that does not know to say so, of the
    version before, counts as begun.
    """

    tenant_id: str
    execution_id: UUID
    exception_id: UUID | None
    stream: str
    step: str | None
    tool: str
    is_channel: bool
    input: Any
    config_hash: str | None
    attempts: int
    requested_at: datetime
    lease_until: datetime
    """Also tells this attempt from every other one of the call."""
    causation_id: UUID | None
    key: UUID
    """The idempotency key."""
    crashed: bool


class ExecutionFilter(msgspec.Struct, frozen=True):
    """Which calls; None does not restrict."""

    status: str | None = None
    tool: str | None = None
    exception_id: UUID | None = None


class Waiting(NamedTuple):
    """Why a call makes no attempt now."""

    due_at: datetime | None
    """Until when; None: until somebody says so."""
    waits_for: str
    """APPROVAL, CIRCUIT_OPEN, TOOL_BUSY, TENANT_BUSY or RETRY."""
    reason: str
    counted: bool
    """Whether the attempt that ended was one."""


class ExecutionRow(msgspec.Struct, frozen=True):
    """A call as people see it."""

    execution_id: UUID
    exception_id: UUID | None
    step: str | None
    tool: str
    status: str
    attempts: int
    input: Any
    """JSON, decoded; the output likewise."""
    output: Any
    error: str | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    waits_for: str | None
    due_at: datetime | None
    idempotency_key: UUID | None
    answer: Any


async def project_executions(tx: Connection, events: Sequence[Event]) -> None:
    """Apply a transaction's events to `tool_execution`: a statement for each kind, none when there is none of it."""
    events = [event for event in events if type(event.body) in _PROJECTED]
    for statement, row_of in _PROJECTIONS:
        if rows := [row for event in events if (row := row_of(event)) is not None]:
            await tx.execute(statement, *map(list, zip(*rows, strict=True)))


class ExecutionRepository:
    """The work list of the tool worker's executor. Spans tenants: the system's own work."""

    async def accept(self, tx: Connection, executions: Sequence[tuple[str, UUID]], now: datetime) -> None:
        """The tool worker took them: they are due."""
        if executions:
            tenants, ids = zip(*executions, strict=True)
            await tx.execute(_ACCEPT, list(tenants), list(ids), now)

    async def lease(
        self, tx: Connection, now: datetime, lease_until: datetime, limit: int, but: Sequence[str] = ()
    ) -> list[Leased]:
        """Due calls, and those whose lease ran out, leased until `lease_until` with one more attempt counted.

        Tenants get equal parts of `limit`, those named in `but` none.
        """
        return [_leased(row) for row in await tx.fetch(_LEASE, now, limit, lease_until, list(but))]

    async def holds(self, tx: Connection, leased: Leased) -> bool:
        """Is this attempt still the one that counts? Locks the row."""
        return bool(await tx.fetchval(_HOLD, leased.tenant_id, leased.execution_id) == leased.lease_until)

    async def wait(self, tx: Connection, leased: Leased, waiting: Waiting) -> None:
        """This attempt is over, and another one is allowed; one that never began does not count."""
        uncounted = 0 if waiting.counted else 1
        place = leased.tenant_id, leased.execution_id
        await tx.execute(_AGAIN, *place, waiting.due_at, waiting.reason, uncounted, waiting.waits_for)

    async def is_unknown(self, tx: Connection, leased: Leased) -> bool:
        """Is the call's end taken for unknown? Locks the row."""
        return bool(await tx.fetchval(_UNKNOWN, leased.tenant_id, leased.execution_id))


async def list_executions(
    connection: AsyncConnection, tenant_id: str, wanted: ExecutionFilter, page: PageRequest
) -> Listed[ExecutionRow]:
    """The newest first."""
    c = tool_execution.c
    query = select(*columns_of(tool_execution, ExecutionRow)).where(c.tenant_id == tenant_id)
    for column, value in {c.status: wanted.status, c.tool: wanted.tool, c.exception_id: wanted.exception_id}.items():
        if value is not None:
            query = query.where(column == value)
    keys = {"datetime": c.requested_at, "uuid": c.execution_id}
    return await read_page(connection, ExecutionRow, query, keys, page)


async def find_execution(connection: AsyncConnection, tenant_id: str, execution_id: UUID) -> ExecutionRow:
    """Raises Missing."""
    c = tool_execution.c
    query = select(*columns_of(tool_execution, ExecutionRow))
    query = query.where(c.tenant_id == tenant_id, c.execution_id == execution_id)
    return await one_of(connection, ExecutionRow, query, f"execution {execution_id}")


def _requested(event: Event) -> tuple[Any, ...] | None:
    body = event.body
    if not isinstance(body, ToolExecutionRequested):
        return None
    return (
        event.tenant_id,
        body.execution_id,
        event.correlation_id,
        event.stream,
        body.step,
        body.tool,
        body.channel,
        _encode(body.input).decode(),
        event.config_hash,
        event.actor,
        event.occurred_at,
        event.event_id,
        body.key,
    )


def _called_off(event: Event) -> tuple[Any, ...] | None:
    body = event.body
    if not isinstance(body, ToolExecutionCalledOff):
        return None
    return event.tenant_id, body.execution_id, body.reason, event.occurred_at


def _released(event: Event) -> tuple[Any, ...] | None:
    """A yes for a run: its calls that wait for it are due."""
    body = event.body
    if not isinstance(body, ApprovalGranted) or body.step is not None:
        return None
    return event.tenant_id, event.correlation_id, event.occurred_at


def _started(event: Event) -> tuple[Any, ...] | None:
    body = event.body
    return (event.tenant_id, body.execution_id, event.occurred_at) if isinstance(body, ToolExecutionStarted) else None


def _ended(event: Event) -> tuple[Any, ...] | None:
    body = event.body
    if isinstance(body, ToolExecutionCompleted):
        status, output, error, answer = "SUCCEEDED", _encode(body.output).decode(), None, None
    elif isinstance(body, ToolExecutionFailed):
        status, output, error, answer = str(body.status), None, body.error, _unusable(body)
    else:
        return None
    return event.tenant_id, body.execution_id, status, body.attempts, output, error, event.occurred_at, answer


def _unusable(body: ToolExecutionFailed) -> str | None:
    """What is kept of an answer that could not be used."""
    if body.status_code is None:
        return None
    kept = {"status_code": body.status_code, "media_type": body.media_type, "beginning": body.beginning}
    return _encode(kept).decode()


_PROJECTIONS = (
    (_REQUEST, _requested),
    (_START, _started),
    (_CALL_OFF, _called_off),
    (_END, _ended),
    (_RELEASE, _released),
)


def _leased(row: asyncpg.Record) -> Leased:
    values = dict(row) | {"input": msgspec.json.decode(row["input"])}
    for name in ("execution_id", "exception_id", "causation_id", "key"):
        values[name] = UUID(bytes=values[name].bytes) if values[name] else None
    return Leased(**values)
