"""What every engine promises, chained or not: order, exactly once, parked and freed, replay, slow consumers, shutdown."""

import asyncio
import gc
import secrets
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from system import System, query, started, step

from sentinai.bootstrap import build_platform, built_runner, new_id, now, opened
from sentinai.errors import Unavailable
from sentinai.events.envelope import PARTITIONS
from sentinai.infrastructure.database import OWNER, WORKER
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.messaging.kafka import KafkaBroker
from sentinai.models.exception_record import FOLD, ExceptionState
from sentinai.orchestrator.pipeline import CONSUMER_OF, CONSUMES, topics_of
from sentinai.orchestrator.recording import Tracked
from sentinai.orchestrator.stages.occasion import Decided, Occasion
from sentinai.services.verification import verify_chains
from sentinai.workers.base import STATES_BYTES_MAX, BaseWorker
from sentinai.workers.batch import Batch


@pytest.fixture(scope="module", params=[(b, c) for b in ("postgres", "kafka") for c in (True, False)], ids=str)
async def engine(request: pytest.FixtureRequest, fresh_database: Any) -> AsyncIterator[System]:
    """Both engines, chained and not. Over Kafka nothing but Kafka brings events: looking back at the log is off."""
    broker, chaining = request.param
    with pytest.MonkeyPatch.context() as patch:
        options: dict[str, Any] = {"broker": broker, "chaining": chaining}
        if broker == "kafka":
            patch.setattr("sentinai.messaging.kafka.LOOK_BACK_EVERY_S", 1e9)
            options |= {
                "kafka_bootstrap_servers": request.getfixturevalue("kafka"),
                "kafka_prefix": f"t{secrets.token_hex(4)}.",
                "kafka_partitions": 5,
            }
        async with fresh_database() as url, started(url, **options) as system:
            yield system


def payment(number: str, code: str = "card_declined") -> dict[str, Any]:
    return {"id": number, "amount": 1, "code": code}


def before_triage(system: System, monkeypatch: pytest.MonkeyPatch, act: Callable[[Occasion], None]) -> None:
    """Something happens each time right before triage decides."""
    worker = worker_of(system, "triage")
    usual = worker.stage.decide

    def decide(occasion: Occasion, known: None) -> Decided:
        act(occasion)
        return usual(occasion, known)

    monkeypatch.setattr(worker, "stage", replace(worker.stage, decide=decide))


def worker_of(system: System, name: str) -> BaseWorker:
    return next(worker for worker in system.runner.workers if worker.name == name)


async def test_every_exception_comes_to_its_end_once(engine: System) -> None:
    ids = [await engine.post(payment(f"end-{n}")) for n in range(60)]
    await engine.settle()
    for exception_id in ids:
        events = await engine.events(exception_id)
        assert [e["sequence"] for e in events] == list(range(1, 15))
        assert sum(e["type"] == "FeedbackCaptured" for e in events) == 1
    await engine.require_sound()


async def test_nothing_is_left_pending_or_behind_a_cursor(engine: System) -> None:
    await engine.settled(payment("pending"))
    rows = await query(engine.url, "select count(*) from exception where pending <> 0")
    lag = await query(
        engine.url,
        """select count(*) from consumer_cursor k join event e on e.topic = k.topic and e.partition = k.partition
           and not e.handled and (e.xid, e.position) > (k.xid, k.position)""",
    )
    assert (rows[0][0], lag[0][0]) == (0, 0)


