"""Which tools are registered, by active packs or by themselves, and which of them are switched off?"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import msgspec
from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.errors import Denied, Missing
from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.pages import Listed, PageRequest, read_page
from sentinai.infrastructure.repositories.rows import one_of
from sentinai.infrastructure.tables.tables import tool_definition, tool_enablement
from sentinai.models.json import Json
from sentinai.packs.compile import compile_tool
from sentinai.packs.effective import EffectiveConfig, Tool

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
_FORGET_PACK = "delete from tool_definition where tenant_id = $1 and domain = $2"
_ADD_OF_PACK = """insert into tool_definition (tenant_id, tool_id, name, domain, definition, definition_hash, updated_at)
  values ($1, $2, $3, $4, $5, $6, $7)"""


class DeclaredTool(NamedTuple):
    """A tool as declared, and the hash of that."""

    definition: Mapping[str, Json]
    content_hash: str


class Switch(NamedTuple):
    """On or off, and why."""

    enabled: bool
    reason: str | None


class ToolRow(msgspec.Struct, frozen=True):
    """A tool as people see it."""

    tool_id: str
    name: str
    domain: str | None
    enabled: bool
    disabled_reason: str | None
    definition: Json
    """JSON, decoded."""
    updated_at: datetime


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
        definition: Mapping[str, Json] = msgspec.json.decode(row["definition"])
        return compile_tool(row["name"], definition)

    async def save(self, tx: Connection, tenant_id: str, tool_id: str, declared: DeclaredTool, now: datetime) -> None:
        """Insert or replace."""
        encoded = msgspec.json.encode(declared.definition)
        await tx.execute(_UPSERT, tenant_id, tool_id, encoded, declared.content_hash, now)

    async def set_enabled(self, tx: Connection, tenant_id: str, tool_id: str, switch: Switch, now: datetime) -> None:
        await tx.execute(_ENABLE, tenant_id, tool_id, *switch, now)


async def replace_pack_tools(tx: Connection, tenant_id: str, config: EffectiveConfig, now: datetime) -> None:
    """The registry shows the active packs' tools; a switch that a person set stays with the tool's id."""
    await tx.execute(_FORGET_PACK, tenant_id, config.domain)
    rows = [
        (
            tenant_id,
            f"{config.domain}.{t.name}",
            t.name,
            config.domain,
            msgspec.json.encode(t.definition),
            config.hash,
            now,
        )
        for t in config.tools.values()
    ]
    await tx.executemany(_ADD_OF_PACK, rows)


async def list_tools(connection: AsyncConnection, tenant_id: str, page: PageRequest) -> Listed[ToolRow]:
    return await read_page(connection, ToolRow, _tools_of(tenant_id), {"text": tool_definition.c.tool_id}, page)


async def find_tool(connection: AsyncConnection, tenant_id: str, tool_id: str) -> ToolRow:
    """Raises Missing."""
    query = _tools_of(tenant_id).where(tool_definition.c.tool_id == tool_id)
    return await one_of(connection, ToolRow, query, f"tool {tool_id!r}")


def _tools_of(tenant_id: str) -> Select[Any]:
    d, e = tool_definition.c, tool_enablement.c
    switched = tool_definition.outerjoin(tool_enablement, and_(e.tenant_id == d.tenant_id, e.tool_id == d.tool_id))
    enabled = func.coalesce(e.enabled, True).label("enabled")
    query = select(d.tool_id, d.name, d.domain, enabled, e.reason.label("disabled_reason"), d.definition, d.updated_at)
    return query.select_from(switched).where(d.tenant_id == tenant_id)
