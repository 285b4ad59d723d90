"""Is an index built without holding writers up, and once more where its building broke off?"""

import asyncio

import asyncpg
import pytest
from system import query

from sentinai.infrastructure.migrate import build_index

NAME, ON = "some_index", "worker_heartbeat (host)"
BEAT = """insert into worker_heartbeat (worker_id, consumers, host, pid, started_at, seen_at)
  values ($1, '{}', 'here', 1, now(), now())"""


async def valid(url: str) -> bool | None:
    rows = await query(url, "select indisvalid from pg_index where indexrelid = to_regclass($1)", NAME)
    return rows[0][0] if rows else None


async def test_writers_go_on_meanwhile(database_dsn: str) -> None:
    first = await asyncpg.connect(database_dsn)
    second = await asyncpg.connect(database_dsn, server_settings={"lock_timeout": "5s"})
    try:
        under_way = first.transaction()
        await under_way.start()
        await first.execute(BEAT, "first")
        building = [asyncio.create_task(build_index(database_dsn, NAME, ON)) for _ in range(2)]
        while await valid(database_dsn) is None:  # noqa: ASYNC110 - a state of the database
            await asyncio.sleep(0.02)
        await second.execute(BEAT, "second")
        assert not any(task.done() for task in building), "it waits for the one that began before it"
        await under_way.commit()
        await asyncio.gather(*building)
    finally:
        await first.close()
        await second.close()
    assert await valid(database_dsn)
    await query(database_dsn, f"drop index {NAME}")


async def test_one_that_broke_off_is_built_anew(database_dsn: str) -> None:
    for worker in ("third", "fourth"):
        await query(database_dsn, BEAT, worker)
    with pytest.raises(asyncpg.UniqueViolationError):
        await query(database_dsn, f"create unique index concurrently {NAME} on {ON}")
    assert await valid(database_dsn) is False
    await build_index(database_dsn, NAME, ON)
    assert await valid(database_dsn)
