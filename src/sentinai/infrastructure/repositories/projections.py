"""Which stored rows are there to compare with the fold of their streams, and which did another version of it make?"""

from typing import NamedTuple
from uuid import UUID

from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.exceptions import TODAY, ExceptionKey

BARE_MAX = 100
"""Rows without events that are named."""

_ROW = "select * from exception where tenant_id = $1 and exception_id = $2"
_BARE = """select tenant_id, exception_id from exception x where ($1::text is null or tenant_id = $1)
  and not exists (select from event e where e.tenant_id = x.tenant_id and e.stream = 'exception/' || x.exception_id)
  limit $2"""
_OUTDATED = """select tenant_id, exception_id from exception
  where ($1::text is null or tenant_id = $1) and (tenant_id, exception_id) > ($2, $3) and not starts_with(state::text, $4)
  order by tenant_id, exception_id limit $5"""
_COUNT_OUTDATED = """select count(*) from exception
  where ($1::text is null or tenant_id = $1) and not starts_with(state::text, $2)"""

FIRST: ExceptionKey = ("", UUID(int=0))
"""Before every row."""


class BareRow(NamedTuple):
    """An exception's row whose stream has no events."""

    tenant_id: str
    exception_id: UUID


async def stored_row(tx: Connection, tenant_id: str, exception_id: UUID | None) -> dict[str, object] | None:
    """All columns of an exception's row, in the order of the table; `state` as the bytes that are stored."""
    row = await tx.fetchrow(_ROW, tenant_id, exception_id)
    return dict(row) if row else None


async def rows_without_events(tx: Connection, tenant_id: str | None) -> list[BareRow]:
    """At most BARE_MAX; None spans all tenants (for verification by the operator)."""
    return [BareRow(row["tenant_id"], row["exception_id"]) for row in await tx.fetch(_BARE, tenant_id, BARE_MAX)]


async def count_outdated(tx: Connection, tenant_id: str | None) -> int:
    """Rows whose state another version of the fold made; None spans all tenants."""
    return int(await tx.fetchval(_COUNT_OUTDATED, tenant_id, TODAY))


async def outdated_after(tx: Connection, tenant_id: str | None, after: ExceptionKey, limit: int) -> list[ExceptionKey]:
    """The next of them behind a row, in the order of their keys."""
    rows = await tx.fetch(_OUTDATED, tenant_id, *after, TODAY, limit)
    return [(row["tenant_id"], UUID(bytes=row["exception_id"].bytes)) for row in rows]
