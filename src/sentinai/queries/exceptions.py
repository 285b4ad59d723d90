"""Which exceptions are there, what is known about one, and how did it come to that?"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from sentinai.errors import Missing
from sentinai.events.envelope import Event
from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import decisions, exceptions
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.infrastructure.repositories.exceptions import ExceptionFilter, ExceptionRow
from sentinai.infrastructure.repositories.pages import Listed, PageRequest
from sentinai.models.exception_record import ExceptionState, stream_of
from sentinai.models.json import Json

__all__ = ["ExceptionFilter", "KnownException", "RecordedDecision", "decisions_on", "get", "search", "timeline"]


class KnownException(NamedTuple):
    """An exception with all that is known about it."""

    row: ExceptionRow
    state: ExceptionState


class RecordedDecision(msgspec.Struct, frozen=True):
    """An agent's decision, and the event that carries it."""

    event_id: UUID
    event_type: str
    decided_at: datetime
    config_hash: str | None
    decision: Mapping[str, Json]
    """As recorded: a `Decision` as JSON."""


async def search(
    database: Database, tenant_id: str, wanted: ExceptionFilter, page: PageRequest
) -> Listed[ExceptionRow]:
    """The newest first."""
    async with database.reading(tenant_id) as connection:
        return await exceptions.list_exceptions(connection, tenant_id, wanted, page)


async def get(database: Database, tenant_id: str, exception_id: UUID) -> KnownException:
    """Raises Missing."""
    async with database.reading(tenant_id) as connection:
        row, stored = await exceptions.find_exception(connection, tenant_id, exception_id)
    if not exceptions.is_outdated(stored):
        return KnownException(row, exceptions.decode_state(stored))
    async with database.transaction(tenant_id) as tx:
        return KnownException(row, (await exceptions.current_state(tx, (tenant_id, exception_id), stored))[0])


async def timeline(database: Database, store: EventStore, tenant_id: str, exception_id: UUID) -> list[Event]:
    """Every event, in order; raises Missing."""
    async with database.transaction(tenant_id) as tx:
        events = await store.read_stream(tx, tenant_id, stream_of(exception_id))
    if not events:
        raise Missing(f"There is no exception {exception_id}.")
    return events


async def decisions_on(database: Database, tenant_id: str, exception_id: UUID) -> list[RecordedDecision]:
    """In the order in which they were taken; raises Missing."""
    async with database.reading(tenant_id) as connection:
        rows = await decisions.list_deciding(connection, tenant_id, exception_id)
    if not rows:
        await get(database, tenant_id, exception_id)
    return [
        RecordedDecision(row.event_id, row.type, row.occurred_at, row.config_hash, decision)
        for row in rows
        if (decision := row.payload.get("decision"))
    ]
