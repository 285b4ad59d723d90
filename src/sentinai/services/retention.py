"""Which closed exceptions may go, and how is it proven afterwards that nothing else went?

`retentionPolicies.dataTTL` of a tenant's policy says for how many days an exception of that domain is kept after its last change. What
is older is removed as a whole: events, row, approvals and tool calls. A signed tombstone on the tenant's own stream keeps
how long each chain was and where it ended.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from sentinai.events.retention import ExceptionsRemoved, Removed
from sentinai.infrastructure.database import Database
from sentinai.messaging.broker import RELAY, Connection
from sentinai.models.exception_record import stream_of
from sentinai.security.signatures import is_signed, key_id, sign
from sentinai.services.recording import Commands, record_configuration
from sentinai.services.verification import Finding

BATCH = 500
"""Exceptions removed in one transaction, which holds the log back while it lasts."""
WHO = "system:retention"

_TENANTS = "select tenant_id from tenant where $1::text is null or tenant_id = $1 order by tenant_id"
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


class Policy(NamedTuple):
    """Exceptions of this tenant's domain that have not changed for `days` may go."""

    tenant_id: str
    domain: str
    days: int


async def policies(owner: Commands, tenant_id: str | None) -> list[Policy]:
    """What the active packs of a tenant (None: of all) say."""
    found = []
    async with owner.database.transaction() as tx:
        for row in await tx.fetch(_TENANTS, tenant_id):
            await owner.configurations.load(tx, [row["tenant_id"]])
            for config in owner.configurations.tenant(row["tenant_id"]).active:
                if config.retention_days is not None:
                    found.append(Policy(row["tenant_id"], config.domain, config.retention_days))
    return found


async def count_closed(owner: Commands, policy: Policy, *, kafka: bool) -> int:
    """How many exceptions `remove_closed` would remove now."""
    before = owner.clock() - timedelta(days=policy.days)
    async with owner.database.transaction() as tx:
        return int(await tx.fetchval(_COUNT, policy.tenant_id, policy.domain, before, _relay(kafka)))


async def remove_closed(owner: Commands, policy: Policy, key: bytes, *, kafka: bool) -> AsyncIterator[int]:
    """Remove what the policy lets go, batch by batch; yields how many exceptions each removed.

    Kept are exceptions that are open or that wait for anything, and where Kafka is in use those of which it has not had every event.
    """
    before = owner.clock() - timedelta(days=policy.days)
    tombstone = ExceptionsRemoved(policy.tenant_id, policy.domain, before, [], key_id(key))
    while True:
        async with owner.database.transaction() as tx:
            rows = await tx.fetch(_TAKE, policy.tenant_id, policy.domain, before, _relay(kafka), BATCH)
            taken = [row["exception_id"] for row in rows]
            if taken:
                await _remove(owner, tx, tombstone, taken, key)
        if not taken:
            return
        yield len(taken)


async def _remove(
    owner: Commands, tx: Connection, tombstone: ExceptionsRemoved, taken: Sequence[UUID], key: bytes
) -> None:
    tenant_id, streams = tombstone.tenant_id, [stream_of(exception_id) for exception_id in taken]
    ends = await tx.fetch(_ENDS, tenant_id, streams)
    removed = [Removed(UUID(bytes=e["correlation_id"].bytes), e["events"], e["hash"].hex()) for e in ends]
    for statement in _REMOVE:
        await tx.execute(statement, tenant_id, streams)
    complete = msgspec.structs.replace(tombstone, removed=removed)
    signed = msgspec.structs.replace(complete, signature=sign(key, _signed_content(complete)))
    await record_configuration(owner, tx, (tenant_id, f"tenant/retention/{tenant_id}"), WHO, signed)


async def check_tombstones(database: Database, tenant_id: str | None, key: bytes | None) -> AsyncIterator[Finding]:
    """One finding per tombstone: is it signed with our key (None: not looked at), and is what it removed gone?"""
    async with database.transaction() as tx:
        for row in await tx.fetch(_TOMBSTONES, tenant_id):
            tombstone = msgspec.json.decode(row["payload"], type=ExceptionsRemoved)
            place = f"tenant {row['tenant_id']}, tombstone {row['sequence']}"
            streams = [stream_of(removed.exception_id) for removed in tombstone.removed]
            problem = None
            if key is not None and tombstone.key_id != key_id(key):
                problem = f"{place}: signed with key {tombstone.key_id}, not with this installation's"
            elif key is not None and not is_signed(key, _signed_content(tombstone), tombstone.signature):
                problem = f"{place}: its signature does not fit what it says"
            elif tombstone.tenant_id != row["tenant_id"]:
                problem = f"{place}: it speaks of tenant {tombstone.tenant_id}"
            elif await tx.fetchval(_STILL_THERE, row["tenant_id"], streams):
                problem = f"{place}: exceptions that it calls removed have events"
            yield Finding(1, problem)


def _relay(kafka: bool) -> str | None:
    """Whose cursors keep events; where Kafka is no longer in use they stand still."""
    return RELAY if kafka else None


def _signed_content(tombstone: ExceptionsRemoved) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(tombstone, signature=""))
