"""Which events are in a tenant's log, for people who look through it?"""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.infrastructure.repositories.pages import Listed, PageRequest, read_page
from sentinai.infrastructure.repositories.rows import columns_of
from sentinai.infrastructure.tables.tables import event
from sentinai.models.json import Json


class AuditFilter(msgspec.Struct, frozen=True):
    """Which events; None does not restrict."""

    type: str | None = None
    actor: str | None = None
    occurred_from: datetime | None = None
    occurred_until: datetime | None = None
    """Not included."""


class AuditRow(msgspec.Struct, frozen=True):
    event_id: UUID
    stream: str
    sequence: int
    type: str
    schema_version: int
    topic: str
    occurred_at: datetime
    actor: str
    correlation_id: UUID | None
    causation_id: UUID | None
    config_hash: str | None
    payload: Json
    """JSON, decoded."""
    hash: str
    """In hexadecimal."""
    position: int
    """In the log."""


async def list_events(
    connection: AsyncConnection, tenant_id: str, wanted: AuditFilter, page: PageRequest
) -> Listed[AuditRow]:
    """The newest first."""
    c = event.c
    hashed = func.encode(text("event.hash"), "hex").label("hash")
    query = select(*columns_of(event, AuditRow, "hash"), hashed).where(c.tenant_id == tenant_id)
    if wanted.type is not None:
        query = query.where(c.type == wanted.type)
    if wanted.actor is not None:
        query = query.where(c.actor == wanted.actor)
    if wanted.occurred_from is not None:
        query = query.where(c.occurred_at >= wanted.occurred_from)
    if wanted.occurred_until is not None:
        query = query.where(c.occurred_at < wanted.occurred_until)
    return await read_page(connection, AuditRow, query, {"int": c.position}, page)
