"""How do tenants and their API keys come and go?"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sentinai.errors import Conflict, Denied, Missing, Rejected
from sentinai.events.config import ApiKeyCreated, ApiKeyRevoked, TenantCreated, TenantResumed, TenantSuspended
from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories import api_keys, tenants
from sentinai.infrastructure.repositories.api_keys import StoredKey
from sentinai.models.actor import canonical
from sentinai.orchestrator.recording import StreamKey
from sentinai.security.api_keys import key_hint, new_api_key
from sentinai.security.roles import ROLES, Principal
from sentinai.security.secrets import SHARED
from sentinai.services.recording import Commands, actor, record_configuration

PLATFORM = "platform"
"""The tenant that platform administrators' keys belong to; it has no exceptions."""


class NewKey(NamedTuple):
    """A key, shown once."""

    key_id: UUID
    secret: str


class KeySpecification(NamedTuple):
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
        await tenants.open_platform(tx)
        if not await tenants.insert_tenant(tx, tenant_id, name, commands.clock()):
            raise Conflict(f"Tenant {tenant_id!r} exists already.", tenant_id=tenant_id)
        await record_configuration(commands, tx, _stream(tenant_id), who, TenantCreated(name))


async def set_suspended(commands: Commands, who: str, tenant_id: str, suspended: bool, reason: str) -> None:
    """A suspended tenant's keys are refused at once; what is under way goes on. Raises Missing or Conflict."""
    if tenant_id == PLATFORM:
        raise Denied("The platform's own tenant cannot be suspended.")
    async with commands.database.transaction(tenant_id) as tx:
        await tenants.open_platform(tx)
        if not await tenants.set_suspended(tx, tenant_id, suspended):
            await _require_tenant(tx, tenant_id)
            raise Conflict(f"Tenant {tenant_id!r} is {'suspended' if suspended else 'active'} already.")
        body = TenantSuspended(reason) if suspended else TenantResumed(reason)
        await record_configuration(commands, tx, _stream(tenant_id), who, body)


async def create_key(commands: Commands, who: str, request: KeySpecification) -> NewKey:
    """Only the hash is stored. Raises Missing for an unknown tenant, Rejected for an unknown role."""
    if request.role not in ROLES:
        raise Rejected(f"There is no role {request.role!r}; use one of {', '.join(ROLES)}.")
    if (request.role == "platform_admin") != (request.tenant_id == PLATFORM):
        raise Denied(f"Keys of role platform_admin belong to the tenant {PLATFORM!r}, and only they.")
    key_id = commands.new_id()
    secret, key_hash = new_api_key()
    async with commands.database.transaction(request.tenant_id) as tx:
        await tenants.open_platform(tx)
        await _require_tenant(tx, request.tenant_id)
        place = (request.tenant_id, key_id, request.name, request.role)
        subject = canonical(request.subject or request.name)
        if subject is None:
            raise Rejected("The subject has to be a name: printable characters, and not only blanks.")
        key = StoredKey(*place, key_hash, key_hint(secret), commands.clock(), who, request.expires_at, subject)
        await api_keys.insert_key(tx, key)
        body = ApiKeyCreated(key_id, request.name, request.role, request.expires_at, subject)
        await record_configuration(commands, tx, StreamKey(request.tenant_id, f"tenant/key/{key_id}"), who, body)
    return NewKey(key_id, secret)


async def revoke_key(commands: Commands, principal: Principal, key_id: UUID) -> None:
    """From this commit on the key is refused everywhere. Raises Missing when there is no such valid key."""
    async with commands.database.transaction(principal.tenant_id) as tx:
        if not await api_keys.revoke_key(tx, principal.tenant_id, key_id, commands.clock()):
            raise Missing(f"There is no valid key {key_id}.", key_id=str(key_id))
        stream = StreamKey(principal.tenant_id, f"tenant/key/{key_id}")
        await record_configuration(commands, tx, stream, actor(principal), ApiKeyRevoked(key_id))


async def _require_tenant(tx: Connection, tenant_id: str) -> None:
    if not await tenants.tenant_exists(tx, tenant_id):
        raise Missing(f"There is no tenant {tenant_id!r}.", tenant_id=tenant_id)


def _stream(tenant_id: str) -> StreamKey:
    return StreamKey(tenant_id, f"tenant/tenant/{tenant_id}")
