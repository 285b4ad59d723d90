"""How does PostgreSQL deliver events? A consumer is a cursor over the log; the log is the queue.

Events are read in the order (xid, position) and only below the oldest running transaction, so one that commits late is
never skipped. The first topic's cursor row guards a consumer's partition: whoever moves any cursor of it holds that row.
"""

from collections.abc import Callable, Iterable, Sequence

import asyncpg

from sentinai.events.envelope import PARTITIONS, Event
from sentinai.messaging.broker import (
    BATCH_BYTES_MAX,
    LAG_COUNTED_MAX,
    Ahead,
    Claim,
    Connection,
    Cursors,
    Delivery,
    Ends,
    LogPartition,
    OpenTransaction,
)
from sentinai.messaging.fairness import Turns, forget_passed, places_ahead, save_ahead
from sentinai.messaging.reading import crowded, in_order, not_ahead, partition_of_row, place_of, within
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
_AHEAD = """select topic, partition, tenant_id, xid, position from tenant_cursor
  where consumer = $1 and topic = any($3::text[]) and partition = any($2::smallint[])"""
_CURSORS = f"""select topic, partition, null as tenant_id, xid, position from consumer_cursor
    where consumer = $1 and partition = any($2::smallint[])
  union all {_AHEAD}"""
_READ = within(
    "$4",
    f"""select e.* from consumer_cursor k
  cross join lateral (select * from event e where {_NEWER} order by e.xid, e.position limit $3) e
  where k.consumer = $1 and k.partition = any($2::smallint[])""",
)
_SNAPSHOT = "select pg_snapshot_xmin(s) as oldest, pg_snapshot_xmax(s) as next from pg_current_snapshot() s"
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
        self._turns = Turns()
        self._heard: set[str] = set()
        self._hot: dict[str, int] = {}
        """Topics with news, and the transaction id that the horizon has to reach until all of it is visible."""
        self._horizon = 0
        """The oldest running transaction when we asked last: what a topic had below it was told then."""

    async def register(self, tx: Connection, consumers: Sequence[str]) -> None:
        """Give consumers their cursors; a new one starts at the beginning of the log."""
        for consumer in consumers:
            await register_cursors(tx, consumer, topics_of(consumer))

    def heard(self, topics: Iterable[str]) -> None:
        """See Broker.heard."""
        self._heard.update(topics)

    async def news(self, begin: OpenTransaction) -> frozenset[str]:
        """See Broker.news. A topic stays news until no older transaction can hold back what it was told for."""
        if not self._heard and not self._hot:
            return frozenset()
        heard, self._heard = self._heard, set()  # what is heard while we ask is newer than the answer
        async with begin() as tx:
            row = await tx.fetchrow(_SNAPSHOT)
        assert row is not None
        new = heard - self._hot.keys()
        self._hot |= dict.fromkeys(heard, row["next"])
        topics = frozenset(self._hot if row["oldest"] != self._horizon else new)
        self._horizon = row["oldest"]
        self._hot = {topic: until for topic, until in self._hot.items() if until > row["oldest"]}
        return topics

    async def claim(self, tx: Connection, consumer: str, events_max: int, partition: int | None = None) -> Claim | None:
        """See Broker.claim. Two statements: the second one's snapshot sees what the locked cursors' last holder did."""
        rows = await tx.fetch(_GUARD, consumer, topics_of(consumer), PARTITIONS_PER_CLAIM, partition)
        if not rows:
            return None
        partitions = tuple(row["partition"] for row in rows)
        claim = await self.read(tx, consumer, partitions, events_max, turns=partition is None)
        claim.more |= partition is not None or len(rows) == PARTITIONS_PER_CLAIM
        return claim

    async def lock(self, tx: Connection, consumer: str, partitions: Sequence[int]) -> Cursors:
        """Make these partitions this transaction's, but those that are another's; where the consumer stands in them."""
        topics = topics_of(consumer)
        rows = await tx.fetch(_LOCK, consumer, topics[0], list(partitions))
        held = [row["partition"] for row in rows]
        cursors = await tx.fetch(_CURSORS, consumer, held, topics) if held else []
        ends = {LogPartition(r["topic"], r["partition"]): place_of(r) for r in cursors if r["tenant_id"] is None}
        return Cursors(ends, _places_of_tenants(r for r in cursors if r["tenant_id"] is not None))

    async def read(
        self, tx: Connection, consumer: str, partitions: Sequence[int], events_max: int, *, turns: bool = True
    ) -> Claim:
        """The next events of locked partitions, in the order of the log; at least one of each that has any, if it is not cut.

        With `turns`, also those of tenants that would have to wait for the backlog of another.
        """
        per_topic = max(1, events_max // len(partitions))
        found = await tx.fetch(_READ, consumer, partitions, per_topic, BATCH_BYTES_MAX)
        ahead = _places_of_tenants(await tx.fetch(_AHEAD, consumer, partitions, topics_of(consumer)))
        rows = in_order(found, per_topic, partition_of_row)
        last = {LogPartition(row["topic"], row["partition"]): row for row in rows}
        claim = Claim(consumer, [], {source: place_of(row) for source, row in last.items()})
        fresh = not_ahead(rows, ahead)
        claim.reached_ahead = len(fresh) < len(rows)
        claim.cut = bool(found) and found[-1]["through"] >= BATCH_BYTES_MAX
        claim.more = claim.cut or len(found) >= per_topic  # with fewer no topic was read up to its limit
        if turns and self._turns.due(consumer):
            more_to_come = found if claim.cut else crowded(found, per_topic)
            early = await self._turns.read(tx, consumer, more_to_come, ahead, events_max)
            claim.ahead = places_ahead(early, claim.ends)
            known = {row["position"] for row in fresh}
            fresh = sorted([*fresh, *(row for row in early if row["position"] not in known)], key=place_of)
        claim.deliveries = [Delivery(self._read_event(row), place_of(row)) for row in fresh]
        return claim

    async def lag(self, tx: Connection, consumer: str) -> int:
        """See Broker.lag; events that a running transaction still holds back count too."""
        return int(await tx.fetchval(_LAG, consumer, LAG_COUNTED_MAX))

    async def advance(self, tx: Connection, claim: Claim) -> None:
        await save_cursors(tx, claim.consumer, claim.ends)
        await save_ahead(tx, claim.consumer, claim.ahead)
        if claim.reached_ahead:
            await forget_passed(tx, claim.consumer, claim.ends)


def _places_of_tenants(rows: Iterable[asyncpg.Record]) -> Ahead:
    return {(row["topic"], row["partition"], row["tenant_id"]): place_of(row) for row in rows}


async def register_cursors(tx: Connection, consumer: str, topics: Sequence[str]) -> None:
    """Cursors at the beginning of the log, where there are none yet."""
    await tx.execute(_REGISTER, consumer, list(topics), PARTITIONS)


async def save_cursors(tx: Connection, consumer: str, ends: Ends) -> None:
    """Move a consumer's cursors to these places, by topic and partition."""
    if ends:
        topics, partitions = zip(*ends, strict=True)
        places = ends.values()
        xids, positions = [p.xid for p in places], [p.position for p in places]
        await tx.execute(_SAVE, consumer, list(topics), list(partitions), xids, positions)


def consumes(consumer: str, event: Event) -> bool:
    """A topic may carry types that its consumer has no use for."""
    return event.type in CONSUMES[consumer]
