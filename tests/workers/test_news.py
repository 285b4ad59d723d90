"""When does a process ask the database whether there is work? Only where it heard of some, or left some behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from system import System

from sentinai.bootstrap import build_platform, opened
from sentinai.infrastructure.database import WORKER
from sentinai.messaging.postgres import PostgresBroker


class Asked:
    """Answers with one snapshot after the other; `meanwhile` is heard while it is asked."""

    def __init__(self, *snapshots: tuple[int, int]) -> None:
        self.snapshots = list(snapshots)
        self.meanwhile: set[str] = set()
        self.broker = PostgresBroker(lambda row: row)  # type: ignore[arg-type, return-value]

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        yield self

    async def fetchrow(self, _statement: str) -> dict[str, int]:
        self.broker.heard(self.meanwhile)
        oldest, following = self.snapshots.pop(0)
        return {"oldest": oldest, "next": following}

    async def news(self) -> set[str]:
        return set(await self.broker.news(self.begin))


async def test_nobody_is_asked_when_nothing_was_heard() -> None:
    asked = Asked((10, 10))
    assert await asked.news() == set()
    asked.broker.heard(["a"])
    assert await asked.news() == {"a"}
    assert await asked.news() == set(), "all of it was visible"
    assert asked.snapshots == []


async def test_what_an_older_transaction_holds_back_is_told_again_when_it_has_ended() -> None:
    asked = Asked((5, 10), (5, 12), (5, 13), (9, 14), (14, 14))
    asked.broker.heard(["a"])
    assert await asked.news() == {"a"}
    assert await asked.news() == set(), "nothing more can be visible"
    asked.broker.heard(["a", "b"])
    assert await asked.news() == {"b"}
    assert await asked.news() == {"a", "b"}
    assert await asked.news() == {"a", "b"}, "up to here something could still appear"
    assert await asked.news() == set()


async def test_what_is_heard_while_we_ask_is_asked_for_again() -> None:
    asked = Asked((10, 10), (10, 12), (12, 12))
    asked.broker.heard(["a"])
    asked.meanwhile = {"a"}
    assert await asked.news() == {"a"}
    asked.meanwhile = set()
    assert await asked.news() == {"a"}, "its transaction may be newer than the first answer"
    assert await asked.news() == {"a"}


@pytest.mark.parametrize(("events_max", "more"), [(1_000, False), (6, True)])
async def test_a_claim_knows_whether_it_may_have_left_something(system: System, events_max: int, more: bool) -> None:
    await system.settle()
    for number in range(6):
        await system.post({"id": f"left-{events_max}-{number}", "amount": 1, "code": "card_declined"})
    async with opened(system.url, WORKER) as database:
        broker = build_platform(system.settings, database).broker
        async with database.transaction() as tx:
            claim = await broker.claim(tx, "intake", events_max)
            assert claim is not None
            assert claim.more is more
            assert (len(claim.deliveries) == 6) or more
    await system.settle()
