"""How does PostgreSQL deliver events? A consumer is a cursor over the log; the log is the queue.

Events are read in the order (xid, position) and only below the oldest running transaction, so one that commits late is
never skipped. The first topic's cursor row guards a consumer's partition: whoever moves any cursor of it holds that row.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import asyncpg

from sentinai.events.envelope import PARTITIONS, Event
from sentinai.messaging.broker import LAG_COUNTED_MAX, Claim, Connection, Delivery, News, Place
from sentinai.orchestrator.pipeline import CONSUMES, topics_of

PARTITIONS_PER_CLAIM = 16
"""So that two workers share 32 partitions from the first batch on."""

_NEWER = """e.topic = k.topic and e.partition = k.partition and not e.handled
    and (e.xid, e.position) > (k.xid, k.position) and e.xid < pg_snapshot_xmin(pg_current_snapshot())"""
_REGISTER = """insert into consumer_cursor (consumer, topic, partition)
  select $1, t, p from unnest($2::text[]) t cross join generate_series(0, $3 - 1) p on conflict do nothing"""
_GUARD = f"""select c.partition from consumer_cursor c
  where c.consumer = $1 and c.topic = ($2::text[])[1] and ($4::smallint is null or c.partition = $4)
    and (select true from unnest($2::text[]) t(topic)
      join consumer_cursor k on k.consumer = $1 and k.topic = t.topic and k.partition = c.partition
      cross join lateral (select from event e where {_NEWER} order by e.xid, e.position limit 1) e limit 1)
  order by random() limit $3 for update of c skip locked"""
_LOCK = """select partition from consumer_cursor where consumer = $1 and topic = $2 and partition = any($3::smallint[])
  order by partition for update skip locked"""
_CURSORS = """select topic, partition, xid, position from consumer_cursor
  where consumer = $1 and partition = any($2::smallint[])"""
_READ = f"""select e.* from consumer_cursor k cross join lateral (
    select * from event e where {_NEWER} order by e.xid, e.position limit $3) e
  where k.consumer = $1 and k.partition = any($2::smallint[])"""
_NEWS = """select pg_snapshot_xmin(pg_current_snapshot()) as horizon, array(select distinct topic from event
    where not handled and xid >= $1 and xid < pg_snapshot_xmin(pg_current_snapshot())) as topics"""
_LAG = """select coalesce(sum(e.n), 0) from consumer_cursor k cross join lateral (select count(*) as n from (
    select from event e where e.topic = k.topic and e.partition = k.partition and not e.handled
      and (e.xid, e.position) > (k.xid, k.position) limit $2) counted) e
  where k.consumer = $1"""
_SAVE = """update consumer_cursor c set xid = u.x, position = u.p
  from unnest($2::text[], $3::smallint[], $4::xid8[], $5::bigint[]) u(t, n, x, p)
  where c.consumer = $1 and c.topic = u.t and c.partition = u.n"""


class PostgresBroker:
    """The engine for one machine, or as many as one database carries."""

    def __init__(self, read_event: Callable[[asyncpg.Record], Event]) -> None:
        self._read_event = read_event

    async def register(self, tx: Connection, consumers: Sequence[str]) -> None:
        """Give consumers their cursors; a new one starts at the beginning of the log."""
        for consumer in consumers:
            await register_cursors(tx, consumer, topics_of(consumer))

    async def news(self, tx: Connection, horizon: int) -> News:
        """See Broker.news; the horizon is the oldest running transaction: nothing below it can still appear."""
        row = await tx.fetchrow(_NEWS, horizon)
        assert row is not None
        return News(frozenset(row["topics"]), row["horizon"])

    async def claim(self, tx: Connection, consumer: str, events_max: int, partition: int | None = None) -> Claim | None:
        """See Broker.claim. Two statements: the second one's snapshot sees what the locked cursors' last holder did."""
        rows = await tx.fetch(_GUARD, consumer, topics_of(consumer), PARTITIONS_PER_CLAIM, partition)
        if not rows:
            return None
        partitions = tuple(row["partition"] for row in rows)
        return Claim(consumer, await self.read(tx, consumer, partitions, events_max), partitions)

    async def lock(self, tx: Connection, consumer: str, partitions: Sequence[int]) -> dict[tuple[str, int], Place]:
        """Make these partitions this transaction's, but those that are another's; their cursors by topic and partition."""
        rows = await tx.fetch(_LOCK, consumer, topics_of(consumer)[0], list(partitions))
        held = [row["partition"] for row in rows]
        cursors = await tx.fetch(_CURSORS, consumer, held) if held else []
        return {(r["topic"], r["partition"]): Place(r["xid"], r["position"]) for r in cursors}

    async def read(self, tx: Connection, consumer: str, partitions: Sequence[int], events_max: int) -> list[Delivery]:
        """The next events of locked partitions, in the order of the log; at least one of each partition that has any."""
        per_topic = max(1, events_max // len(partitions))
        found = await tx.fetch(_READ, consumer, partitions, per_topic)
        deliveries = [Delivery(self._read_event(r), Place(r["xid"], r["position"])) for r in found]
        return _in_order(deliveries, per_topic)

    async def lag(self, tx: Connection, consumer: str) -> int:
        """See Broker.lag; events that a running transaction still holds back count too."""
        return int(await tx.fetchval(_LAG, consumer, LAG_COUNTED_MAX))

    async def advance(self, tx: Connection, claim: Claim) -> None:
        ends = dict(claim.passed)
        for delivery in claim.deliveries:
            key = delivery.event.topic, delivery.event.partition
            ends[key] = max(delivery.place, ends.get(key, delivery.place))
        await save_cursors(tx, claim.consumer, ends)


async def register_cursors(tx: Connection, consumer: str, topics: Sequence[str]) -> None:
    """Cursors at the beginning of the log, where there are none yet."""
    await tx.execute(_REGISTER, consumer, list(topics), PARTITIONS)


async def save_cursors(tx: Connection, consumer: str, ends: Mapping[tuple[str, int], Place]) -> None:
    """Move a consumer's cursors to these places, by topic and partition."""
    if ends:
        topics, partitions = zip(*ends, strict=True)
        places = ends.values()
        xids, positions = [p.xid for p in places], [p.position for p in places]
        await tx.execute(_SAVE, consumer, list(topics), list(partitions), xids, positions)


def consumes(consumer: str, event: Event) -> bool:
    """A topic may carry types that its consumer has no use for."""
    return event.type in CONSUMES[consumer]


def _in_order(deliveries: list[Delivery], per_topic: int) -> list[Delivery]:
    """By place in the log. Where a topic was cut off, later events of the partition's other topics wait for its rest."""
    by_source: dict[tuple[int, str], list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        by_source[delivery.event.partition, delivery.event.topic].append(delivery)
    horizon: dict[int, Place] = {}
    for (partition, _), found in by_source.items():
        if len(found) == per_topic:
            horizon[partition] = min(found[-1].place, horizon.get(partition, found[-1].place))
    kept = [d for d in deliveries if d.event.partition not in horizon or d.place <= horizon[d.event.partition]]
    return sorted(kept, key=lambda d: d.place)
