"""What Kafka may do to us - lose, repeat, reorder, be away - and what then still holds."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]
from kafka_server import KafkaServer
from system import System, query, started, step

from sentinai.bootstrap import built_runner, kafka_options, prepare_database
from sentinai.errors import Unavailable
from sentinai.messaging.broker import KafkaOptions, Place
from sentinai.messaging.cloudevents import carried, event_of
from sentinai.messaging.relay import Relay
from sentinai.messaging.topics import TopicPlan, ensure_topics
from sentinai.workers.catalog import STAGES

Over = Any


def payment(number: str) -> dict[str, Any]:
    return {"id": number, "amount": 1, "code": "card_declined"}


@asynccontextmanager
async def over(url: str, kafka: str, **options: Any) -> AsyncIterator[System]:
    settings = {"broker": "kafka", "kafka_bootstrap_servers": kafka, "kafka_prefix": f"t{secrets.token_hex(4)}."}
    async with started(url, **(settings | {"kafka_partitions": 3, "chaining": False} | options)) as system:
        yield system


@pytest.fixture
async def over_kafka(kafka: str, fresh_database: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    """Only Kafka brings events."""
    monkeypatch.setattr("sentinai.messaging.kafka.LOOK_BACK_EVERY_S", 1e9)
    async with fresh_database() as url, over(url, kafka) as system:
        yield system


async def ended_once(system: System, ids: list[str]) -> None:
    """Every exception went its whole way, each stage once."""
    for exception_id in ids:
        events = await system.events(exception_id)
        assert [e["sequence"] for e in events] == list(range(1, 15)), exception_id
        assert [e["type"] for e in events].count("FeedbackCaptured") == 1
    assert await system.lag() == 0
    await system.require_sound()


def messages_of(system: System, topic: str) -> list[Message]:
    """All messages of a topic, by Kafka's partition and offset."""
    prefix, servers = system.settings.kafka_prefix, system.settings.kafka_bootstrap_servers
    consumer = Consumer({"bootstrap.servers": servers, "group.id": secrets.token_hex(4), "enable.auto.commit": False})
    partitions = [TopicPartition(prefix + topic, p, 0) for p in range(system.settings.kafka_partitions)]
    ends = [consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions]
    consumer.assign(partitions)
    found: list[Message] = []
    while len(found) < sum(ends):
        found += consumer.consume(500, 1)
    consumer.close()
    return sorted(found, key=lambda m: (m.partition() or 0, m.offset() or 0))


def headers(message: Message) -> dict[str, bytes]:
    found: Any = message.headers()
    return dict(found)


async def relay_lag_of(system: System) -> int:
    assert system.relay is not None
    async with system.relay.platform.database.transaction() as tx:
        return await system.relay.workers[0].lag(tx)


async def test_the_relay_knows_how_much_is_not_in_kafka_yet(over_kafka: System) -> None:
    await forward_all(over_kafka)
    await over_kafka.post(payment("waits"))
    assert await relay_lag_of(over_kafka) == 1
    assert over_kafka.relay is not None
    over_kafka.relay.make_due()
    await forward_all(over_kafka)
    assert await relay_lag_of(over_kafka) == 0


async def forward_all(system: System) -> None:
    assert system.relay is not None
    while await system.relay.round():
        system.relay.make_due()


@pytest.mark.parametrize("bytes_max", [None, 2_000], ids=["at once", "in small pieces"])
async def test_every_event_is_published_in_order_without_a_gap(
    over_kafka: System, monkeypatch: pytest.MonkeyPatch, bytes_max: int | None
) -> None:
    """Integrators read the topics: also what nobody inside consumes is there, as it is in the log."""
    if bytes_max:
        monkeypatch.setattr("sentinai.messaging.relay.BATCH_BYTES_MAX", bytes_max)
        monkeypatch.setattr("sentinai.messaging.relay.RUN_BYTES_MAX", 2 * bytes_max)
    exception_id = (await over_kafka.settled(payment("cloud-1")))["exception_id"]
    await forward_all(over_kafka)
    assert await relay_lag_of(over_kafka) == 0
    rows = await query(
        over_kafka.url, "select topic, event_id, hash, payload from event order by topic, partition, xid, position"
    )
    for topic in {row["topic"] for row in rows}:
        ends: dict[int, Place] = {}
        found = []
        for message in messages_of(over_kafka, topic):
            known = carried(headers(message))
            assert known.previous == ends.get(known.partition, Place(0, 0))
            ends[known.partition] = known.place
            event = event_of(topic, headers(message), message.value() or b"")
            found.append((event.event_id, event.hash, event.payload))
        assert {f[0]: f[1:] for f in found} == {
            r["event_id"]: (r["hash"], r["payload"].encode()) for r in rows if r["topic"] == topic
        }
    (first,) = [
        m for m in messages_of(over_kafka, "exceptions.ingested") if exception_id in headers(m)["ce_subject"].decode()
    ]
    assert first.key() == f"acme:{exception_id}".encode()
    assert headers(first)["ce_specversion"] == b"1.0"


