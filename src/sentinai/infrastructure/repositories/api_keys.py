"""Which API keys are there, and who holds them? Only their hashes are stored."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.pages import Listed, PageRequest, read_page
from sentinai.infrastructure.repositories.rows import columns_of
from sentinai.infrastructure.tables.tables import api_key
from sentinai.security.roles import Principal

_INSERT = """insert into api_key (tenant_id, key_id, name, role, key_hash, hint, created_at, created_by, expires_at,
    subject) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"""
_REVOKE = "update api_key set revoked_at = $3 where tenant_id = $1 and key_id = $2 and revoked_at is null"
_HOLDERS = "select tenant_id, key_id, name, role, key_hash, expires_at, subject from held_keys($1::bytea[])"
_HELD = "select key_hash from held_keys($1::bytea[])"


class StoredKey(NamedTuple):
    """A key as it is written, in the order of the insert's columns."""

    tenant_id: str
    key_id: UUID
    name: str
    role: str
    key_hash: bytes
    hint: str
    """Its last characters, so that people can tell keys apart."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    subject: str
    """Who holds it."""


class KeyRow(msgspec.Struct, frozen=True):
    """A key as people list it."""

    key_id: UUID
    name: str
    role: str
    subject: str
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


async def insert_key(tx: Connection, key: StoredKey) -> None:
    await tx.execute(_INSERT, *key)


async def revoke_key(tx: Connection, tenant_id: str, key_id: UUID, now: datetime) -> bool:
    """Whether there was such a key that was not revoked yet."""
    return str(await tx.execute(_REVOKE, tenant_id, key_id, now)) != "UPDATE 0"


async def holder_of(tx: Connection, key_hash: bytes) -> Principal | None:
    """Who has this key; None when it is unknown, expired or revoked, or its tenant suspended.

    Spans tenants: the key says whose it is.
    """
    row = await tx.fetchrow(_HOLDERS, [key_hash])
    if row is None:
        return None
    return Principal(row["tenant_id"], row["key_id"], row["name"], row["role"], row["subject"], row["expires_at"])


async def still_held(tx: Connection, hashes: Collection[bytes]) -> set[bytes]:
    """Those of the keys that are valid now. Spans tenants, as `holder_of`."""
    return {row["key_hash"] for row in await tx.fetch(_HELD, list(hashes))}


async def list_keys(connection: AsyncConnection, tenant_id: str, page: PageRequest) -> Listed[KeyRow]:
    c = api_key.c
    query = select(*columns_of(api_key, KeyRow)).where(c.tenant_id == tenant_id)
    return await read_page(connection, KeyRow, query, {"datetime": c.created_at, "uuid": c.key_id}, page)
