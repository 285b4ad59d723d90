"""A tenant with much to do does not delay one with little: events are taken in turn, and so are tool calls."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from system import System, query, started

from sentinai.bootstrap import build_platform, now, opened
from sentinai.infrastructure.database import WORKER
from sentinai.messaging.broker import Place
from sentinai.messaging.fairness import _crowded_out
from sentinai.messaging.reading import in_order, place_of
from sentinai.workers.base import BaseWorker
from sentinai.workers.executor import LEASE_S, TENANT_CALLS_MAX, ToolExecutor

BATCH = 16
ROUNDS_MAX = 20
"""A claim is of 16 of the 32 partitions, by chance: after so many every partition had its turn, but once in a million."""


@pytest.fixture(scope="module", params=[("postgres", True), ("postgres", False), ("kafka", True)], ids=str)
async def crowded(request: pytest.FixtureRequest, fresh_database: Any) -> AsyncIterator[System]:
    """Small batches; over Kafka every claim looks at the log, as it otherwise does once a second."""
    broker, chaining = request.param
    options: dict[str, Any] = {"broker": broker, "chaining": chaining, "worker_batch_max": BATCH}
    with pytest.MonkeyPatch.context() as patch:
        if broker == "kafka":
            patch.setattr("sentinai.messaging.kafka.LOOK_BACK_EVERY_S", 0.0)
            options |= {
                "kafka_bootstrap_servers": request.getfixturevalue("kafka"),
                "kafka_prefix": f"t{secrets.token_hex(4)}.",
            }
        patch.setattr("sentinai.messaging.fairness.PART", 1e9)  # look for tenants at every claim
        async with fresh_database() as url, started(url, **options) as system:
            yield system


async def report(system: System, tenant: str, name: str, count: int) -> list[str]:
    reports = [
        {"source_system": "psp", "payload": {"id": f"{name}-{n}", "amount": 1, "code": "card_declined"}}
        for n in range(count)
    ]
    answer = await system.client(tenant=tenant).post("/exceptions/batch", json=reports)
    assert answer.status_code == 202, answer.text
    ids: list[str] = answer.json()["exception_ids"]
    return ids


async def waiting(system: System, tenant: str) -> int:
    sql = "select count(*) from exception where tenant_id = $1 and exception_type is null"
    return int((await query(system.url, sql, tenant))[0][0])


def hosted(system: System, name: str) -> BaseWorker:
    return next(worker for worker in system.runner.workers if worker.name == name)


async def test_a_backlog_of_one_tenant_delays_another_by_a_batch(crowded: System) -> None:
    await crowded.settle()
    await report(crowded, "acme", "flood", 1_000)
    if crowded.relay is not None:
        while await crowded.relay.round():
            pass
    late = await report(crowded, "beta", "late", 6)
    rounds = 0
    while await waiting(crowded, "beta"):
        rounds += 1
        assert rounds <= ROUNDS_MAX
        for name in ("intake", "triage"):
            await hosted(crowded, name).process()
    assert await waiting(crowded, "acme") > 1_000 - ROUNDS_MAX * BATCH * 2
    more = await report(crowded, "beta", "later", 6)
    await crowded.settle()
    for exception_id in [*late, *more]:
        assert [e["sequence"] for e in await crowded.events(exception_id, "beta")] == list(range(1, 15))
    assert await query(crowded.url, "select * from tenant_cursor") == []
    rows = await query(
        crowded.url, "select distinct count(*) from event where topic = 'feedback.captured' group by stream"
    )
    assert [row[0] for row in rows] == [1]
    await crowded.require_sound()


async def test_two_backlogs_advance_side_by_side(crowded: System) -> None:
    await crowded.settle()
    await report(crowded, "acme", "first", 300)
    await report(crowded, "beta", "second", 300)
    for _ in range(4):
        await hosted(crowded, "intake").process()
        await hosted(crowded, "triage").process()
    assert await waiting(crowded, "beta") < 300
    assert await waiting(crowded, "acme") < 300
    await crowded.settle()
    assert (await waiting(crowded, "acme"), await waiting(crowded, "beta")) == (0, 0)
    assert await query(crowded.url, "select * from tenant_cursor") == []
    await crowded.require_sound()


@pytest.mark.parametrize(
    ("read", "late"),
    [
        ({"acme": 90, "beta": 90}, set()),
        ({"acme": 90, "beta": 20}, {"beta"}),
        ({"acme": 90}, {"beta"}),
        ({"acme": 90, "other": 90}, {"beta"}),
    ],
)
def test_tenants_that_have_their_part_anyway_take_no_turns(read: dict[str, int], late: set[str]) -> None:
    rows: Any = [{"tenant_id": tenant} for tenant, count in read.items() for _ in range(count)]
    assert _crowded_out({"acme", "beta"}, rows, len(rows)) == late


IDLE = """insert into event (tenant_id, stream, sequence, event_id, type, schema_version, topic, partition, handled, occurred_at,
    actor, payload, hash, xid)
  select 'idle-' || t, 'exception/idle', p, gen_random_uuid(), 'ExceptionIngested', 1, 'exceptions.ingested', p, false, now(),
    'user:x', '{}', '', '1' from generate_series(1, 40) t cross join generate_series(0, 31) p"""


async def test_tenants_that_have_nothing_to_do_take_no_turns(crowded: System) -> None:
    """Their events are in the log, and all were taken long ago."""
    await report(crowded, "acme", "history", 500)  # so that every cursor has moved
    await crowded.settle()
    await query(crowded.url, IDLE)
    try:
        await report(crowded, "acme", "again", 1_000)
        if crowded.relay is not None:
            while await crowded.relay.round():
                pass
        await report(crowded, "beta", "few", 6)
        for _ in range(ROUNDS_MAX):
            for name in ("intake", "triage"):
                await hosted(crowded, name).process()
        assert await waiting(crowded, "beta") == 0
        assert await waiting(crowded, "acme") > 0
    finally:
        await query(crowded.url, "delete from event where stream = 'exception/idle'")
    await crowded.settle()


async def test_a_tenant_never_has_more_calls_under_way_than_its_part(
    crowded: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor when many more come due while some are under way."""
    held = asyncio.Event()

    async def slow(_self: ToolExecutor, _call: Any) -> None:
        await held.wait()

    monkeypatch.setattr(ToolExecutor, "_perform", slow)
    sql = """insert into tool_execution (tenant_id, execution_id, stream, tool, input, status, due_at, requested_by,
        requested_at)
      select $1, x, 'tool/' || x, 'echo', '{}', 'REQUESTED', now() - interval '1 hour', 'user:x', now()
      from (select gen_random_uuid() as x from generate_series(1, $2)) ids"""
    under_way = "select count(*) from tool_execution where tenant_id = $1 and status = 'RUNNING'"
    async with opened(crowded.url, WORKER) as database:
        executor = ToolExecutor(build_platform(crowded.settings, database), None)  # type: ignore[arg-type]
        for tenant, count in (("acme", 40), ("acme", 200), ("beta", 5)):
            await query(crowded.url, sql, tenant, count)
            while await executor.take():
                pass
        running = [(await query(crowded.url, under_way, tenant))[0][0] for tenant in ("acme", "beta")]
        held.set()
        await executor.drain(5)
    await query(crowded.url, "delete from tool_execution where tool = 'echo'")
    assert running == [TENANT_CALLS_MAX, 5]


