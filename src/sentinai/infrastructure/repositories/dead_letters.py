"""Which dead letters do people see? What can be done about one is in `messaging/dead_letters.py`."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.infrastructure.repositories.pages import Listed, PageRequest, read_page
from sentinai.infrastructure.repositories.rows import columns_of, one_of
from sentinai.infrastructure.tables.tables import parked


class DeadLetterFilter(msgspec.Struct, frozen=True):
    """Which dead letters; None does not restrict."""

    consumer: str | None = None
    error: str | None = None


class DeadLetterRow(msgspec.Struct, frozen=True):
    dead_letter_id: UUID
    consumer: str
    stream: str
    sequence: int
    type: str
    attempts: int
    error: str | None
    message: str | None
    parked_at: datetime

    @property
    def exception_id(self) -> UUID:
        return UUID(self.stream.removeprefix("exception/"))


async def list_dead_letters(
    connection: AsyncConnection, tenant_id: str, wanted: DeadLetterFilter, page: PageRequest
) -> Listed[DeadLetterRow]:
    """The newest first."""
    c = parked.c
    query = select(*columns_of(parked, DeadLetterRow)).where(c.tenant_id == tenant_id, c.state == "dead")
    if wanted.consumer is not None:
        query = query.where(c.consumer == wanted.consumer)
    if wanted.error is not None:
        query = query.where(c.error == wanted.error)
    keys = {"datetime": c.parked_at, "uuid": c.dead_letter_id}
    return await read_page(connection, DeadLetterRow, query, keys, page)


async def find_dead_letter(connection: AsyncConnection, tenant_id: str, dead_letter_id: UUID) -> DeadLetterRow:
    """Raises Missing."""
    c = parked.c
    query = select(*columns_of(parked, DeadLetterRow))
    query = query.where(c.tenant_id == tenant_id, c.dead_letter_id == dead_letter_id, c.state == "dead")
    return await one_of(connection, DeadLetterRow, query, f"dead letter {dead_letter_id}")
