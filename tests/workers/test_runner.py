"""Does a worker process say how it is, also when its rounds fail, and finish what it has in hand when it stops?"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from system import System, query, started

from sentinai.bootstrap import built_runner
from sentinai.errors import Unavailable
from sentinai.observability.metrics import CONSUMER_LAG
from sentinai.workers.catalog import STAGES
from sentinai.workers.runner import Runner


@pytest.fixture(scope="module")
async def system(fresh_database: Any) -> AsyncIterator[System]:
    async with fresh_database() as url, started(url) as system:
        yield system


async def until(condition: Any, deadline_s: float = 20) -> None:
    end = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.02)


async def test_a_process_whose_rounds_fail_still_says_that_it_lives_and_how_far_behind_it_is(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_round(_runner: Runner) -> int:
        raise Unavailable("Kafka is away.")

    await query(system.url, "delete from worker_heartbeat")
    assert await system.post({"id": "waits", "amount": 1, "code": "card_declined"})
    CONSUMER_LAG.labels(consumer="intake").set(0)
    monkeypatch.setattr(Runner, "round", no_round)
    async with built_runner(system.settings, system.url, list(STAGES)) as runner:
        running = asyncio.create_task(runner.run())

        async def told() -> bool:
            return CONSUMER_LAG.labels(consumer="intake")._value.get() == 1

        await until(told)
        assert await query(system.url, "select 1 from worker_heartbeat")
        assert not runner.ready
        runner.stop()
        await running


async def test_a_call_in_hand_may_finish_within_the_grace_of_the_settings(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = system.settings.model_copy(update={"shutdown_grace_s": 7.5})
    async with built_runner(settings, system.url, ["tool"]) as runner:
        assert runner.executor is not None
        given = []

        async def drain(timeout_s: float) -> None:
            given.append(timeout_s)

        monkeypatch.setattr(runner.executor, "drain", drain)
        runner.stop()
        await runner.run()
    assert given == [7.5]
