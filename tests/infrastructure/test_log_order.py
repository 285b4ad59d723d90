"""Has the log the order of each stream, also where a transaction that began earlier writes later?"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from system import System, query, started

from sentinai.bootstrap import build_commands, build_platform, new_id, now, opened
from sentinai.events.playbook import CommentAdded
from sentinai.infrastructure.database import API, WORKER, Database, Role
from sentinai.orchestrator.recording import Cause, Recorder


@pytest.fixture(scope="module")
async def system(fresh_database: Any) -> AsyncIterator[System]:
    async with fresh_database() as url, started(url) as system:
        yield system


async def comment(system: System, database: Database, tx: Any, key: Any, text: str) -> None:
    """What a worker or a command does: lock, decide, write."""
    platform = build_platform(system.settings, database) if database.role == WORKER else build_commands(database)
    tracked = (await platform.exceptions.lock(tx, [key]))[key]
    recorder = Recorder(new_id, now())
    recorder.record(tracked, CommentAdded(text), Cause("user:x", None, None))
    await platform.unit_of_work.write(tx, recorder.events, [tracked])


@pytest.mark.parametrize("role", [WORKER, API], ids=lambda r: r.name)
async def test_an_earlier_transaction_that_writes_later_comes_later_in_the_log(system: System, role: Role) -> None:
    from uuid import UUID

    exception_id = UUID(
        (await system.settled({"id": f"order-{role.name}", "amount": 1, "code": "review"}))["exception_id"]
    )
    key = ("acme", exception_id)
    async with opened(system.url, role) as database:
        async with database.transaction("acme") as early:
            await early.fetchval("select pg_current_xact_id()")
            async with database.transaction("acme") as late:
                await comment(system, database, late, key, "written first")
            await comment(system, database, early, key, "written second")
        async with database.transaction("acme") as later:
            await comment(system, database, later, key, "written third")
    rows = await query(
        system.url,
        "select sequence, payload::text from event where correlation_id = $1 order by xid, position",
        exception_id,
    )
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert [n for row in rows for n in ("first", "second", "third") if f"written {n}" in row[1]] == [
        "first",
        "second",
        "third",
    ]
    await system.require_sound()
