"""How does the log get onto Kafka? The relay is one more consumer of it, of every event.

It produces in the order of the log and moves its cursors after the acknowledgements. Whatever breaks in between is produced
again from the cursor: runs without gaps, so that a consumer that drops what it has seen sees every event once and in order.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
from confluent_kafka import KafkaError, KafkaException, Producer

from sentinai.errors import Unavailable
from sentinai.events.catalog import TOPICS
from sentinai.messaging.broker import RELAY, Connection, KafkaOptions, Place
from sentinai.messaging.cloudevents import headers_of, key_of
from sentinai.messaging.postgres import PARTITIONS_PER_CLAIM, register_cursors, save_cursors
from sentinai.observability.metrics import BROKER_UP

LOCK_CLASS = 7733100
"""Advisory locks, one for each log partition: unlike row locks they do not make the relay a writer that holds the log back."""
MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""Of a message; what is larger is announced without its payload."""
ACKNOWLEDGED_WITHIN_S = 10.0
COUNTS_FOR_S = 30.0

_INDEX = "create index if not exists event_relay on event (topic, partition, xid, position)"
_NEWER = """e.topic = k.topic and e.partition = k.partition and (e.xid, e.position) > (k.xid, k.position)
    and e.xid < pg_snapshot_xmin(pg_current_snapshot())"""
_NEWS = f"""select distinct k.partition from consumer_cursor k
  cross join lateral (select from event e where {_NEWER} order by e.xid, e.position limit 1) e where k.consumer = $1"""
_LOCK = f"select p from unnest($1::smallint[]) p where pg_try_advisory_xact_lock({LOCK_CLASS}, p) limit $2"
_READ = f"""select e.*, k.xid as cursor_xid, k.position as cursor_position from consumer_cursor k cross join lateral (
    select * from event e where {_NEWER} order by e.xid, e.position limit $3) e
  where k.consumer = $1 and k.partition = any($2::smallint[])"""


async def prepare_relay(tx: Connection) -> None:
    """Its cursors, and the index over all events that only it needs. Run by the owner, when Kafka is in use."""
    await register_cursors(tx, RELAY, TOPICS)
    await tx.execute(_INDEX)


class Relay:
    """Produces what the log holds. Any number of them share the partitions."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._producer: Producer | None = None
        self._failed: KafkaError | None = None
        self._counts: dict[str, int] = {}
        self._counted_at = 0.0

    async def forward(self, tx: Connection, events_max: int) -> int:
        """Produce one batch and move the cursors; returns how many events. Raises Unavailable when Kafka is away."""
        fresh = [row["partition"] for row in await tx.fetch(_NEWS, RELAY)]
        random.shuffle(fresh)
        held = [row["p"] for row in await tx.fetch(_LOCK, fresh, PARTITIONS_PER_CLAIM)] if fresh else []
        if not held:
            return 0
        per_cursor = max(1, events_max // len(held))
        rows = await tx.fetch(_READ, RELAY, held, per_cursor)
        if rows:
            await save_cursors(tx, RELAY, await self._produce(rows))
        return len(rows)

    async def _produce(self, rows: Sequence[asyncpg.Record]) -> dict[tuple[str, int], Place]:
        """Returns once all are acknowledged: where each topic's partition ends."""
        producer = self._open()
        await self._learn_counts(producer)
        self._failed = None
        ends: dict[tuple[str, int], Place] = {}
        try:
            for row in rows:
                key = row["topic"], row["partition"]
                previous = ends.get(key) or Place(row["cursor_xid"], row["cursor_position"])
                self._send(producer, row, previous)
                ends[key] = Place(row["xid"], row["position"])
            left = await asyncio.to_thread(producer.flush, ACKNOWLEDGED_WITHIN_S)
        except (BufferError, KafkaException) as error:
            raise self._given_up(str(error)) from error
        if left or self._failed is not None:
            raise self._given_up(str(self._failed or f"{left} messages were not acknowledged in time"))
        BROKER_UP.set(1)
        return ends

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
        producer.poll(0)

    def _delivered(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self._failed = error

    def _given_up(self, reason: str) -> Unavailable:
        """Nothing that was queued may still be sent in the middle of the next run: begin with a new producer."""
        BROKER_UP.set(0)
        producer, self._producer = self._producer, None
        self._counted_at = 0.0
        if producer is not None:
            producer.purge()
        return Unavailable(f"Kafka did not take the events: {reason}. They are in the log and will be sent again.")

    def _open(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(
                {
                    **self._options.connection,
                    "client.id": "sentinai-relay",
                    "enable.idempotence": True,
                    "acks": "all",
                    "linger.ms": 2,
                    "compression.type": "lz4",
                    "message.max.bytes": MESSAGE_BYTES_MAX,
                    "queue.buffering.max.messages": 1_000_000,
                    "delivery.timeout.ms": int(ACKNOWLEDGED_WITHIN_S * 1000),
                    "log_level": 2,
                }
            )
        return self._producer

    async def _learn_counts(self, producer: Producer) -> None:
        """How many partitions each topic has today."""
        if time.monotonic() - self._counted_at < COUNTS_FOR_S and self._counts:
            return
        try:
            found = await asyncio.to_thread(producer.list_topics, None, 5)
        except KafkaException as error:
            raise self._given_up(str(error)) from error
        counts = {name: len(topic.partitions) for name, topic in found.topics.items()}
        missing = [self._options.prefix + t for t in TOPICS if not counts.get(self._options.prefix + t)]
        if missing:
            raise self._given_up(f"the topic {missing[0]} is not there; `sentinai migrate` makes it")
        self._counts, self._counted_at = counts, time.monotonic()
