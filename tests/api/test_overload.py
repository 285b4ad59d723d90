"""Too much at once: refused early with 503, and what was accepted is kept."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from system import System, started

from sentinai.errors import Limited, Unavailable
from sentinai.services.admission import Admission


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


@pytest.fixture
async def limited(fresh_database: Any) -> AsyncIterator[System]:
    async with fresh_database() as url, started(url, tenant_reports_per_s=0.5) as system:
        yield system


async def test_a_tenant_that_sends_too_much_is_told_when_to_come_back_and_another_is_not(limited: System) -> None:
    reports = [{"source_system": "psp", "payload": {"id": f"r-{n}", "amount": 1, "code": "x"}} for n in range(20)]
    assert (await limited.client().post("/exceptions/batch", json=reports)).status_code == 202
    refused = await limited.client().post("/exceptions", json=reports[0])
    assert refused.status_code == 429
    assert 20 < int(refused.headers["Retry-After"]) <= 40
    assert refused.json()["type"] == "urn:sentinai:problem:too-many-requests"
    assert (await limited.client(tenant="beta").post("/exceptions", json=reports[0])).status_code == 202


def test_a_tenant_takes_at_most_half_of_the_room() -> None:
    admission = Admission(100, 1, 0.0)
    admission.enter("acme", 50, 0.0)
    with pytest.raises(Unavailable):
        admission.enter("acme", 1, 0.0)
    admission.enter("beta", 50, 0.0)
    with pytest.raises(Unavailable):
        admission.enter("gamma", 1, 0.0)
    admission.leave("acme", 50)
    admission.enter("acme", 50, 0.0)


def test_bodies_take_at_most_the_memory_that_is_given_them() -> None:
    admission = Admission(100, 1_000, 0.0)
    with admission.body("acme") as hold, admission.body("acme") as more:
        hold(400)
        more(100)
        with pytest.raises(Unavailable):
            more(1)
        with admission.body("beta") as other:
            other(500)
            with pytest.raises(Unavailable), admission.body("gamma") as third:
                third(1)
    with admission.body("acme") as again:
        again(500)


@pytest.fixture
async def narrow(fresh_database: Any) -> AsyncIterator[System]:
    sizes = {"body_bytes_max": 8_192, "batch_bytes_max": 40_000, "ingest_bytes_max": 120_000}
    async with fresh_database() as url, started(url, **sizes) as system:
        yield system


async def test_large_bodies_at_once_are_shed_and_room_is_free_again_afterwards(narrow: System) -> None:
    reports = [{"source_system": "psp", "payload": {"id": f"m-{n}", "note": "x" * 7_000}} for n in range(5)]
    client = narrow.client()
    answers = await asyncio.gather(*(client.post("/exceptions/batch", json=reports) for _ in range(10)))
    assert {a.status_code for a in answers} == {202, 503}
    assert (await client.post("/exceptions/batch", json=reports)).status_code == 202
    too_large = [*reports[:1], {"source_system": "psp", "payload": {"note": "x" * 9_000}}]
    refused = await client.post("/exceptions/batch", json=too_large)
    assert refused.status_code == 422
    assert [e["pointer"] for e in refused.json()["errors"]] == ["/1"]


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), min_size=1, max_size=30))
def test_over_any_time_a_tenant_gets_its_rate_and_no_more(requests: list[tuple[float, int]]) -> None:
    """At most the rate, the second that is allowed beforehand, and the request that goes beyond."""
    admission, now, taken = Admission(10**6, 1, 10.0), 0.0, 0
    largest = max(count for _, count in requests)
    for pause, count in requests:
        now += pause
        try:
            admission.enter("acme", count, now)
        except Limited:
            continue
        taken += count
        assert taken <= 10 * (now + 1) + largest
