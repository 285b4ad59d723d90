"""Too much at once: refused early with 503, and what was accepted is kept."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from system import System, started


@pytest.fixture
async def small(fresh_database: Any) -> AsyncIterator[System]:
    async with fresh_database() as url, started(url, ingest_waiting_max=40, ingest_group_max=20) as system:
        yield system


async def test_a_flood_is_shed_and_nothing_accepted_is_lost(small: System) -> None:
    def batch(number: int) -> list[dict[str, Any]]:
        return [
            {"source_system": "psp", "payload": {"id": f"flood-{number}-{n}", "amount": 1, "code": "x"}}
            for n in range(10)
        ]

    client = small.client()
    answers = await asyncio.gather(*(client.post("/exceptions/batch", json=batch(n)) for n in range(40)))
    outcomes = Counter(a.status_code for a in answers)
    assert set(outcomes) == {202, 503}
    shed = next(a for a in answers if a.status_code == 503)
    assert int(shed.headers["Retry-After"]) >= 1
    assert shed.headers["Content-Type"] == "application/problem+json"
    accepted = [i for a in answers if a.status_code == 202 for i in a.json()["exception_ids"]]
    await small.settle()
    for exception_id in accepted:
        assert (await small.get(f"/exceptions/{exception_id}"))["status"] != "OPEN"
    assert (await client.post("/exceptions/batch", json=batch(99))).status_code == 202


async def test_a_batch_larger_than_the_bound_is_taken_when_nothing_waits(small: System) -> None:
    reports = [{"source_system": "psp", "payload": {"id": f"big-{n}", "amount": 1, "code": "x"}} for n in range(100)]
    assert (await small.client().post("/exceptions/batch", json=reports)).status_code == 202
