"""Which packs were imported, and which pairs of them are or were active?"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.rows import all_of, columns_of, one_of
from sentinai.infrastructure.tables.tables import active_config, domain_pack, policy_pack
from sentinai.models.json import Json

DOMAIN, POLICY = "DomainPack", "TenantPolicyPack"
PACKS_MAX = 1_000
"""Of each kind that are listed, newest first; active pairs likewise."""

_TABLES = {DOMAIN: domain_pack, POLICY: policy_pack}
_HASH = "select content_hash from {table} where tenant_id = $1 and domain = $2 and version = $3"
_INSERT = """insert into {table} (tenant_id, domain, version, content_hash, content, imported_at, imported_by)
  values ($1, $2, $3, $4, $5, $6, $7)"""
_CONTENT = "select content from {table} where tenant_id = $1 and domain = $2 and version = $3"
_SUPERSEDE = "update active_config set active = false where tenant_id = $1 and domain = $2 and active"
_ACTIVATE = """insert into active_config (tenant_id, config_hash, domain, domain_version, policy_version, active,
    activated_at, activated_by)
  values ($1, $2, $3, $4, $5, true, $6, $7)
  on conflict (tenant_id, config_hash) do update set active = true, activated_at = excluded.activated_at,
    activated_by = excluded.activated_by"""


class PackPlace(NamedTuple):
    """Where a pack is kept; `kind` is DOMAIN or POLICY."""

    kind: str
    tenant_id: str
    domain: str
    version: str


class NewPack(NamedTuple):
    """A pack's content as it is written, in the order of the insert's columns."""

    content_hash: str
    content: bytes
    """JSON."""
    imported_at: datetime
    imported_by: str


class Pair(NamedTuple):
    """A domain pack and a policy pack that are active together, in the order of the insert's columns."""

    config_hash: str
    domain: str
    domain_version: str
    policy_version: str


class PackRow(msgspec.Struct, frozen=True):
    kind: str
    domain: str
    version: str
    content_hash: str
    imported_at: datetime
    imported_by: str


class PackContent(msgspec.Struct, frozen=True):
    content: dict[str, Json]


class ActiveRow(msgspec.Struct, frozen=True):
    """A pair that is active, or was."""

    domain: str
    config_hash: str
    domain_version: str
    policy_version: str
    active: bool
    activated_at: datetime
    activated_by: str


async def content_hash_of(tx: Connection, place: PackPlace) -> str | None:
    """None when there is no such pack."""
    digest: str | None = await tx.fetchval(_about(place, _HASH), *place[1:])
    return digest


async def content_of(tx: Connection, place: PackPlace) -> Mapping[str, Json] | None:
    """None when there is no such pack."""
    encoded: bytes | None = await tx.fetchval(_about(place, _CONTENT), *place[1:])
    return None if encoded is None else msgspec.json.decode(encoded, type=dict[str, Json])


async def insert_pack(tx: Connection, place: PackPlace, pack: NewPack) -> None:
    await tx.execute(_about(place, _INSERT), *place[1:], *pack)


async def activate_pair(tx: Connection, tenant_id: str, pair: Pair, now: datetime, who: str) -> None:
    """The pair becomes the active one of its domain, instead of the one that was."""
    await tx.execute(_SUPERSEDE, tenant_id, pair.domain)
    await tx.execute(_ACTIVATE, tenant_id, *pair, now, who)


async def list_packs(connection: AsyncConnection, tenant_id: str) -> list[PackRow]:
    """Domain packs, then policy packs; the newest of each first."""
    found: list[PackRow] = []
    for kind, table in _TABLES.items():
        query = select(literal(kind).label("kind"), *columns_of(table, PackRow, "kind"))
        query = query.where(table.c.tenant_id == tenant_id).order_by(table.c.imported_at.desc()).limit(PACKS_MAX)
        found += await all_of(connection, PackRow, query)
    return found


async def list_active(connection: AsyncConnection, tenant_id: str) -> list[ActiveRow]:
    """The newest first."""
    c = active_config.c
    query = select(*columns_of(active_config, ActiveRow)).where(c.tenant_id == tenant_id)
    return await all_of(connection, ActiveRow, query.order_by(c.activated_at.desc()).limit(PACKS_MAX))


async def find_pack(connection: AsyncConnection, place: PackPlace) -> dict[str, Json]:
    """A pack as stored; raises Missing."""
    table = _TABLES[place.kind]
    c = table.c
    query = select(c.content).where(
        c.tenant_id == place.tenant_id, c.domain == place.domain, c.version == place.version
    )
    what = f"{table.name.replace('_', ' ')} {place.domain} {place.version}"
    return (await one_of(connection, PackContent, query, what)).content


def _about(place: PackPlace, statement: str) -> str:
    return statement.format(table=_TABLES[place.kind].name)
