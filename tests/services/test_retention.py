"""Does retention remove what a tenant's policy lets go, all of it and nothing else, and can that be proven afterwards?"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from system import System, query, started

from sentinai.bootstrap import build_commands, now, opened
from sentinai.infrastructure.database import OWNER
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.services.retention import check_tombstones, count_closed, policies, remove_closed
from sentinai.services.verification import verify_chains

KEY = b"k" * 32
DAYS = 30
TABLES = ("event", "exception", "approval", "tool_execution", "dedup")


@pytest.fixture(scope="module")
async def system(fresh_database: Any) -> AsyncIterator[System]:
    """Tenant acme keeps what is closed for 30 days; beta says nothing, so it keeps everything."""
    async with fresh_database() as url, started(url) as system:
        admin = system.client()
        text = (await admin.get("/packs/policy/payments/1.0.0")).json()
        content = text.get("content", text) | {"version": "2.0.0", "retentionPolicies": {"dataTTL": DAYS}}
        answer = await admin.post("/packs/policy", json=content)
        assert answer.status_code == 202, answer.text
        pair = {"domain": "payments", "domain_version": "1.0.0", "policy_version": "2.0.0"}
        assert (await admin.post("/packs/activate", json=pair)).status_code == 202
        yield system


async def run(system: System, days_later: float, *, dry_run: bool = False, kafka: bool = False) -> int:
    """Retention as it will be run so many days from now; how many exceptions went."""
    async with opened(system.url, OWNER) as owner:
        later = replace(build_commands(owner), clock=lambda: now() + timedelta(days=days_later))
        wanted = await policies(later, None)
        if dry_run:
            return sum([await count_closed(later, policy, kafka=kafka) for policy in wanted])
        return sum([count for policy in wanted async for count in remove_closed(later, policy, KEY, kafka=kafka)])


async def problems(system: System, key: bytes | None = KEY) -> list[str]:
    async with opened(system.url, OWNER) as owner:
        found = [f.problem async for f in check_tombstones(owner, None, key) if f.problem]
        return found + [f.problem async for f in verify_chains(owner, EventStore(copy=False), None) if f.problem]


async def left(system: System, exception_id: str) -> list[int]:
    """How many rows of each table speak of the exception."""
    counts = []
    for table in TABLES:
        column = "stream" if table in ("event", "tool_execution") else "'exception/' || exception_id"
        rows = await query(system.url, f"select count(*) from {table} where {column} = $1", f"exception/{exception_id}")
        counts.append(int(rows[0][0]))
    return counts


async def resolved_by_hand(system: System, payload: Any) -> str:
    """Its tool is not there, so a person closes it."""
    exception_id = str((await system.settled(payload))["exception_id"])
    answer = await system.client("operator").post(f"/exceptions/{exception_id}/resolve", json={"reason": "done"})
    assert answer.status_code == 202, answer.text
    return exception_id


async def approved_by_another(system: System, payload: Any) -> str:
    found = await system.settled(payload)
    answer = await system.client("approver").post(f"/approvals/{found['approval_id']}/approve", json={})
    assert answer.status_code == 202, answer.text
    return str(found["exception_id"])


async def test_what_is_closed_and_old_goes_and_everything_else_stays(system: System) -> None:
    closed = (await system.settled({"id": "old", "amount": 1, "code": "card_declined"}))["exception_id"]
    called = await resolved_by_hand(system, {"id": "called", "amount": 1, "code": "refund_stuck"})
    approved = await approved_by_another(system, {"id": "huge", "amount": 9_000_000, "code": "card_declined"})
    waiting = (await system.settled({"id": "open", "amount": 1, "code": "review"}))["exception_id"]
    others = await system.post({"id": "beta", "amount": 1, "code": "card_declined"}, tenant="beta")
    await system.settle()
    assert await run(system, DAYS - 1) == 0
    gone = (closed, called, approved)
    assert [(await system.get(f"/exceptions/{i}"))["status"] for i in gone] == ["RESOLVED"] * 3
    assert [(await left(system, i))[1:] for i in gone] == [[1, 0, 0, 1], [1, 0, 1, 1], [1, 1, 0, 1]]
    assert await run(system, DAYS + 1, dry_run=True) == 3
    assert (await left(system, closed))[0] == 14
    assert await run(system, DAYS + 1) == 3
    assert [await left(system, i) for i in gone] == [[0] * len(TABLES)] * 3
    assert (await left(system, waiting))[:2] != [0, 0]
    assert (await system.get(f"/exceptions/{others}", tenant="beta"))["status"] == "RESOLVED"
    assert (await system.client().get(f"/exceptions/{closed}")).status_code == 404
    assert await run(system, DAYS + 1) == 0
    assert await problems(system) == []
    await system.require_sound()


async def test_the_same_report_after_its_exception_is_gone_is_a_new_exception(system: System) -> None:
    payload = {"id": "again", "amount": 1, "code": "card_declined"}
    first = (await system.settled(payload))["exception_id"]
    await run(system, DAYS + 1)
    second = await system.settled(payload)
    assert second["exception_id"] != first
    assert (second["status"], second["occurrences"]) == ("RESOLVED", 1)


async def test_a_tombstone_says_where_each_chain_ended(system: System) -> None:
    exception_id = (await system.settled({"id": "end", "amount": 1, "code": "card_declined"}))["exception_id"]
    last = (
        await query(
            system.url,
            "select max(sequence), (array_agg(hash order by sequence desc))[1] from event where stream = $1",
            f"exception/{exception_id}",
        )
    )[0]
    await run(system, DAYS + 1)
    rows = await query(system.url, "select payload::text from event where type = 'ExceptionsRemoved'")
    removed = {r["exception_id"]: r for row in rows for r in msgspec.json.decode(row[0])["removed"]}
    assert removed[exception_id] == {"exception_id": exception_id, "events": last[0], "hash": last[1].hex()}


async def test_whoever_can_write_to_the_database_cannot_make_a_tombstone(system: System) -> None:
    await system.settled({"id": "forged", "amount": 1, "code": "card_declined"})
    await run(system, DAYS + 1)
    assert await problems(system) == []
    foreign = await problems(system, b"x" * 32)
    assert foreign
    assert all("not with this installation's" in problem for problem in foreign)
    sql = "update event set payload = replace(payload::text, $1, $2)::json where type = 'ExceptionsRemoved'"
    await query(system.url, sql, '"domain":"payments"', '"domain":"paymentz"')
    found = await problems(system)
    await query(system.url, sql, '"domain":"paymentz"', '"domain":"payments"')
    assert any("its signature does not fit" in p for p in found)
    assert any("hash does not match" in p for p in found)


async def test_what_kafka_has_not_had_stays(system: System) -> None:
    exception_id = (await system.settled({"id": "behind", "amount": 1, "code": "card_declined"}))["exception_id"]
    sql = """insert into consumer_cursor (consumer, topic, partition)
      select 'relay', topic, partition from event where stream = $1 on conflict do nothing"""
    await query(system.url, sql, f"exception/{exception_id}")
    assert await run(system, DAYS + 1, kafka=True) == 0
    assert await run(system, DAYS + 1, kafka=True, dry_run=True) == 0
    assert await run(system, DAYS + 1) == 1, "an installation that went back to PostgreSQL waits for no relay"
