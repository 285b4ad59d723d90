"""What keeps events from being handled: how far behind are consumers, what is parked, and who holds the log back?"""

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.messaging.broker import Connection

_BEHIND = text("""select k.consumer, k.topic, k.partition, count(e.*) as lag,
    extract(epoch from now() - min(e.occurred_at))::float8 as oldest_s
  from consumer_cursor k join event e on e.topic = k.topic and e.partition = k.partition and not e.handled
    and (e.xid, e.position) > (k.xid, k.position) and e.tenant_id = :tenant
  where k.consumer <> 'relay' group by k.consumer, k.topic, k.partition
  union all select k.consumer, k.topic, k.partition, e.lag, e.oldest_s from consumer_cursor k cross join lateral (
    select count(*) as lag, extract(epoch from now() - min(occurred_at))::float8 as oldest_s from event
    where topic = k.topic and partition = k.partition and (xid, position) > (k.xid, k.position) and tenant_id = :tenant) e
  where k.consumer = 'relay' and e.lag > 0 order by 1, 2, 3""")
_PARKED = text("""select consumer, state, count(*) as events from parked where tenant_id = :tenant
  group by consumer, state order by consumer, state""")
_HOLDER = text("select pid, application_name, state, seconds from log_holder()")
_HELD_BACK_S = "select coalesce(max(seconds), 0) from log_holder()"


class Behind(msgspec.Struct, frozen=True):
    """What a consumer has yet to take of one topic's partition."""

    consumer: str
    topic: str
    partition: int
    lag: int
    """Events."""
    oldest_s: float
    """How long the oldest of them has been waiting."""


class ParkedCount(msgspec.Struct, frozen=True):
    consumer: str
    state: str
    """`due`, `behind` or `dead`."""
    events: int


class Holder(msgspec.Struct, frozen=True):
    """The longest running writer: consumers see nothing that is newer."""

    pid: int
    application_name: str
    state: str
    seconds: float


async def consumers_behind(connection: AsyncConnection, tenant_id: str) -> list[Behind]:
    """Those that have events of the tenant to take."""
    found = await connection.execute(_BEHIND, {"tenant": tenant_id})
    return [Behind(**dict(row)) for row in found.mappings()]


async def count_parked(connection: AsyncConnection, tenant_id: str) -> list[ParkedCount]:
    found = await connection.execute(_PARKED, {"tenant": tenant_id})
    return [ParkedCount(**dict(row)) for row in found.mappings()]


async def log_holder(connection: AsyncConnection) -> Holder | None:
    """Nothing of any tenant is in it."""
    found = (await connection.execute(_HOLDER)).mappings().first()
    return Holder(**dict(found)) if found else None


async def held_back_s(tx: Connection) -> float:
    """For how long the log is held back; 0 when nobody does."""
    return float(await tx.fetchval(_HELD_BACK_S))
