"""Is the record untouched, and does every projection equal the fold of its events?"""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from sentinai.events.envelope import Event
from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories.events import EventStore, first_broken
from sentinai.infrastructure.repositories.exceptions import decode_state, is_outdated, row_of
from sentinai.infrastructure.repositories.projections import rows_without_events, stored_row
from sentinai.orchestrator.fold import fold
from sentinai.orchestrator.recording import track


class CheckedStream(NamedTuple):
    """One thing that does not hold, or None; `events` is how many were looked at for it."""

    events: int
    problem: str | None


async def verify_chains(database: Database, store: EventStore, tenant_id: str | None) -> AsyncIterator[CheckedStream]:
    """One finding per stream: does its hash chain hold? `None` verifies every tenant (the operator's task)."""
    async with database.transaction() as tx:
        async for stream in store.scan(tx, tenant_id):
            yield CheckedStream(len(stream), first_broken(stream))


async def check_projections(
    database: Database, store: EventStore, tenant_id: str | None
) -> AsyncIterator[CheckedStream]:
    """One finding per exception: does its row equal the fold of its stream?"""
    async with database.transaction() as tx:
        async for stream in store.scan(tx, tenant_id):
            if stream[0].stream.startswith("exception/"):
                row = await stored_row(tx, stream[0].tenant_id, stream[0].correlation_id)
                yield CheckedStream(len(stream), _difference(stream, row))
        for bare in await rows_without_events(tx, tenant_id):
            yield CheckedStream(0, f"tenant {bare.tenant_id}, exception {bare.exception_id}: a row without events")


def _difference(stream: list[Event], row: dict[str, object] | None) -> str | None:
    place = f"tenant {stream[0].tenant_id}, {stream[0].stream}"
    if row is None:
        return f"{place}: {len(stream)} events, but no row"
    state = fold(stream)
    stored = row.pop("state")
    pending = row.pop("pending")
    del row["log_xid"]
    assert isinstance(stored, bytes)
    if is_outdated(stored):  # made by another version: folded anew before anybody looks at it
        return None
    if msgspec.json.encode(decode_state(stored)) != msgspec.json.encode(state):
        return f"{place}: the stored state differs from the fold of its {len(stream)} events"
    expected = dict(zip(row, row_of(track(state)), strict=False))
    wrong = [name for name, value in expected.items() if row[name] != value]
    assert pending is not None
    return f"{place}: column {', '.join(wrong)} differs from the fold" if wrong else None
