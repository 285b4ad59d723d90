"""Do the simulated statements mean what PostgreSQL makes of them? The same work over both, one thing after the other.

Nothing happens at the same time here; the schedules do that.
"""

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from store import Row, Store
from world import ANSWERS, REPORTS_MAX, Life, Move, Process, Task, Tool, World, simulated_asyncio

from sentinai.bootstrap import opened
from sentinai.infrastructure.database import OWNER, Database
from sentinai.tools.provider import ToolCall

NAMES = (
    *["report"] * 4, *["settle"] * 3, *["hours"] * 2, "poison", "unwritable", "unavailable", "fix",
    "approve", "reject", "retry", "discard",
)  # fmt: skip
SEEDS = int(os.environ.get("SENTINAI_TEST_SEEDS", "6"))
ROUNDS_MAX = 40
COMPARED: dict[str, tuple[str, ...]] = {
    "event": ("tenant_id", "stream", "type", "topic", "partition", "actor", "payload"),
    "exception": ("tenant_id", "exception_id", "status", "severity", "occurrences", "blocked", "due_at", "pending"),
    "parked": ("tenant_id", "consumer", "stream", "sequence", "type", "state", "attempts", "error"),
    "tool_execution": ("tenant_id", "execution_id", "tool", "step", "status", "attempts", "input", "output", "error"),
    "approval": ("tenant_id", "approval_id", "exception_id", "status", "step"),
    "dedup": ("tenant_id", "dedup_key", "exception_id"),
    "tenant_cursor": ("consumer", "topic", "partition", "tenant_id"),
}
REFUSING = """create table unwritable (tenant_id text, stream text);
create function refuse() returns trigger language plpgsql as $$ begin
  if exists (select from unwritable u where u.tenant_id = new.tenant_id and u.stream = new.stream) then
    raise exception 'this row cannot be written' using errcode = '22000';
  end if;
  return new;
end $$;
create trigger refuse before insert on event for each row when (new.type = 'TriageCompleted') execute function refuse()"""
WITHOUT_CHANCE = """;
create function public.random() returns float8 language sql immutable as 'select 0.5';
do $$ begin execute format('alter database %I set search_path = public, pg_catalog', current_database()); end $$"""
EMPTY = """truncate event, exception, parked, tool_execution, approval, dedup, tenant_cursor, unwritable;
update consumer_cursor set xid = '0', position = 0"""


@pytest.fixture(scope="module")
async def postgres(database_dsn: str) -> AsyncIterator[Database]:
    async with opened(database_dsn, OWNER) as database, database.transaction() as tx:
        await tx.execute(REFUSING + WITHOUT_CHANCE)
    async with opened(database_dsn, OWNER) as database:
        yield database


async def play(world: World, moves: list[Move]) -> None:
    """Over whatever database the world has."""
    process = world.processes[0]
    takes = process.takes()
    for number, (name, which, amount) in enumerate(moves):
        match name:
            case "report":
                await world.reporting(which, amount, f"p{number % 3}")
            case "settle":
                await settle(takes, process)
            case "hours":
                world.now += timedelta(hours=amount)
            case "poison" | "unwritable" | "unavailable" | "fix":
                world.trouble(name, which, amount)
                await note_unwritable(world)
            case _:
                table = "approval" if name in ("approve", "reject") else "parked"
                if (asked := world.asking(name, which, await rows_of(world.database, table))) is not None:
                    await asked
    world.now += timedelta(days=2)
    await settle(takes, process)


async def settle(takes: list[Callable[[], Life]], process: Process) -> None:
    """Rounds until there is nothing to do; each tool call is made at once, one after the other."""
    for _ in range(ROUNDS_MAX):
        taken = 0
        for take in takes:
            taken += await take()
            while process.calls:
                call = min(
                    process.calls, key=_execution
                )  # leases have no order among calls that are due at the same time
                process.calls.remove(call)
                await call.life
                call.ended(call)
        if not taken:
            return
    raise AssertionError("it never comes to rest")


def _execution(call: Task) -> UUID:
    execution_id: UUID = call.life.cr_frame.f_locals["leased"].execution_id
    return execution_id


async def note_unwritable(world: World) -> None:
    if isinstance(world.database, Database):
        async with world.database.transaction() as tx:
            await tx.execute("truncate unwritable")
            await tx.executemany("insert into unwritable values ($1, $2)", sorted(world.unwritable))


async def rows_of(database: Any, table: str) -> list[Row]:
    if isinstance(database, Store):
        return list(database.tables[table].values())
    async with database.transaction() as tx:
        return [dict(row) for row in await tx.fetch(f"select * from {table}")]


async def snapshot(database: Any) -> dict[str, list[Any]]:
    """Without the order of events of different consumers: what is due at the same time has none."""
    found = {}
    for table, columns in COMPARED.items():
        rows = await rows_of(database, table)
        if table == "event":  # what feedback sums up depends on that order
            rows = [row | {"payload": b"{}"} if row["type"] == "FeedbackCaptured" else row for row in rows]
        found[table] = sorted((tuple(_comparable(n, row.get(n)) for n in columns) for row in rows), key=repr)
    return found


def _comparable(name: str, value: Any) -> Any:
    if name in ("payload", "input", "output") and value is not None:
        return msgspec.json.decode(value)
    return UUID(str(value)) if name.endswith("_id") and name != "tenant_id" else value


class Answering:
    """A tool whose answer depends on the call alone."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool

    async def __call__(self, call: ToolCall) -> Any:
        self.tool.answers.append(ANSWERS[(call.execution_id.int + call.attempt) % len(ANSWERS)])
        return await self.tool(call)


def without_loop(life: Life) -> None:
    with suppress(StopIteration):
        while True:
            life.send(None)


@pytest.mark.parametrize("chaining", [True, False])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_the_same_work_ends_the_same_over_postgresql(
    postgres: Database, monkeypatch: pytest.MonkeyPatch, seed: int, chaining: bool
) -> None:
    rng = random.Random(seed)
    moves: list[Move] = [("report", rng.randrange(3), 1 + rng.randrange(8)) for _ in range(3)]
    moves += [(rng.choice(NAMES), rng.randrange(REPORTS_MAX), rng.randint(1, 8)) for _ in range(rng.randint(10, 40))]
    monkeypatch.setattr("sentinai.messaging.fairness.PART", 1e9)
    monkeypatch.setattr("statements.random", SimpleNamespace(shuffle=lambda _: None))

    def world() -> World:
        made = World(chaining=chaining, seed=seed)
        made.tool = Answering(made.tool)  # type: ignore[assignment]
        monkeypatch.setattr("sentinai.workers.executor.asyncio", simulated_asyncio(lambda: made))
        return made

    simulated = world()
    without_loop(play(simulated, moves))
    simulated.close()
    found = await snapshot(simulated.store)
    async with postgres.transaction() as tx:
        await tx.execute(EMPTY)
    real = world()
    real.database = postgres
    await play(real, moves)
    real.close()
    expected = await snapshot(postgres)
    assert expected["event"]
    for table in COMPARED:
        both = [*found[table], *expected[table]]
        differing = [row for row in both if (row in found[table]) != (row in expected[table])]
        assert not differing, (table, moves, differing)
