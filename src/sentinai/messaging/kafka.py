"""How does Kafka deliver events? It carries them; the cursors in PostgreSQL decide.

Every consumer inside is a consumer group. Its messages wait in a `Feed` until the cursor says that they were handled, so a
transaction that was rolled back finds them again, and offsets are only a hint where to resume. Each message names the place
of the one before it: where any is missing (retention, more partitions, a topic made anew), that partition is read from the log.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from sentinai.errors import Unavailable
from sentinai.events.catalog import BY_NAME
from sentinai.events.envelope import PARTITIONS
from sentinai.messaging.broker import (
    BATCH_BYTES_MAX,
    Claim,
    Connection,
    Cursors,
    Delivery,
    KafkaOptions,
    LogPartition,
    OpenTransaction,
    Place,
)
from sentinai.messaging.cloudevents import NOWHERE, UNREADABLE, Carried, carried, event_of
from sentinai.messaging.postgres import PARTITIONS_PER_CLAIM, PostgresBroker
from sentinai.messaging.reasons import Reasons
from sentinai.observability.metrics import BROKER_UP
from sentinai.orchestrator.pipeline import CONSUMES, topics_of

BUFFER_MAX = 5_000
BUFFER_BYTES_MAX = 32 * 1024 * 1024
"""Messages of one consumer in memory; the library's own queue holds some more, and then the broker keeps them."""
POLL_MAX = 1_000
LOOK_BACK_EVERY_S = 1.0
"""How often a consumer also asks the log itself: finds what Kafka has not brought, be it down, slow or emptied."""
OFFSETS_EVERY_S = 1.0
TOLD_EVERY_S = 10.0
LEAVING_MAX_S = 3.0

log = structlog.get_logger()


class _Waiting(NamedTuple):
    """A message that the cursor may not have passed yet."""

    known: Carried
    message: Message
    origin: tuple[str, int]
    """Kafka's topic and partition."""


