"""Does one report that cannot be stored cost the others of its commit anything?"""

import asyncio
from typing import Any

import pytest
from system import System

from sentinai.infrastructure.unit_of_work import UnitOfWork


async def test_whatever_one_report_does_to_a_commit_every_request_of_it_is_answered(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = UnitOfWork.write

    async def write(self: UnitOfWork, tx: Any, events: Any, touched: Any) -> None:
        if any(getattr(e.body, "external_id", None) == "guilty" for e in events):
            raise OverflowError("date value out of range")
        await plain(self, tx, events, touched)

    monkeypatch.setattr(UnitOfWork, "write", write)
    client = system.client("operator")
    bodies = [
        {"source_system": "psp", "payload": {}, "external_id": name} for name in ("one", "guilty", "two", "three")
    ]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(client.post("/exceptions", json=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [202, 503, 202, 202]
    found = await system.get("/exceptions")
    assert len(found["items"]) == 3