async def test_lost_messages_are_read_from_the_log(over_kafka: System) -> None:
    """Retention took the first messages before anybody read them; the next one shows the gap."""
    ids = [await over_kafka.post(payment(f"lost-{n}")) for n in range(40)]
    await forward_all(over_kafka)
    topic = f"{over_kafka.settings.kafka_prefix}exceptions.ingested"
    admin = AdminClient({"bootstrap.servers": over_kafka.settings.kafka_bootstrap_servers})
    ends = {p: len([m for m in messages_of(over_kafka, "exceptions.ingested") if m.partition() == p]) for p in range(3)}
    for done in admin.delete_records([TopicPartition(topic, p, end) for p, end in ends.items()]).values():
        done.result(10)
    later = []
    while await over_kafka.partitions_without(later):
        later += [await over_kafka.post(payment(f"after-{len(later) + n}")) for n in range(50)]
    await over_kafka.settle()
    await ended_once(over_kafka, ids + later)


async def test_repeated_and_reordered_messages_change_nothing(over_kafka: System) -> None:
    ids = [await over_kafka.post(payment(f"again-{n}")) for n in range(30)]
    await forward_all(over_kafka)
    producer = Producer({"bootstrap.servers": over_kafka.settings.kafka_bootstrap_servers})
    messages = messages_of(over_kafka, "exceptions.ingested")
    for message in [*reversed(messages), *messages]:
        again: Any = message.headers()
        producer.produce(message.topic() or "", message.value(), message.key(), message.partition() or 0, headers=again)
    producer.flush(10)
    await over_kafka.settle()
    await ended_once(over_kafka, ids)


async def test_messages_that_are_not_ours_are_passed_over(over_kafka: System) -> None:
    producer = Producer({"bootstrap.servers": over_kafka.settings.kafka_bootstrap_servers})
    topic = f"{over_kafka.settings.kafka_prefix}exceptions.ingested"
    looks_right = {"ce_type": b"ExceptionIngested", "ce_logposition": b"0:1", "ce_logprevious": b"0:0"}
    complete = {"ce_tenantid": b"acme", "ce_subject": b"exception/x", "ce_sequence": b"1", "ce_schemaversion": b"1"}
    complete |= {"ce_id": b"01a20a44-95b4-7049-98a4-15fd1bec5402", "ce_time": b"2026-01-31T12:00:00Z"}
    complete |= {"ce_actor": b"user:x", "ce_hash": b"00"}
    placed = [looks_right | more | {"ce_logpartition": b"%d" % n} for n in range(32) for more in ({}, complete)]
    for strange in ({}, {"ce_type": b"x"}, {"ce_type": b"ExceptionIngested", "ce_logpartition": b"many"}, *placed):
        producer.produce(topic, b"\xff{", headers=list(strange.items()))
    producer.flush(10)
    ids = [await over_kafka.post(payment(f"beside-{n}")) for n in range(5)]
    await over_kafka.settle()
    await ended_once(over_kafka, ids)


