"""How does a tenant with little to do get its turn behind the backlog of another?

Where a claim leaves events behind, the tenants that wait there are looked up, and each gets an equal part of half a batch more,
from the place it has reached itself. Such a tenant is ahead of its partition's cursor: it has a cursor of its own until the
common one has passed it. Within a tenant the order of the log holds, and so it does within an exception.
"""

import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import asyncpg

from sentinai.messaging.broker import BATCH_BYTES_MAX, Ahead, Connection, Ends, LogPartition
from sentinai.messaging.reading import in_order, not_ahead, place_of, within
from sentinai.orchestrator.pipeline import topics_of

PART = 0.1
"""Most of a process's time that may go into turns, of all its consumers together; with very many tenants they come less often."""
WITH_SAVING = 2
"""Saving the tenants' cursors, and forgetting them, takes about as long as the reading did."""
FRUITLESS = 4
"""Where every tenant has its part of what was read anyway, the next look comes so many times later."""

_THERE = "e.topic = {source}.topic and e.partition = {source}.partition and e.handled::int = 0"
"""As the index of the turns says it, and no other: the planner can take neither for the other, whatever it believes of the data."""
_STAND = """join consumer_cursor k on k.consumer = $1 and k.partition = w.partition
  left join tenant_cursor a on a.consumer = $1 and a.topic = k.topic and a.partition = k.partition
    and a.tenant_id = w.tenant_id and (a.xid, a.position) > (k.xid, k.position)"""
_NEXT = f"""select * from event e where {_THERE.format(source="k")} and e.tenant_id = w.tenant_id
    and (e.xid, e.position) > (coalesce(a.xid, k.xid), coalesce(a.position, k.position))
    and e.xid < pg_snapshot_xmin(pg_current_snapshot())
  order by e.xid, e.position"""
_TENANTS = f"""with recursive known as (
    select s.topic, s.partition, f.tenant_id
    from (select topic, partition from unnest($2::text[]) topic cross join unnest($3::smallint[]) partition) s
    cross join lateral (select e.tenant_id from event e where {_THERE.format(source="s")} order by e.tenant_id limit 1) f
  union all
    select o.topic, o.partition, n.tenant_id from known o cross join lateral (
      select e.tenant_id from event e where {_THERE.format(source="o")} and e.tenant_id > o.tenant_id
      order by e.tenant_id limit 1) n)
  select distinct w.partition, w.tenant_id from (select distinct partition, tenant_id from known) w {_STAND}
  cross join lateral ({_NEXT} limit 1) e"""
_READ = within(
    "$5",
    f"""select e.* from unnest($2::smallint[], $3::text[]) w(partition, tenant_id) {_STAND}
  cross join lateral ({_NEXT} limit $4) e""",
)
_SAVE = """insert into tenant_cursor (consumer, topic, partition, tenant_id, xid, position)
  select $1, * from unnest($2::text[], $3::smallint[], $4::text[], $5::xid8[], $6::bigint[])
  on conflict (consumer, topic, partition, tenant_id) do update set xid = excluded.xid, position = excluded.position"""
_FORGET = """delete from tenant_cursor a using consumer_cursor k
  where a.consumer = $1 and k.consumer = $1 and k.topic = a.topic and k.partition = a.partition
    and a.topic = any($2::text[]) and a.partition = any($3::smallint[]) and (a.xid, a.position) <= (k.xid, k.position)"""


class Turns:
    """Of one process. Looking for tenants takes at most PART of its time."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def due(self, consumer: str) -> bool:
        """Whether it may look again."""
        return time.monotonic() >= self._due.get(consumer, 0.0)

    async def read(
        self, tx: Connection, consumer: str, crowded: Sequence[asyncpg.Record], ahead: Ahead, events_max: int
    ) -> list[asyncpg.Record]:
        """The next events of tenants that others crowd out, all topics of the consumer, in order.

        `crowded` are the events that were read of partitions with more to come, `ahead` is where tenants are ahead there.
        """
        if not crowded:
            return []
        begun = time.monotonic()
        rows = await self._read(tx, consumer, crowded, ahead, events_max)
        now, sharing = time.monotonic(), len(self._due.keys() | {consumer})
        self._due[consumer] = now + (now - begun) * (WITH_SAVING if rows else FRUITLESS) / PART * sharing
        return rows

    async def _read(
        self, tx: Connection, consumer: str, crowded: Sequence[asyncpg.Record], ahead: Ahead, events_max: int
    ) -> list[asyncpg.Record]:
        partitions = sorted({row["partition"] for row in crowded})
        found = await tx.fetch(_TENANTS, consumer, topics_of(consumer), partitions)
        late = _crowded_out({row["tenant_id"] for row in found}, not_ahead(crowded, ahead), len(crowded))
        waiting = [(row["partition"], row["tenant_id"]) for row in found if row["tenant_id"] in late]
        turns = random.sample(waiting, min(len(waiting), max(1, events_max // 2)))
        if not turns:
            return []
        each = max(1, events_max // 2 // len(turns))
        who = map(list, zip(*turns, strict=True))
        rows = await tx.fetch(_READ, consumer, *who, each, BATCH_BYTES_MAX // 2)
        return in_order(rows, each, lambda row: (row["partition"], row["tenant_id"]))


def places_ahead(rows: Iterable[asyncpg.Record], ends: Ends) -> Ahead:
    """Where tenants come to be that had these turns, if that is beyond where the cursors move to."""
    ahead: Ahead = {}
    for row in rows:
        place = place_of(row)
        end = ends.get(LogPartition(row["topic"], row["partition"]))
        if end is None or place > end:
            ahead[row["topic"], row["partition"], row["tenant_id"]] = place
    return ahead


async def save_ahead(tx: Connection, consumer: str, ahead: Ahead) -> None:
    if ahead:
        topics, partitions, tenants = zip(*ahead, strict=True)
        places = ahead.values()
        xids, positions = [p.xid for p in places], [p.position for p in places]
        await tx.execute(_SAVE, consumer, list(topics), list(partitions), list(tenants), xids, positions)


async def forget_passed(tx: Connection, consumer: str, ends: Ends) -> None:
    """The common cursor has come to where these tenants are: they need none of their own."""
    await tx.execute(_FORGET, consumer, [t for t, _ in ends], [p for _, p in ends])


def _crowded_out(waiting: Collection[str], fresh: Iterable[asyncpg.Record], count: int) -> set[str]:
    """Of the tenants that wait, those that have less than half an equal part of the `count` events that were read."""
    theirs = Counter(row["tenant_id"] for row in fresh)
    return {tenant for tenant in waiting if theirs[tenant] * 2 * len(waiting) < count}
