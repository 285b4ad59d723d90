"""A database restored by dump into a new cluster: refused, repaired, and then nothing is lost or done twice."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from system import System, query, started

from sentinai.bootstrap import opened
from sentinai.errors import Rejected
from sentinai.infrastructure.database import OWNER
from sentinai.services.rebase import rebase, require_nobody_else, require_own_cluster

AHEAD = 10_000_000
"""As if the dump came from a cluster that had run for long."""


@pytest.fixture
async def restored(fresh_database: Any) -> AsyncIterator[System]:
    """Some exceptions at their end, some half-way, and every transaction id from another cluster."""
    async with fresh_database() as url, started(url, chaining=False) as system:
        yield system


def payment(number: str) -> dict[str, Any]:
    return {"id": number, "amount": 1, "code": "card_declined"}


async def test_a_restored_log_is_refused_rebased_and_goes_on(restored: System) -> None:
    ids = [await restored.post(payment(f"done-{n}")) for n in range(20)]
    await restored.settle()
    ids += [await restored.post(payment(f"half-{n}")) for n in range(20)]
    for name in ("intake", "triage"):
        await next(w for w in restored.runner.workers if w.name == name).process()
    ids += [await restored.post(payment(f"new-{n}")) for n in range(20)]
    async with opened(restored.url, OWNER) as owner:
        await require_own_cluster(owner)
        with pytest.raises(Rejected, match="nothing to rebase"):
            await rebase(owner)
        for table in ("event", "consumer_cursor"):
            await query(
                restored.url, f"update {table} set xid = (xid::text::bigint + $1)::text::xid8 where xid > '0'", AHEAD
            )
        with pytest.raises(Rejected, match="log rebase"):
            await require_own_cluster(owner)
        assert await rebase(owner) >= 40
        await require_own_cluster(owner)
    ids += [await restored.post(payment(f"after-{n}")) for n in range(20)]
    await restored.settle()
    for exception_id in ids:
        events = await restored.events(exception_id)
        assert [e["sequence"] for e in events] == list(range(1, 15))
    assert await restored.lag() == 0
    await restored.require_sound()


async def test_it_is_refused_while_workers_run(restored: System) -> None:
    await restored.settle()
    async with opened(restored.url, OWNER) as owner:
        with pytest.raises(Rejected, match="stop all of them"):
            await require_nobody_else(owner)


async def test_a_database_without_tables_says_what_to_run(postgres_dsn: str) -> None:
    async with opened(postgres_dsn, OWNER) as owner:
        with pytest.raises(Rejected, match="sentinai migrate"):
            await require_own_cluster(owner)