async def test_more_partitions_keep_the_order(over_kafka: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the consumers learn of the new partitions, the log brings what is there."""
    monkeypatch.setattr("sentinai.messaging.kafka.LOOK_BACK_EVERY_S", 0.1)
    over_kafka.runner.platform.broker._look_back_due.clear()  # type: ignore[attr-defined]
    before = [await over_kafka.post(payment(f"few-{n}")) for n in range(40)]
    await forward_all(over_kafka)
    admin = AdminClient({"bootstrap.servers": over_kafka.settings.kafka_bootstrap_servers})
    topics = [t for t in admin.list_topics(timeout=10).topics if t.startswith(over_kafka.settings.kafka_prefix)]
    for done in admin.create_partitions([NewPartitions(t, 7) for t in topics]).values():
        done.result(10)
    assert over_kafka.relay is not None
    over_kafka.relay.workers[0].relay._counted_at = 0.0  # type: ignore[attr-defined] - sooner than in half a minute
    after = [await over_kafka.post(payment(f"many-{n}")) for n in range(40)]
    await over_kafka.settle()
    await ended_once(over_kafka, before + after)


async def test_a_payload_too_large_for_kafka_is_read_from_the_log(
    over_kafka: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentinai.messaging.relay.MESSAGE_BYTES_MAX", 65_536 + 3_000)
    large = [await over_kafka.post(payment(f"large-{n}") | {"note": "x" * 10_000}) for n in range(3)]
    small = [await over_kafka.post(payment(f"small-{n}")) for n in range(3)]
    await over_kafka.settle()
    await ended_once(over_kafka, large + small)


async def test_two_relays_and_a_zombie_repeat_but_lose_nothing(over_kafka: System) -> None:
    """A relay whose transaction was lost goes on producing; the next one begins at the same cursors."""
    ids = [await over_kafka.post(payment(f"zombie-{n}")) for n in range(30)]
    assert over_kafka.relay is not None
    options = kafka_options(over_kafka.settings)
    assert options is not None
    database = over_kafka.relay.platform.database
    zombie = Relay(options)
    with pytest.raises(Unavailable):
        await _forward_and_lose(zombie, database)
    async with built_runner(over_kafka.settings, over_kafka.url, ["relay"]) as second:
        await asyncio.gather(forward_all(over_kafka), second.round())
        await over_kafka.settle()
    await ended_once(over_kafka, ids)


async def _forward_and_lose(relay: Relay, database: Any) -> None:
    async with database.transaction() as tx:
        assert await relay.forward(tx, 1_000)
        raise Unavailable("the connection broke before the commit")


async def test_an_installation_changes_engines_with_events_in_flight(kafka: str, fresh_database: Any) -> None:
    """From the log to Kafka, back, and to Kafka again; each time half of the work is under way."""
    async with fresh_database() as url, over(url, kafka) as system:
        plain = system.settings.model_copy(update={"broker": "postgres"})
        ids = []
        async with built_runner(plain, url, list(STAGES)) as without_kafka:
            for turn, runner in enumerate((without_kafka, system.runner, without_kafka, system.runner)):
                ids += [await system.post(payment(f"turn-{turn}-{n}")) for n in range(25)]
                for _ in range(4):
                    await forward_all(system)
                    runner.make_due()
                    await runner.round()
        await system.settle()
        await ended_once(system, ids)


@pytest.fixture
def own_kafka(own_broker: Any) -> Iterator[KafkaServer]:
    with (
        tempfile.TemporaryDirectory(prefix="sentinai-kafka-", ignore_cleanup_errors=True) as folder,
        own_broker(KafkaServer(Path(folder))) as server,
    ):
        yield server


@pytest.mark.slow
async def test_work_goes_on_while_kafka_is_down_and_after_it_is_back(
    own_kafka: KafkaServer, fresh_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fresh_database() as url, over(url, own_kafka.bootstrap) as system:
        ids = [await system.post(payment(f"before-{n}")) for n in range(20)]
        await system.settle()
        own_kafka.kill()
        ids += [await system.post(payment(f"during-{n}")) for n in range(20)]
        assert system.relay is not None
        with monkeypatch.context() as patch:
            patch.setattr("sentinai.messaging.relay.ACKNOWLEDGED_WITHIN_S", 1.0)
            with pytest.raises(Unavailable, match="Kafka"):
                await step(system.relay)
        for _ in range(200):
            system.runner.make_due()
            await system.runner.round()
            await asyncio.sleep(0.05)
            rows = await query(url, "select count(*) from exception where status <> 'RESOLVED'")
            if rows[0][0] == 0:
                break
        assert rows[0][0] == 0, "the log was not read while Kafka was down"
        own_kafka.start()
        await prepare_database(url, system.settings)
        ids += [await system.post(payment(f"after-{n}")) for n in range(20)]
        await system.settle()
        await ended_once(system, ids)


def test_two_that_make_the_topics_at_once_do_not_get_into_each_others_way(kafka: str) -> None:
    options = KafkaOptions({"bootstrap.servers": kafka}, f"t{secrets.token_hex(4)}.")
    plan = TopicPlan(2, 1, 1, 1)
    with ThreadPoolExecutor(4) as at_once:
        for made in [at_once.submit(ensure_topics, options, plan) for _ in range(4)]:
            assert made.result(60) == []
