"""How does the log get onto Kafka? The relay is one more consumer of it, of every event.

It produces in the order of the log and moves its cursors after the acknowledgements. Whatever breaks in between is produced
again from the cursor: runs without gaps, so that a consumer that drops what it has seen sees every event once and in order.
"""

import asyncio
import random
import time
from collections.abc import Sequence

import asyncpg
from confluent_kafka import KafkaError, KafkaException, Producer

from sentinai.errors import Unavailable
from sentinai.events.catalog import TOPICS
from sentinai.events.envelope import PARTITIONS
from sentinai.messaging.broker import (
    BATCH_BYTES_MAX,
    LAG_COUNTED_MAX,
    RELAY,
    Connection,
    Ends,
    KafkaOptions,
    LogPartition,
    Place,
)
from sentinai.messaging.cloudevents import headers_of, key_of
from sentinai.messaging.postgres import PARTITIONS_PER_CLAIM, register_cursors, save_cursors
from sentinai.messaging.reading import place_of, within
from sentinai.messaging.reasons import Reasons
from sentinai.observability.metrics import BROKER_UP

LOCK_CLASS = 7733100
"""Advisory locks, one for each log partition: unlike row locks they do not make the relay a writer that holds the log back."""
MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""Of a message; what is larger is announced without its payload."""
ACKNOWLEDGED_WITHIN_S = 10.0
COUNTS_FOR_S = 30.0
BATCHES_MAX = 8
"""Produced before their acknowledgements are waited for, as long as there is more."""

RUN_BYTES_MAX = 64 * 1024 * 1024
"""Payloads likewise: they wait in the producer's memory."""

INDEX = ("event_relay", "event (topic, partition, xid, position)")
"""Over all events; only the relay needs it, so only an installation with Kafka has it."""
_NEWER = """e.topic = k.topic and e.partition = k.partition and (e.xid, e.position) > (k.xid, k.position)
    and e.xid < pg_snapshot_xmin(pg_current_snapshot())"""
_NEWS = f"""select distinct k.partition from consumer_cursor k
  cross join lateral (select from event e where {_NEWER} order by e.xid, e.position limit 1) e where k.consumer = $1"""
_PREPARED = "select count(*) from consumer_cursor where consumer = $1 and topic = any($2::text[])"
_LOCK = f"select p from unnest($1::smallint[]) p where pg_try_advisory_xact_lock({LOCK_CLASS}, p) limit $2"
_CURSORS = """select topic, partition, xid, position from consumer_cursor
  where consumer = $1 and partition = any($2::smallint[])"""
_LAG = """select coalesce(sum(e.n), 0) from consumer_cursor k cross join lateral (select count(*) as n from (
    select from event e where e.topic = k.topic and e.partition = k.partition
      and (e.xid, e.position) > (k.xid, k.position) limit $2) counted) e
  where k.consumer = $1"""
_READ = within(
    "$6",
    f"""select e.* from unnest($1::text[], $2::smallint[], $3::xid8[], $4::bigint[]) k(topic, partition, xid, position)
  cross join lateral (select * from event e where {_NEWER} order by e.xid, e.position limit $5) e""",
)


async def prepare_relay(tx: Connection) -> None:
    """Its cursors. Run by the owner, when Kafka is in use."""
    await register_cursors(tx, RELAY, TOPICS)


async def is_prepared(tx: Connection) -> bool:
    """Whether it has all its cursors: without one it would not forward what stands behind it, and not say so."""
    return int(await tx.fetchval(_PREPARED, RELAY, list(TOPICS))) == len(TOPICS) * PARTITIONS


async def relay_lag(tx: Connection) -> int:
    """How many events are not in Kafka yet; of a topic's partition at most LAG_COUNTED_MAX are counted."""
    return int(await tx.fetchval(_LAG, RELAY, LAG_COUNTED_MAX))


