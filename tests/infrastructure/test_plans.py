"""Statements on the hot path find their rows by the index made for them, whatever the planner believes of the data."""

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from sentinai.bootstrap import opened
from sentinai.infrastructure import database
from sentinai.infrastructure.database import WORKER
from sentinai.infrastructure.repositories import exceptions
from sentinai.messaging import fairness, postgres

STATES = {
    "empty": "select",
    "empty, analyzed": "analyze",
    "filled": "{fill}",
    "filled, analyzed": "{fill}; analyze",
    "all handled when it was analyzed": "{fill}; update event set handled = true; analyze; {fill}",
    "one topic when it was analyzed": "{fill}; delete from event where topic <> 'exceptions.ingested'; analyze; {fill}",
}
FILL = """insert into event (tenant_id, stream, sequence, event_id, type, schema_version, topic, partition, handled, occurred_at,
    actor, payload, hash)
  select 'acme', 'exception/' || gen_random_uuid(), 1, gen_random_uuid(), 'x', 1,
    case n % 3 when 0 then 'exceptions.ingested' when 1 then 'triage.completed' else 'tool.completed' end,
    n % 32, n % 14 <> 0, now(), 'user:x', '{}', '' from generate_series(1, 20000) n"""
EVENT_INDEXES = {
    "claims": (postgres._GUARD, {"event_log"}),
    "reads": (postgres._READ, {"event_log"}),
    "lag": (postgres._LAG, {"event_log"}),
    "tenants that wait": (fairness._TENANTS, {"event_turns"}),
    "turns": (fairness._READ, {"event_turns"}),
}


@pytest.fixture(params=STATES.values(), ids=STATES)
async def connection(request: pytest.FixtureRequest, fresh_database: Any) -> AsyncIterator[asyncpg.Connection]:
    async with fresh_database() as url:
        connection = await asyncpg.connect(url)
        for setting in database.WHOLE_TABLE_PLANS:
            await connection.execute(f"set {setting} = off")
        await connection.execute("set plan_cache_mode = force_generic_plan")
        await connection.execute(request.param.format(fill=FILL))
        yield connection
        await connection.close()


@pytest.mark.parametrize("name", EVENT_INDEXES)
async def test_events_are_found_by_one_index_alone(connection: asyncpg.Connection, name: str) -> None:
    statement, indexes = EVENT_INDEXES[name]
    plan = await planned(connection, statement)
    assert set(re.findall(r"\bevent_\w+", plan)) == indexes, plan
    conditions = re.findall(r"using event_.*\n *Index Cond: (.*)", plan)
    assert conditions, plan
    assert all("topic = " in found and "partition = " in found for found in conditions), plan


@pytest.mark.parametrize("statement", [exceptions._LOCK, exceptions._UPDATE], ids=["lock", "update"])
async def test_exceptions_are_found_by_their_key(connection: asyncpg.Connection, statement: str) -> None:
    rows = await connection.fetchval("select count(*) from event")
    if not rows:
        pytest.skip("in an empty table any index will do; plans are renewed as it grows")
    await connection.execute(
        """insert into exception (tenant_id, exception_id, status, source_system, occurrences, blocked, automated, occurred_at,
             received_at, updated_at, pending, state)
           select 'acme', gen_random_uuid(), 'OPEN', 'psp', 1, false, false, now(), now(), now(), 0, '{}'
           from generate_series(1, 5000)"""
    )
    plan = await planned(connection, statement)
    assert set(re.findall(r"\bexception_(?:pkey|received|open|due)\b", plan)) == {"exception_pkey"}, plan


async def planned(connection: asyncpg.Connection, statement: str) -> str:
    """The plan for any parameters, as a prepared statement gets it after a few executions."""
    count = max(int(n) for n in re.findall(r"\$(\d+)", statement))
    await connection.execute(f"prepare planned as {statement}")
    rows = await connection.fetch(f"explain execute planned ({', '.join(['null'] * count)})")
    await connection.execute("deallocate planned")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize(("kept_for_s", "renewed"), [(-1.0, True), (3600.0, False)])
async def test_plans_are_renewed_as_tables_grow(
    fresh_database: Any, monkeypatch: pytest.MonkeyPatch, kept_for_s: float, renewed: bool
) -> None:
    """Without it a plan made for an empty table stays until somebody analyzes it."""
    monkeypatch.setattr(database, "PLANS_FOR_S", kept_for_s)
    async with fresh_database() as url, opened(url, WORKER) as worker:
        plans = []
        for turn in range(2):
            async with worker.transaction() as tx:
                if turn == 0:
                    await tx.execute("prepare counting as select count(*) from event where topic = $1")
                    await tx.execute("set plan_cache_mode = force_generic_plan")
                rows = await tx.fetch("explain execute counting ('x')")
                plans.append("\n".join(row[0] for row in rows))
                await tx.execute(FILL)
        assert (plans[0] != plans[1]) is renewed
