"""Which tools are registered by themselves, outside any pack?"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from sentinai.errors import Denied, Missing
from sentinai.packs.compile import compile_tool
from sentinai.packs.effective import Tool

Connection = asyncpg.Connection

GLOBAL = "platform"
"""Tools of this tenant, registered by platform administrators, are everybody's."""

_FIND = """select d.tool_id, d.name, d.domain, d.definition, coalesce(e.enabled, true) as enabled
  from tool_definition d left join tool_enablement e on e.tenant_id = $1 and e.tool_id = d.tool_id
  where d.tenant_id = any($2::text[]) and d.tool_id = $3 order by d.tenant_id <> $1 limit 1"""
_UPSERT = """insert into tool_definition (tenant_id, tool_id, name, domain, definition, definition_hash, updated_at)
  values ($1, $2, $2, null, $3, $4, $5)
  on conflict (tenant_id, tool_id) do update set definition = excluded.definition,
    definition_hash = excluded.definition_hash, updated_at = excluded.updated_at"""
_ENABLE = """insert into tool_enablement (tenant_id, tool_id, enabled, reason, updated_at) values ($1, $2, $3, $4, $5)
  on conflict (tenant_id, tool_id) do update set enabled = excluded.enabled, reason = excluded.reason,
    updated_at = excluded.updated_at"""


class ToolRepository:
    """The `tool_definition` and `tool_enablement` tables: the tenant's own tools, then the global ones."""

    async def find(self, tx: Connection, tenant_id: str, tool_id: str) -> asyncpg.Record:
        """Raises Missing for a tool the tenant does not have."""
        row = await tx.fetchrow(_FIND, tenant_id, [tenant_id, GLOBAL], tool_id)
        if row is None:
            raise Missing(f"There is no tool {tool_id!r}.", tool=tool_id)
        return row

    async def registered(self, tx: Connection, tenant_id: str, tool_id: str) -> Tool:
        """The compiled tool, if it may be called now. Raises Missing or Denied."""
        row = await self.find(tx, tenant_id, tool_id)
        if not row["enabled"]:
            raise Denied(f"tool {tool_id!r} is disabled", tool=tool_id)
        definition: Mapping[str, Any] = msgspec.json.decode(row["definition"])
        return compile_tool(row["name"], definition)

    async def save(
        self, tx: Connection, tenant_id: str, tool_id: str, definition: tuple[Mapping[str, Any], str], now: datetime
    ) -> None:
        """Insert or replace; `definition` is the declaration and its content hash."""
        declared, digest = definition
        await tx.execute(_UPSERT, tenant_id, tool_id, msgspec.json.encode(declared), digest, now)

    async def set_enabled(
        self, tx: Connection, tenant_id: str, tool_id: str, switch: tuple[bool, str | None], now: datetime
    ) -> None:
        """`switch` is on or off, and why."""
        await tx.execute(_ENABLE, tenant_id, tool_id, *switch, now)