class Relay:
    """Produces what the log holds. Any number of them share the partitions."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._producer: Producer | None = None
        self._failed: KafkaError | None = None
        self._reasons = Reasons()
        self._counts: dict[str, int] = {}
        self._counted_at = 0.0

    async def forward(self, tx: Connection, events_max: int) -> int:
        """Produce what is there, and move the cursors; returns how many events. Raises Unavailable when Kafka is away.

        While Kafka works on one batch the next is read; the acknowledgements are waited for once, at the end.
        """
        fresh = [row["partition"] for row in await tx.fetch(_NEWS, RELAY)]
        random.shuffle(fresh)
        held = [row["p"] for row in await tx.fetch(_LOCK, fresh, PARTITIONS_PER_CLAIM)] if fresh else []
        if not held:
            return 0
        ends = {
            LogPartition(row["topic"], row["partition"]): place_of(row) for row in await tx.fetch(_CURSORS, RELAY, held)
        }
        producer = await self._open()
        sent = size = 0
        while rows := await self._read(tx, ends, max(1, events_max // len(held))):
            self._produce(producer, rows, ends)
            sent, size = sent + len(rows), size + rows[-1]["through"]
            little = len(rows) < events_max // 4 and rows[-1]["through"] < BATCH_BYTES_MAX
            if little or sent >= events_max * BATCHES_MAX or size >= RUN_BYTES_MAX:
                break
        await self._acknowledged(producer)
        await save_cursors(tx, RELAY, ends)
        return sent

    async def _read(self, tx: Connection, ends: Ends, limit: int) -> Sequence[asyncpg.Record]:
        """The next events of each topic's partition, in its order."""
        topics, partitions = zip(*ends, strict=True)
        xids, positions = [p.xid for p in ends.values()], [p.position for p in ends.values()]
        return await tx.fetch(_READ, topics, partitions, xids, positions, limit, BATCH_BYTES_MAX)

    def _produce(self, producer: Producer, rows: Sequence[asyncpg.Record], ends: Ends) -> None:
        try:
            for row in rows:
                key = LogPartition(row["topic"], row["partition"])
                self._send(producer, row, ends[key])
                ends[key] = place_of(row)
            producer.poll(0)
        except (BufferError, KafkaException) as error:
            raise self._given_up(error) from error

    async def _acknowledged(self, producer: Producer) -> None:
        """Returns once every message was taken by as many copies as are asked for."""
        left = await asyncio.to_thread(producer.flush, ACKNOWLEDGED_WITHIN_S)
        failed, self._failed = self._failed, None
        if left or failed is not None:
            raise self._given_up(failed or f"{left} messages were not acknowledged in time")
        self._reasons.forget()
        BROKER_UP.set(1)

    def _send(self, producer: Producer, row: asyncpg.Record, previous: Place) -> None:
        payload = bytes(row["payload"])
        complete = len(payload) <= MESSAGE_BYTES_MAX - 65_536
        topic = self._options.prefix + row["topic"]
        producer.produce(
            topic,
            payload if complete else b"",
            key_of(row),
            row["partition"] % self._counts[topic],
            self._delivered,
            headers=headers_of(row, previous, complete=complete),
        )

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed = error

    def _given_up(self, error: Exception | KafkaError | str) -> Unavailable:
        """Nothing that was queued may still be sent in the middle of the next run: begin with a new producer."""
        BROKER_UP.set(0)
        producer, self._producer = self._producer, None
        self._counted_at = 0.0
        if producer is not None:
            producer.poll(0)
            producer.purge()
        reason = self._reasons.sentence(error) if isinstance(error, KafkaError | KafkaException) else f"{error}."
        return Unavailable(f"Kafka did not take the events: {reason} They are in the log and will be sent again.")

    async def _open(self) -> Producer:
        try:
            if self._producer is None:
                self._failed = None
                self._producer = self._connect()
            await self._learn_counts(self._producer)
        except KafkaException as error:
            raise self._given_up(error) from error
        return self._producer

    def _connect(self) -> Producer:
        return Producer(
            {
                **self._options.connection,
                "client.id": "sentinai-relay",
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 100,  # a flush ends the wait; until then, the larger a request the better
                "delivery.report.only.error": True,
                "compression.type": "lz4",
                "message.max.bytes": MESSAGE_BYTES_MAX,
                "queue.buffering.max.messages": 1_000_000,
                "delivery.timeout.ms": int(ACKNOWLEDGED_WITHIN_S * 1000),
                "log_level": 2,
                "error_cb": self._reasons.heard,
            }
        )

    async def _learn_counts(self, producer: Producer) -> None:
        """How many partitions each topic has today."""
        if time.monotonic() - self._counted_at < COUNTS_FOR_S and self._counts:
            return
        found = await asyncio.to_thread(producer.list_topics, None, 5)
        counts = {name: len(topic.partitions) for name, topic in found.topics.items()}
        missing = [self._options.prefix + t for t in TOPICS if not counts.get(self._options.prefix + t)]
        if missing:
            raise self._given_up(f"the topic {missing[0]} is not there; `sentinai migrate` makes it")
        self._counts, self._counted_at = counts, time.monotonic()
