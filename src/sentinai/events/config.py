"""What changed in a tenant's configuration and access?"""

from datetime import datetime
from uuid import UUID

import msgspec

from sentinai.models.json import Json


class TenantCreated(msgspec.Struct, frozen=True):
    name: str


class TenantSuspended(msgspec.Struct, frozen=True):
    reason: str


class TenantResumed(msgspec.Struct, frozen=True):
    reason: str


class PackImported(msgspec.Struct, frozen=True):
    kind: str
    name: str
    version: str
    content_hash: str


class PackActivated(msgspec.Struct, frozen=True):
    domain: str
    domain_version: str
    policy_version: str
    config_hash: str


class ToolRegistered(msgspec.Struct, frozen=True):
    tool: str
    definition: Json


class ToolUpdated(msgspec.Struct, frozen=True):
    tool: str
    definition: Json


class ToolEnabled(msgspec.Struct, frozen=True):
    tool: str


class ToolDisabled(msgspec.Struct, frozen=True):
    tool: str
    reason: str


class ApiKeyCreated(msgspec.Struct, frozen=True, omit_defaults=True):
    key_id: UUID
    name: str
    role: str
    expires_at: datetime | None = None
    subject: str | None = None
    """Who holds it; None in events of older versions."""


class ApiKeyRevoked(msgspec.Struct, frozen=True):
    key_id: UUID
