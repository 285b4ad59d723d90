"""Which decisions of agents does an exception's stream hold?"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.events.catalog import BY_NAME
from sentinai.infrastructure.repositories.rows import all_of, columns_of
from sentinai.infrastructure.tables.tables import event
from sentinai.models.exception_record import stream_of
from sentinai.models.json import Json

DECISIONS_MAX = 1_000
"""Of one exception that are read."""
DECIDING = tuple(e.name for e in BY_NAME.values() if "decision" in e.type.__struct_fields__)
"""Types of events that may carry a decision."""


class DecidingRow(msgspec.Struct, frozen=True):
    """An event that may carry a decision, with its payload as decoded JSON."""

    event_id: UUID
    type: str
    occurred_at: datetime
    config_hash: str | None
    payload: Mapping[str, Json]


async def list_deciding(connection: AsyncConnection, tenant_id: str, exception_id: UUID) -> list[DecidingRow]:
    """In the order of the stream; empty for another tenant's."""
    c = event.c
    query = select(*columns_of(event, DecidingRow)).where(
        c.tenant_id == tenant_id, c.stream == stream_of(exception_id), c.type.in_(DECIDING)
    )
    return await all_of(connection, DecidingRow, query.order_by(c.sequence).limit(DECISIONS_MAX))
