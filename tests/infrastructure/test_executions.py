"""What does the work list remember of calls whose processes died, waited or were called off?"""

from datetime import timedelta
from typing import Any

from system import System, query

from sentinai.bootstrap import now
from sentinai.infrastructure.repositories.executions import ExecutionRepository, Leased, Waiting

REFUND = {"id": "lease", "amount": 1, "code": "refund_stuck"}


async def lease(system: System) -> list[Leased]:
    async with system.runner.platform.database.transaction() as tx:
        return await ExecutionRepository().lease(tx, now(), now() + timedelta(seconds=60), 10)


async def lease_ends(system: System) -> None:
    await query(
        system.url,
        "update tool_execution set due_at = now(), lease_until = now() - interval '1 ms' where status = 'RUNNING' and idle_lease is null",
    )
    await query(
        system.url,
        "update tool_execution set due_at = now(), lease_until = now(), idle_lease = now() where status = 'RUNNING' and idle_lease is not null",
    )


async def requested(system: System, monkeypatch: Any, number: str) -> str:
    """An exception whose call is on the list, and nobody has taken."""
    executor, system.runner.executor = system.runner.executor, None
    exception_id = await system.post(REFUND | {"id": number})
    await system.settle()
    system.runner.executor = executor
    return exception_id


async def test_that_an_attempt_began_is_remembered_over_every_further_crash(system: System, monkeypatch: Any) -> None:
    await requested(system, monkeypatch, "crashes")
    (first,) = await lease(system)
    assert not first.crashed
    await lease_ends(system)
    (unbegun,) = await lease(system)
    assert not unbegun.crashed, "the first process died before it began anything"
    await query(system.url, "update tool_execution set idle_lease = null where execution_id = $1", first.execution_id)
    for _ in range(3):
        await lease_ends(system)
        (again,) = await lease(system)
        assert again.crashed
    await lease_ends(system)
    await system.settle()
    (call,) = (await system.get(f"/tools/executions?exception_id={first.exception_id}"))["items"]
    assert call["status"] == "UNKNOWN"


async def test_a_call_that_waits_says_why_and_until_when(system: System, monkeypatch: Any) -> None:
    exception_id = await requested(system, monkeypatch, "waits")
    (leased,) = await lease(system)
    until = now() + timedelta(minutes=5)
    async with system.runner.platform.database.transaction() as tx:
        await ExecutionRepository().wait(
            tx, leased, Waiting(until, "CIRCUIT_OPEN", "it is given a rest", counted=False)
        )
    (call,) = (await system.get(f"/tools/executions?exception_id={exception_id}"))["items"]
    assert (call["status"], call["waits_for"], call["error"]) == ("REQUESTED", "CIRCUIT_OPEN", "it is given a rest")
    assert call["due_at"].startswith(until.isoformat()[:19])
    assert call["attempts"] == 0
    assert [e["type"] for e in await system.events(exception_id)].count("ToolExecutionStarted") == 0