async def test_a_poisoned_event_stops_nobody_else(engine: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(occasion: Occasion) -> None:
        if "poison" in str(occasion.state.title):
            raise ZeroDivisionError("a bug")

    before_triage(engine, monkeypatch, poisoned)
    bad = await engine.post(payment("poison"))
    good = [await engine.post(payment(f"fine-{n}")) for n in range(20)]
    await engine.settle()
    for exception_id in good:
        assert (await engine.get(f"/exceptions/{exception_id}"))["status"] == "RESOLVED"
    found = await engine.get(f"/exceptions/{bad}")
    assert (found["status"], found["blocked"]) == ("OPEN", True)
    (letter,) = [x for x in (await engine.get("/dead-letters"))["items"] if x["exception_id"] == bad]
    assert (letter["consumer"], letter["error"], letter["attempts"]) == ("triage", "ZeroDivisionError", 1)
    monkeypatch.undo()
    await engine.client().post(f"/dead-letters/{letter['dead_letter_id']}/retry")
    await engine.settle()
    assert (await engine.get(f"/exceptions/{bad}"))["status"] == "RESOLVED"
    await engine.require_sound()


async def test_what_may_succeed_later_is_tried_until_it_does(engine: System, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def flaky(occasion: Occasion) -> None:
        if "flaky" in str(occasion.state.title) and len(tries) < 2:
            tries.append(occasion.event.sequence)
            raise Unavailable("not now")

    before_triage(engine, monkeypatch, flaky)
    exception_id = await engine.post(payment("flaky"))
    await engine.settle()
    triage = worker_of(engine, "triage")
    usual_platform = triage.platform
    for hours in range(1, 5):
        triage.platform = replace(usual_platform, clock=lambda hours=hours: now() + timedelta(hours=hours))
        await engine.settle()
    triage.platform = usual_platform
    assert len(tries) == 2
    assert (await engine.get(f"/exceptions/{exception_id}"))["status"] == "RESOLVED"


async def test_later_events_wait_behind_a_parked_one_and_are_taken_in_order(
    engine: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    broken = True

    def handle(occasion: Occasion) -> None:
        if occasion.state.dedup_key == "psp:ordered":
            if broken:
                raise ZeroDivisionError("broken")
            seen.append(occasion.event.sequence)

    before_triage(engine, monkeypatch, handle)
    exception_id = await engine.post(payment("ordered", "review"))
    await engine.settle()
    for _ in range(3):
        await engine.post(payment("ordered", "review"))
        await engine.settle()
    sql = "select state from parked where consumer = 'triage' and stream = $1 order by sequence"
    parked = await query(engine.url, sql, f"exception/{exception_id}")
    assert [row["state"] for row in parked] == ["dead", "behind", "behind", "behind"]
    broken = False
    (letter,) = [x for x in (await engine.get("/dead-letters"))["items"] if x["exception_id"] == exception_id]
    await engine.client().post(f"/dead-letters/{letter['dead_letter_id']}/retry")
    await engine.settle()
    assert seen == sorted(seen)
    assert len(seen) == 4
    assert (await engine.get(f"/exceptions/{exception_id}"))["exception_type"] == "MANUAL_REVIEW"
    assert await query(engine.url, sql, f"exception/{exception_id}") == []
    await engine.require_sound()


@pytest.mark.parametrize("events_max", [None, 1], ids=["usual batches", "batches made small"])
async def test_a_batch_that_cannot_be_written_loses_only_its_guilty_event(
    engine: System, monkeypatch: pytest.MonkeyPatch, events_max: int | None
) -> None:
    """Also the smallest batch has an event of each partition."""
    if events_max:
        for worker in engine.runner.workers:
            if isinstance(worker, BaseWorker):
                monkeypatch.setattr(worker.size, "events", events_max)
                monkeypatch.setattr(worker.size, "regulate", lambda *_: None)

    def unwritable(occasion: Occasion) -> None:
        if "unwritable" in str(occasion.state.title):
            occasion.state.title = "a NUL \0 that PostgreSQL cannot hold"
            occasion.state.owner = "\0"

    before_triage(engine, monkeypatch, unwritable)
    bad = await engine.post(payment(f"unwritable-{events_max}", "review"))
    good = [await engine.post(payment(f"writable-{events_max}-{n}")) for n in range(10)]
    await engine.settle()
    for exception_id in good:
        assert (await engine.get(f"/exceptions/{exception_id}"))["status"] == "RESOLVED"
    assert (await engine.get(f"/exceptions/{bad}"))["blocked"] is True
    await engine.require_sound()


async def test_a_parked_event_that_cannot_be_written_holds_no_other_up(
    engine: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are parked for a while; what comes of one of them cannot be written."""
    away = True

    def handle(occasion: Occasion) -> None:
        if "parked" in str(occasion.state.title) and away:
            raise Unavailable("not now")
        if "parked-bad" in str(occasion.state.title):
            occasion.state.owner = "a NUL \0 that PostgreSQL cannot hold"

    before_triage(engine, monkeypatch, handle)
    bad = await engine.post(payment("parked-bad", "review"))
    good = [await engine.post(payment(f"parked-{n}")) for n in range(3)]
    await engine.settle()
    away = False
    triage = worker_of(engine, "triage")
    usual_platform = triage.platform
    triage.platform = replace(usual_platform, clock=lambda: now() + timedelta(hours=1))
    await engine.settle()
    triage.platform = usual_platform
    for exception_id in good:
        assert (await engine.get(f"/exceptions/{exception_id}"))["status"] == "RESOLVED"
    (letter,) = [x for x in (await engine.get("/dead-letters"))["items"] if x["exception_id"] == bad]
    assert letter["consumer"] == "triage"
    await engine.require_sound()


async def test_large_payloads_are_taken_a_few_at_a_time(engine: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no backlog is larger than the memory."""
    bytes_max, sizes = 30_000, []
    for module in ("postgres", "kafka"):
        monkeypatch.setattr(f"sentinai.messaging.{module}.BATCH_BYTES_MAX", bytes_max)
    usual = BaseWorker._take

    async def take(self: BaseWorker, tx: Any, sources: Any, **options: Any) -> None:
        sizes.append(sum(len(source.event.payload) for source in sources))
        await usual(self, tx, sources, **options)

    monkeypatch.setattr(BaseWorker, "_take", take)
    ids = [await engine.post(payment(f"large-{n}") | {"note": "x" * 10_000}) for n in range(60)]
    await engine.settle()
    for exception_id in ids:
        assert (await engine.get(f"/exceptions/{exception_id}"))["status"] == "RESOLVED"
    of_each_partition = 16 * 11_000 if isinstance(engine.runner.platform.broker, KafkaBroker) else 0
    assert max(sizes) <= bytes_max + 11_000 + of_each_partition
    if isinstance(engine.runner.platform.broker, KafkaBroker):
        assert all(feed._bytes == 0 for feed in engine.runner.platform.broker._feeds.values())


async def test_what_one_event_causes_may_take_several_transactions(
    engine: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a report does that is split into a thousand exceptions."""
    monkeypatch.setattr("sentinai.workers.batch.CHAIN_EVENTS_MAX", 2)
    ids = [await engine.post(payment(f"chain-{n}")) for n in range(10)]
    await engine.settle()
    for exception_id in ids:
        assert (await engine.get(f"/exceptions/{exception_id}"))["status"] == "RESOLVED"
    await engine.require_sound()


async def test_where_states_are_large_batches_become_small(engine: System) -> None:
    worker = worker_of(engine, "feedback")
    worker.size.events = 100
    light = [Tracked(ExceptionState(FOLD, "acme", new_id()), "x", 0, stored=b"x" * 1_000)] * 100
    worker.size.regulate(100, light)
    assert worker.size.events == 200
    heavy = [Tracked(ExceptionState(FOLD, "acme", new_id()), "x", 0, stored=b"x" * 1_000_000)] * 200
    worker.size.regulate(200, heavy)
    assert worker.size.events == 200 * STATES_BYTES_MAX // 200_000_000
    worker.size.regulate(1, light[:1])
    assert worker.size.events == 200 * STATES_BYTES_MAX // 200_000_000, "it grows only with full batches"


PLACES = """select distinct on (topic, partition) topic, partition, xid, position from event
  where topic = any($1) and random() < 0.5 order by topic, partition, random()"""


@pytest.mark.parametrize("somewhere", [False, True], ids=["beginning", "anywhere"])
async def test_a_consumer_starts_at_any_place_of_the_log(engine: System, somewhere: bool) -> None:
    """Each event after it that no process handled where it was decided: once, in the order of the log."""
    await engine.settled(payment(f"replayed-{somewhere}"))
    topics = topics_of("feedback")
    claimed: list[int] = []
    async with opened(engine.url, WORKER) as database:
        platform = build_platform(engine.settings, database)
        connection = await database.dedicated()
        looking = connection.transaction()  # rolled back: it only looks
        await looking.start()
        await connection.execute("update consumer_cursor set xid = '0', position = 0 where consumer = 'feedback'")
        starts = await connection.fetch(PLACES, topics) if somewhere else []
        for start in starts:
            sql = """update consumer_cursor set xid = $3, position = $4
              where consumer = 'feedback' and topic = $1 and partition = $2"""
            await connection.execute(sql, *start)
        for partition in range(PARTITIONS):
            claim = await platform.broker.claim(connection, "feedback", 100_000, partition)
            claimed += [d.place.position for d in claim.deliveries] if claim else []
        await looking.rollback()
        await connection.close()
    after = {(row["topic"], row["partition"]): (row["xid"], row["position"]) for row in starts}
    sql = "select * from event where topic = any($1) and not handled order by partition, xid, position"
    rows = await query(engine.url, sql, topics)
    wanted = [r for r in rows if (r["xid"], r["position"]) > after.get((r["topic"], r["partition"]), (0, 0))]
    assert claimed == [row["position"] for row in wanted]
    if somewhere and not engine.settings.chaining:
        assert 0 < len(claimed) < len(rows)


OPEN = "select count(*) from exception where status = 'OPEN' and exception_id = any($1::text[]::uuid[])"


async def test_a_slow_consumer_delays_nobody_and_misses_nothing(
    engine: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over Kafka it also holds no more in memory than it may, though its messages keep coming."""
    monkeypatch.setattr("sentinai.messaging.kafka.BUFFER_MAX", 20)
    monkeypatch.setattr("sentinai.messaging.kafka.POLL_MAX", 20)
    await engine.settle()
    with pytest.MonkeyPatch.context() as slow:
        slow.setattr(worker_of(engine, "feedback"), "process", nothing)
        ids = [await engine.post(payment(f"slow-{n}")) for n in range(120)]
        for _ in range(200):
            await engine.step()
            rows = await query(engine.url, OPEN, ids)
            if not rows[0][0]:
                break
        assert rows[0][0] == 0, "others waited for the slow one"
        if not engine.settings.chaining:
            assert await engine.lag() >= len(ids)
        for _ in range(20):
            await engine.step()
        broker = engine.runner.platform.broker
        if isinstance(broker, KafkaBroker):
            assert sum(map(len, broker._feeds["feedback"]._waiting.values())) <= 40
    await engine.settle()
    for exception_id in ids:
        types = [event["type"] for event in await engine.events(exception_id)]
        assert (len(types), types.count("FeedbackCaptured")) == (14, 1)
    await engine.require_sound()


async def nothing() -> int:
    return 0


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_a_shutdown_in_the_middle_of_a_batch(engine: System, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Asked to stop, a process finishes the batch; torn away, it leaves nothing of it. Others go on either way."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    write = BaseWorker._write

    async def halfway(self: BaseWorker, tx: Any, batch: Batch) -> None:
        await write(self, tx, batch)
        reached.set()
        await go_on.wait()

    await engine.settle()
    before = (await query(engine.url, "select count(*) from event"))[0][0]
    ids = [await engine.post(payment(f"{how}-{n}")) for n in range(20)]
    reported = (await query(engine.url, "select count(*) from event"))[0][0]
    with monkeypatch.context() as patch:
        patch.setattr(BaseWorker, "_write", halfway)
        patch.setattr("sentinai.messaging.kafka.LOOK_BACK_EVERY_S", 0.0)  # it need not wait for its part of the group
        async with built_runner(engine.settings, engine.url, list(CONSUMES)) as other:
            running = asyncio.create_task(other.run())
            await asyncio.wait_for(reached.wait(), 30)
            if how == "stop":
                other.stop()
                go_on.set()
                await asyncio.wait_for(running, 30)
            else:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
        written = (await query(engine.url, "select count(*) from event"))[0][0]
        assert reported == before + 20
        assert (written > reported) is (how == "stop")
    await engine.settle()
    for exception_id in ids:
        assert [event["sequence"] for event in await engine.events(exception_id)] == list(range(1, 15))
    await engine.require_sound()


async def test_two_processes_share_the_work_and_repeat_none_of_it(engine: System) -> None:
    ids = [await engine.post(payment(f"shared-{n}")) for n in range(150)]
    async with built_runner(engine.settings, engine.url, list(CONSUMES)) as other:
        for _ in range(40):
            await asyncio.gather(step(engine.runner), step(other))
    await engine.settle()
    for exception_id in ids:
        assert len(await engine.events(exception_id)) == 14
    await engine.require_sound()


async def test_a_changed_event_is_named(engine: System) -> None:
    exception_id = (await engine.settled(payment("tampered")))["exception_id"]
    sql = "update event set actor = 'nobody' where stream = $1 and sequence = 3"
    await query(engine.url, sql, f"exception/{exception_id}")
    async with opened(engine.url, OWNER) as database:
        problems = [f.problem async for f in verify_chains(database, EventStore(copy=False), "acme") if f.problem]
    await query(engine.url, sql.replace("nobody", "agent:triage"), f"exception/{exception_id}")
    assert len(problems) == 1
    assert f"exception/{exception_id}, sequence 3" in problems[0]


def test_each_consumed_type_has_exactly_one_consumer() -> None:
    assert len(CONSUMER_OF) == sum(len(names) for names in CONSUMES.values())
    assert "feedback" in CONSUMES


async def test_a_second_writer_of_the_same_sequence_is_refused(engine: System) -> None:
    exception_id = (await engine.settled(payment("twice-written")))["exception_id"]
    sql = """insert into event (tenant_id, stream, sequence, event_id, type, schema_version, topic, partition, handled,
      occurred_at, actor, payload, hash) select tenant_id, stream, sequence, event_id, type, 1, topic, partition, true,
      occurred_at, actor, payload, hash from event where stream = $1 limit 1"""
    with pytest.raises(asyncpg.UniqueViolationError):
        await query(engine.url, sql, f"exception/{exception_id}")


async def test_a_batch_is_freed_when_it_is_done(engine: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its last reference: circles pile up until a full collection, which workers put off."""
    batches: list[weakref.ref[Batch]] = []
    usual = Batch.__init__

    def counted(self: Batch, *arguments: Any, **options: Any) -> None:
        batches.append(weakref.ref(self))
        usual(self, *arguments, **options)

    monkeypatch.setattr(Batch, "__init__", counted)
    for n in range(5):
        await engine.post(payment(f"freed-{n}"))
    gc.disable()
    try:
        await engine.settle()
        left = sum(batch() is not None for batch in batches)
    finally:
        gc.enable()
    assert batches
    assert left == 0
