"""How do packs come in and become active for a tenant?"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from sentinai.errors import Conflict, Missing, Rejected
from sentinai.events.config import PackActivated, PackImported
from sentinai.packs.check import check_pair
from sentinai.packs.compile import compile_pair
from sentinai.packs.document import PackDocument
from sentinai.packs.effective import EffectiveConfig
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, Connection, actor, record_configuration
from sentinai.services.vocabulary import VOCABULARY

DOMAIN, POLICY = "DomainPack", "TenantPolicyPack"
_TABLES = {DOMAIN: "domain_pack", POLICY: "policy_pack"}

_FIND = "select content_hash from {table} where tenant_id = $1 and domain = $2 and version = $3"
_INSERT = """insert into {table} (tenant_id, domain, version, content_hash, content, imported_at, imported_by)
  values ($1, $2, $3, $4, $5, $6, $7)"""
_CONTENT = "select content from {table} where tenant_id = $1 and domain = $2 and version = $3"
_SUPERSEDE = "update active_config set active = false where tenant_id = $1 and domain = $2 and active"
_ACTIVATE = """insert into active_config (tenant_id, config_hash, domain, domain_version, policy_version, active,
    activated_at, activated_by)
  values ($1, $2, $3, $4, $5, true, $6, $7)
  on conflict (tenant_id, config_hash) do update set active = true, activated_at = excluded.activated_at,
    activated_by = excluded.activated_by"""
_BUMP = "update tenant set config_version = config_version + 1 where tenant_id = $1"
_FORGET_TOOLS = "delete from tool_definition where tenant_id = $1 and domain = $2"
_ADD_TOOL = """insert into tool_definition (tenant_id, tool_id, name, domain, definition, definition_hash, updated_at)
  values ($1, $2, $3, $4, $5, $6, $7)"""


async def import_pack(commands: Commands, principal: Principal, document: PackDocument) -> UUID:
    """Store a checked pack for the caller's tenant. The same version with the same content is accepted again.

    Raises Conflict when that version exists with other content, Rejected when a policy names another tenant.
    """
    content = document.content
    if document.kind == POLICY and content["tenantId"] != principal.tenant_id:
        raise Rejected(
            f"The policy pack is tenant {content['tenantId']!r}'s; import it with one of that tenant's keys."
        )
    table = _TABLES[document.kind]
    place = (principal.tenant_id, document.name, document.version)
    async with commands.database.transaction(principal.tenant_id) as tx:
        known = await tx.fetchval(_FIND.format(table=table), *place)
        if known is not None and known != document.content_hash:
            raise Conflict(
                f"{document.kind} {document.name} {document.version} exists with other content: packs are never edited; "
                "raise its version."
            )
        if known is None:
            who, encoded = actor(principal), msgspec.json.encode(content)
            values = (document.content_hash, encoded, commands.clock(), who)
            await tx.execute(_INSERT.format(table=table), *place, *values)
        body = PackImported(document.kind, document.name, document.version, document.content_hash)
        stream = f"tenant/pack/{document.kind}/{document.name}"
        return await record_configuration(commands, tx, (principal.tenant_id, stream), actor(principal), body)


async def activate(
    commands: Commands, principal: Principal, domain: str, domain_version: str, policy_version: str
) -> EffectiveConfig:
    """Make a pair the active one of its domain. Raises Missing for an unknown version, Rejected if they do not fit."""
    async with commands.database.transaction(principal.tenant_id) as tx:
        pack = await _content(tx, DOMAIN, (principal.tenant_id, domain, domain_version))
        policy = await _content(tx, POLICY, (principal.tenant_id, domain, policy_version))
        problems = check_pair(pack, policy, VOCABULARY)
        if problems:
            raise Rejected("The policy pack does not fit the domain pack.", problems=problems)
        config = compile_pair(pack, policy)
        who, now = actor(principal), commands.clock()
        await tx.execute(_SUPERSEDE, principal.tenant_id, domain)
        pair = (config.hash, domain, domain_version, policy_version)
        await tx.execute(_ACTIVATE, principal.tenant_id, *pair, now, who)
        await _replace_tools(tx, principal.tenant_id, config, now)
        await tx.execute(_BUMP, principal.tenant_id)
        body = PackActivated(domain, domain_version, policy_version, config.hash)
        await record_configuration(commands, tx, (principal.tenant_id, f"tenant/config/{domain}"), who, body)
    return config


async def _content(tx: Connection, kind: str, place: Sequence[str]) -> dict[str, Any]:
    row: asyncpg.Record | None = await tx.fetchrow(_CONTENT.format(table=_TABLES[kind]), *place)
    if row is None:
        _, domain, version = place
        raise Missing(f"There is no {kind} {domain} {version}; import it first.")
    content: dict[str, Any] = msgspec.json.decode(row["content"])
    return content


async def _replace_tools(tx: Connection, tenant_id: str, config: EffectiveConfig, now: Any) -> None:
    """The registry shows the active packs' tools; a switch that a person set stays with the tool's id."""
    await tx.execute(_FORGET_TOOLS, tenant_id, config.domain)
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
    await tx.executemany(_ADD_TOOL, rows)
