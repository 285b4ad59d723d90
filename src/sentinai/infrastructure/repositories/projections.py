"""Which stored rows are there to compare with the fold of their streams?"""

from typing import NamedTuple
from uuid import UUID

from sentinai.infrastructure.database import Connection

BARE_MAX = 100
"""Rows without events that are named."""

_ROW = "select * from exception where tenant_id = $1 and exception_id = $2"
_BARE = """select tenant_id, exception_id from exception x where ($1::text is null or tenant_id = $1)
  and not exists (select from event e where e.tenant_id = x.tenant_id and e.stream = 'exception/' || x.exception_id)
  limit $2"""


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