class Feed:
    """What Kafka brought for one consumer, by topic and log partition, in its order."""

    def __init__(self, consumer: str, prefix: str, connect: Callable[["Feed"], Any]) -> None:
        """`connect` gives the library's consumer; the simulation of the tests gives its own."""
        self.name = consumer
        self._prefix = prefix
        self._waiting: dict[LogPartition, deque[_Waiting]] = {}
        self._reached: dict[LogPartition, Place] = {}
        """Up to here everything was handled or needs no handling, though the cursor may stand before it."""
        self._unfinished: dict[tuple[str, int], dict[int, None]] = {}
        self._next_offset: dict[tuple[str, int], int] = {}
        self._offsets_due = 0.0
        self._paused = False
        self._bytes = 0
        """Of the messages that wait."""
        self._told_again: dict[bool, float] = {}
        """When a line about Kafka being away (True), or about another fault, is due again: it fails many times a second."""
        self._reasons = Reasons()
        self._consumer = connect(self)

    def poll(self) -> None:
        """Take what has arrived; never waits."""
        self._regulate()
        for message in self._consumer.consume(POLL_MAX, 0):
            error = message.error()
            if error is not None:
                self.failed(error)
            else:
                BROKER_UP.set(1)
                self._take(message)
        self._commit_offsets()

    def partitions(self) -> list[int]:
        """Log partitions with messages that wait."""
        return list(dict.fromkeys(partition for (_, partition), waiting in self._waiting.items() if waiting))

    def topics(self) -> set[str]:
        return {topic for (topic, _), waiting in self._waiting.items() if waiting}

    def pass_by(self, cursors: Mapping[LogPartition, Place]) -> dict[LogPartition, Place]:
        """Forget what the cursors have passed, and what this consumer has no use for; where to move cursors over the latter."""
        passed = {}
        for key, cursor in cursors.items():
            waiting = self._waiting.get(key)
            while waiting and self._passed(key, cursor, waiting[0].known):
                if waiting[0].known.place > cursor and not waiting[0].known.handled:
                    passed[key] = waiting[0].known.place
                self._finish(waiting.popleft())
        return passed

    def _passed(self, key: LogPartition, cursor: Place, known: Carried) -> bool:
        reached = max(cursor, self._reached.get(key, NOWHERE))
        if known.place <= reached or (not self._wants(known) and known.previous <= reached):
            self._reached[key] = max(reached, known.place)
            return True
        return False

    def _wants(self, known: Carried) -> bool:
        """Also a type that is newer than this process: it may not be passed by, newer processes have a use for it."""
        return not known.handled and (known.type in CONSUMES[self.name] or known.type not in BY_NAME)

    def next(self, key: LogPartition, cursor: Place, count: int, bytes_max: int) -> list[Delivery] | None:
        """The next events, without taking them away; None where one is missing before them: ask the log.

        Raises Unavailable at one that is newer than this process.
        """
        reached = max(cursor, self._reached.get(key, NOWHERE))
        deliveries: list[Delivery] = []
        size = 0
        for waiting in self._waiting.get(key, ()):
            known = waiting.known
            if len(deliveries) == count or size >= bytes_max:
                break
            if known.place <= reached:
                continue
            if known.previous > reached or not known.complete:
                return deliveries or None
            reached = known.place
            if self._wants(known):
                try:
                    event = event_of(key.topic, _headers(waiting.message), waiting.message.value() or b"")
                except UNREADABLE:
                    log.warning(
                        "message_not_ours", topic=key.topic, partition=key.partition, offset=waiting.message.offset()
                    )
                    return deliveries or None
                deliveries.append(Delivery(event, known.place))
                size += len(event.payload)
        return deliveries

    def nothing_left(self, partition: int) -> None:
        """The log has nothing to handle there: what waits was all handled."""
        for key, waiting in self._waiting.items():
            if key.partition == partition:
                while waiting:
                    self._reached[key] = max(waiting[0].known.place, self._reached.get(key, NOWHERE))
                    self._finish(waiting.popleft())

    def close(self) -> None:
        """Leave the group, so that others go on at once."""
        self._commit_offsets(now=True)
        self._consumer.close()

    def _take(self, message: Message) -> None:
        topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
        origin = topic, partition
        self._next_offset[origin] = offset + 1
        try:
            known = carried(_headers(message))
        except UNREADABLE:
            log.warning("message_not_ours", topic=topic, partition=partition, offset=offset)
            return
        self._unfinished.setdefault(origin, {})[offset] = None
        key = LogPartition(topic.removeprefix(self._prefix), known.partition % PARTITIONS)
        self._waiting.setdefault(key, deque()).append(_Waiting(known, message, origin))
        self._bytes += len(message)

    def _finish(self, waiting: _Waiting) -> None:
        self._bytes -= len(waiting.message)
        self._unfinished.get(waiting.origin, {}).pop(waiting.message.offset() or 0, None)

    def _regulate(self) -> None:
        """Stop fetching while too much waits; polling goes on, or the group would give us up."""
        full = max(sum(map(len, self._waiting.values())) / BUFFER_MAX, self._bytes / BUFFER_BYTES_MAX)
        if full > 1 and not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        elif full < 1 / 2:
            self._resume()

    def _resume(self) -> None:
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False

    def _commit_offsets(self, *, now: bool = False) -> None:
        """Where a successor begins: at the first message that is not known to be handled."""
        if not self._next_offset or not (now or time.monotonic() >= self._offsets_due):
            return
        self._offsets_due = time.monotonic() + OFFSETS_EVERY_S
        offsets = [
            TopicPartition(*origin, next(iter(self._unfinished.get(origin, ())), after))
            for origin, after in self._next_offset.items()
        ]
        try:  # without waiting: while Kafka is away that would hold up everybody
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            log.info("offsets_not_committed", consumer=self.name, error=str(error))
        self._next_offset = {o: n for o, n in self._next_offset.items() if self._unfinished.get(o)}

    def assigned(self, _consumer: object, _partitions: list[TopicPartition]) -> None:
        """New partitions are not paused as the others may be: all go on, until the next look at how much waits."""
        self._resume()

    def revoked(self, _consumer: object, partitions: list[TopicPartition]) -> None:
        """Others go on with them, from the offsets we leave; what waits here is theirs."""
        self._commit_offsets(now=True)
        gone = {(p.topic, p.partition) for p in partitions}
        for origin in gone:
            self._unfinished.pop(origin, None)
            self._next_offset.pop(origin, None)
        for key, waiting in self._waiting.items():
            self._waiting[key] = deque(w for w in waiting if w.origin not in gone)
            self._bytes -= sum(len(w.message) for w in waiting if w.origin in gone)
        self._resume()

    def failed(self, error: KafkaError) -> None:
        """Whatever it is, the events are in the log as well, and are read there until Kafka brings them again."""
        self._reasons.heard(error)
        away = error.code() == KafkaError._ALL_BROKERS_DOWN
        if away:
            BROKER_UP.set(0)
        if time.monotonic() < self._told_again.get(away, 0.0):
            return
        self._told_again[away] = time.monotonic() + TOLD_EVERY_S
        if away:
            log.warning("kafka_away", consumer=self.name, reason=self._reasons.sentence(error), now="reading the log")
        elif not error.retriable():
            log.info("kafka_error", consumer=self.name, error=str(error))