async def test_calls_are_leased_to_tenants_in_equal_parts(crowded: System) -> None:
    """The flood's calls are older, and there are more of them than one lease takes."""
    sql = """insert into tool_execution (tenant_id, execution_id, stream, tool, input, status, due_at, requested_by,
        requested_at)
      select $1, gen_random_uuid(), 'x', 'echo', '{}', 'REQUESTED', now() - $3 * interval '1 hour', 'user:x', now()
      from generate_series(1, $2)"""
    await query(crowded.url, sql, "acme", 500, 2)
    await query(crowded.url, sql, "beta", 5, 1)
    async with opened(crowded.url, WORKER) as database:
        platform = build_platform(crowded.settings, database)
        async with database.transaction() as tx:
            leased = await platform.executions.lease(tx, now(), now() + timedelta(seconds=LEASE_S), 20)
            but = await platform.executions.lease(tx, now(), now() + timedelta(seconds=LEASE_S), 20, ["acme"])
    await query(crowded.url, "delete from tool_execution where stream = 'x'")
    assert sorted(call.tenant_id for call in leased) == ["acme"] * 10 + ["beta"] * 5
    assert but == []


ROWS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.integers(1, 200)), max_size=40)


@given(ROWS, st.integers(1, 5))
def test_a_topic_that_was_cut_off_holds_the_others_back(found: list[tuple[int, str, int]], limit: int) -> None:
    """Whatever is left out of a group comes after all that was taken of it."""
    everything = [
        {"partition": group, "topic": topic, "xid": 1, "position": number * 4 + group * 2 + (topic == "a")}
        for group, topic, number in sorted(set(found), key=lambda r: r[2])
    ]
    read = [
        row
        for group in (0, 1)
        for topic in "ab"
        for row in [r for r in everything if (r["partition"], r["topic"]) == (group, topic)][:limit]
    ]
    read.sort(key=lambda row: row["position"])
    taken = in_order(read, limit, lambda row: row["partition"])  # type: ignore[arg-type]
    assert [place_of(row) for row in taken] == sorted(place_of(row) for row in taken)
    for group in (0, 1):
        last = max((place_of(r) for r in taken if r["partition"] == group), default=Place(0, 0))
        before = [r for r in everything if r["partition"] == group and place_of(r) <= last]  # type: ignore[arg-type]
        assert all(row in taken for row in before)
