"""How do tenants and their API keys come and go?"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from sentinai.errors import Conflict, Denied, Missing, Rejected
from sentinai.events.config import ApiKeyCreated, ApiKeyRevoked, TenantCreated, TenantResumed, TenantSuspended
from sentinai.security.api_keys import key_hint, new_api_key
from sentinai.security.roles import ROLES, Principal
from sentinai.security.secrets import SHARED
from sentinai.services.recording import Commands, Connection, actor, record_configuration

PLATFORM = "platform"
"""The tenant that platform administrators' keys belong to; it has no exceptions."""

_INSERT_TENANT = "insert into tenant (tenant_id, name, created_at) values ($1, $2, $3) on conflict do nothing"
_SUSPEND = "update tenant set suspended = $2 where tenant_id = $1 and suspended <> $2"
_INSERT_KEY = """insert into api_key (tenant_id, key_id, name, role, key_hash, hint, created_at, created_by, expires_at,
    subject) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"""
_REVOKE = "update api_key set revoked_at = $3 where tenant_id = $1 and key_id = $2 and revoked_at is null"
_PLATFORM_ON = "select set_config('app.platform', 'on', true)"


class NewKey(NamedTuple):
    """A key, shown once."""

    key_id: UUID
    secret: str


class KeyRequest(NamedTuple):
    tenant_id: str
    name: str
    role: str
    expires_at: datetime | None
    subject: str | None = None
    """Who holds the key; the key's name says it where nothing else does."""


async def create_tenant(commands: Commands, who: str, tenant_id: str, name: str) -> None:
    """Raises Conflict when the tenant exists, Rejected for the name that stands for all tenants."""
    if tenant_id.upper() == SHARED:
        raise Rejected(f"A tenant cannot be called {tenant_id!r}: secrets of that name are for all tenants.")
    async with commands.database.transaction(tenant_id) as tx:
        await tx.execute(_PLATFORM_ON)
        if await tx.execute(_INSERT_TENANT, tenant_id, name, commands.clock()) == "INSERT 0 0":
            raise Conflict(f"Tenant {tenant_id!r} exists already.", tenant_id=tenant_id)
        await record_configuration(commands, tx, _stream(tenant_id), who, TenantCreated(name))


async def set_suspended(commands: Commands, who: str, tenant_id: str, suspended: bool, reason: str) -> None:
    """A suspended tenant's keys are refused at once; what is under way goes on. Raises Missing or Conflict."""
    if tenant_id == PLATFORM:
        raise Denied("The platform's own tenant cannot be suspended.")
    async with commands.database.transaction(tenant_id) as tx:
        await tx.execute(_PLATFORM_ON)
        if await tx.execute(_SUSPEND, tenant_id, suspended) == "UPDATE 0":
            await _require_tenant(tx, tenant_id)
            raise Conflict(f"Tenant {tenant_id!r} is {'suspended' if suspended else 'active'} already.")
        body = TenantSuspended(reason) if suspended else TenantResumed(reason)
        await record_configuration(commands, tx, _stream(tenant_id), who, body)


async def create_key(commands: Commands, who: str, request: KeyRequest) -> NewKey:
    """Only the hash is stored. Raises Missing for an unknown tenant, Rejected for an unknown role."""
    if request.role not in ROLES:
        raise Rejected(f"There is no role {request.role!r}; use one of {', '.join(ROLES)}.")
    if (request.role == "platform_admin") != (request.tenant_id == PLATFORM):
        raise Denied(f"Keys of role platform_admin belong to the tenant {PLATFORM!r}, and only they.")
    key_id = commands.new_id()
    secret, key_hash = new_api_key()
    async with commands.database.transaction(request.tenant_id) as tx:
        await tx.execute(_PLATFORM_ON)
        await _require_tenant(tx, request.tenant_id)
        subject = request.subject or request.name
        values = (
            request.name,
            request.role,
            key_hash,
            key_hint(secret),
            commands.clock(),
            who,
            request.expires_at,
            subject,
        )
        await tx.execute(_INSERT_KEY, request.tenant_id, key_id, *values)
        body = ApiKeyCreated(key_id, request.name, request.role, request.expires_at, subject)
        await record_configuration(commands, tx, (request.tenant_id, f"tenant/key/{key_id}"), who, body)
    return NewKey(key_id, secret)


async def revoke_key(commands: Commands, principal: Principal, key_id: UUID) -> None:
    """From this commit on the key is refused everywhere. Raises Missing when there is no such valid key."""
    async with commands.database.transaction(principal.tenant_id) as tx:
        if await tx.execute(_REVOKE, principal.tenant_id, key_id, commands.clock()) == "UPDATE 0":
            raise Missing(f"There is no valid key {key_id}.", key_id=str(key_id))
        place = (principal.tenant_id, f"tenant/key/{key_id}")
        await record_configuration(commands, tx, place, actor(principal), ApiKeyRevoked(key_id))


async def _require_tenant(tx: Connection, tenant_id: str) -> None:
    row: asyncpg.Record | None = await tx.fetchrow("select from tenant where tenant_id = $1", tenant_id)
    if row is None:
        raise Missing(f"There is no tenant {tenant_id!r}.", tenant_id=tenant_id)


def _stream(tenant_id: str) -> tuple[str, str]:
    return tenant_id, f"tenant/tenant/{tenant_id}"
