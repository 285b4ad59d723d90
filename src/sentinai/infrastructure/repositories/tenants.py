"""Which tenants are there, and has their configuration changed?"""

from datetime import datetime

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.pages import Listed, PageRequest, read_page
from sentinai.infrastructure.repositories.rows import columns_of
from sentinai.infrastructure.tables.tables import tenant

_PLATFORM_ON = "select set_config('app.platform', 'on', true)"
_INSERT = "insert into tenant (tenant_id, name, created_at) values ($1, $2, $3) on conflict do nothing"
_SUSPEND = "update tenant set suspended = $2 where tenant_id = $1 and suspended <> $2"
_EXISTS = "select true from tenant where tenant_id = $1"
_BUMP = "update tenant set config_version = config_version + 1 where tenant_id = $1"
_IDS = "select tenant_id from tenant where $1::text is null or tenant_id = $1 order by tenant_id"


class TenantRow(msgspec.Struct, frozen=True):
    tenant_id: str
    name: str
    suspended: bool
    created_at: datetime


async def open_platform(tx: Connection) -> None:
    """Until the transaction ends, a role under row-level security sees and changes every tenant's row and keys."""
    await tx.execute(_PLATFORM_ON)


async def insert_tenant(tx: Connection, tenant_id: str, name: str, now: datetime) -> bool:
    """Whether it is new."""
    return str(await tx.execute(_INSERT, tenant_id, name, now)) != "INSERT 0 0"


async def set_suspended(tx: Connection, tenant_id: str, suspended: bool) -> bool:
    """Whether that changed anything."""
    return str(await tx.execute(_SUSPEND, tenant_id, suspended)) != "UPDATE 0"


async def tenant_exists(tx: Connection, tenant_id: str) -> bool:
    return bool(await tx.fetchval(_EXISTS, tenant_id))


async def bump_config_version(tx: Connection, tenant_id: str) -> None:
    """Every process's cache of the tenant's configuration is old from this commit on."""
    await tx.execute(_BUMP, tenant_id)


async def tenant_ids(tx: Connection, tenant_id: str | None) -> list[str]:
    """This tenant's id, if it is there; with None those of all (the operator's own work)."""
    return [row["tenant_id"] for row in await tx.fetch(_IDS, tenant_id)]


async def list_tenants(connection: AsyncConnection, page: PageRequest) -> Listed[TenantRow]:
    """Spans tenants, since tenants are what it is about."""
    await connection.execute(text(_PLATFORM_ON))
    query = select(*columns_of(tenant, TenantRow))
    return await read_page(connection, TenantRow, query, {"text": tenant.c.tenant_id}, page)