def connect(feed: Feed, options: KafkaOptions) -> Consumer:
    """A member of the consumer's group. Raises Unavailable where the settings cannot even be used."""
    try:
        consumer = Consumer(
            {
                **options.connection,
                "group.id": f"{options.prefix}{feed.name}",
                "client.id": f"sentinai-{feed.name}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": 6_000,
                "fetch.wait.max.ms": 50,
                "fetch.min.bytes": 65_536,
                "topic.metadata.refresh.interval.ms": 10_000,
                "queued.max.messages.kbytes": 4_096,
                "fetch.max.bytes": 2_097_152,  # a message that waits keeps all of the answer that brought it
                "log_level": 2,
                "error_cb": feed.failed,
            }
        )
    except KafkaException as error:
        raise Unavailable(Reasons().sentence(error)) from error
    topics = [options.prefix + topic for topic in topics_of(feed.name)]
    consumer.subscribe(topics, on_assign=feed.assigned, on_revoke=feed.revoked, on_lost=feed.revoked)
    return consumer


class KafkaBroker:
    """See Broker. The log stands behind it: whatever Kafka does not bring is read there, once a second."""

    def __init__(self, log_broker: PostgresBroker, feeds: Sequence[Feed]) -> None:
        self._log = log_broker
        self._feeds = {feed.name: feed for feed in feeds}
        self._look_back_due = dict.fromkeys(self._feeds, time.monotonic() + LOOK_BACK_EVERY_S)

    def heard(self, topics: Iterable[str]) -> None:
        """See Broker.heard: Kafka brings them."""

    async def news(self, begin: OpenTransaction) -> frozenset[str]:  # noqa: ARG002 - another engine asks the database
        """See Broker.news."""
        for feed in self._feeds.values():
            feed.poll()
        return frozenset[str]().union(*(feed.topics() for feed in self._feeds.values()))

    async def claim(self, tx: Connection, consumer: str, events_max: int, partition: int | None = None) -> Claim | None:
        """See Broker.claim; a named partition (one that makes trouble) is always read from the log."""
        feed = self._feeds[consumer]
        if partition is not None or self._looks_back(consumer):
            return await self._log.claim(tx, consumer, events_max, partition)
        wanted = feed.partitions()[:PARTITIONS_PER_CLAIM]
        if not wanted:
            return None
        cursors = await self._log.lock(tx, consumer, wanted)
        claim = Claim(consumer, [], feed.pass_by(cursors.ends))
        await self._fill(tx, feed, cursors, claim, events_max)
        return claim if claim.deliveries or claim.ends else None

    async def lag(self, tx: Connection, consumer: str) -> int:
        return await self._log.lag(tx, consumer)

    async def advance(self, tx: Connection, claim: Claim) -> None:
        await self._log.advance(tx, claim)

    def close(self) -> None:
        """All leave their groups at the same time; a Kafka that is away is not waited for."""
        leaving = [threading.Thread(target=feed.close, daemon=True) for feed in self._feeds.values()]
        for thread in leaving:
            thread.start()
        deadline = time.monotonic() + LEAVING_MAX_S
        for thread in leaving:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _looks_back(self, consumer: str) -> bool:
        now = time.monotonic()
        if now < self._look_back_due.get(consumer, 0.0):
            return False
        self._look_back_due[consumer] = now + LOOK_BACK_EVERY_S
        return True

    async def _fill(self, tx: Connection, feed: Feed, cursors: Cursors, claim: Claim, events_max: int) -> None:
        """From Kafka where one topic is all there is and nothing is missing, else from the log.

        Between topics Kafka keeps no order, and a consumer of several must not see an exception's events out of turn.
        """
        waiting = sorted({partition for _, partition in cursors.ends} & set(feed.partitions()))
        topic, *more_topics = topics_of(feed.name)
        from_log: list[int] = []
        for partition in waiting:
            key = LogPartition(topic, partition)
            share = max(1, events_max // len(waiting)), BATCH_BYTES_MAX // len(waiting)
            found = None if more_topics else feed.next(key, cursors.ends[key], *share)
            if found is None:
                from_log.append(partition)
            elif found:
                claim.ends[key] = found[-1].place
                fresh = [d for d in found if d.place > cursors.ahead.get((*key, d.event.tenant_id), NOWHERE)]
                claim.reached_ahead |= len(fresh) < len(found)
                claim.deliveries += fresh
        if from_log:
            read = await self._log.read(tx, feed.name, from_log, events_max, turns=False)
            claim.deliveries += read.deliveries
            claim.ends |= {key: max(place, claim.ends.get(key, place)) for key, place in read.ends.items()}
            claim.reached_ahead |= read.reached_ahead
            if not read.cut:
                for partition in set(from_log) - {partition for _, partition in read.ends}:
                    feed.nothing_left(partition)
        claim.deliveries.sort(key=lambda d: d.place)


def _headers(message: Message) -> dict[str, bytes]:
    headers: Any = message.headers() or ()
    return dict(headers)
