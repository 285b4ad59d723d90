"""How do packs come in and become active for a tenant?"""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from sentinai.errors import Conflict, Missing, Rejected
from sentinai.events.config import PackActivated, PackImported
from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories import packs
from sentinai.infrastructure.repositories.packs import NewPack, PackPlace, Pair
from sentinai.infrastructure.repositories.tenants import bump_config_version
from sentinai.infrastructure.repositories.tools import replace_pack_tools
from sentinai.models.json import Json
from sentinai.orchestrator.recording import StreamKey
from sentinai.packs.check import check_pair
from sentinai.packs.compile import compile_pair
from sentinai.packs.document import PackDocument
from sentinai.packs.effective import EffectiveConfig
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, actor, record_configuration
from sentinai.services.vocabulary import VOCABULARY

DOMAIN, POLICY = packs.DOMAIN, packs.POLICY


async def import_pack(commands: Commands, principal: Principal, document: PackDocument) -> UUID:
    """Store a checked pack for the caller's tenant. The same version with the same content is accepted again.

    Raises Conflict when that version exists with other content, Rejected when a policy names another tenant.
    """
    content = document.content
    if document.kind == POLICY and content["tenantId"] != principal.tenant_id:
        raise Rejected(
            f"The policy pack is tenant {content['tenantId']!r}'s; import it with one of that tenant's keys."
        )
    place = PackPlace(document.kind, principal.tenant_id, document.name, document.version)
    async with commands.database.transaction(principal.tenant_id) as tx:
        known = await packs.content_hash_of(tx, place)
        if known is not None and known != document.content_hash:
            raise Conflict(
                f"{document.kind} {document.name} {document.version} exists with other content: packs are never edited; "
                "raise its version."
            )
        if known is None:
            who, encoded = actor(principal), msgspec.json.encode(content)
            await packs.insert_pack(tx, place, NewPack(document.content_hash, encoded, commands.clock(), who))
        body = PackImported(document.kind, document.name, document.version, document.content_hash)
        stream = f"tenant/pack/{document.kind}/{document.name}"
        return await record_configuration(commands, tx, StreamKey(principal.tenant_id, stream), actor(principal), body)


async def activate(
    commands: Commands, principal: Principal, domain: str, domain_version: str, policy_version: str
) -> EffectiveConfig:
    """Make a pair the active one of its domain. Raises Missing for an unknown version, Rejected if they do not fit."""
    async with commands.database.transaction(principal.tenant_id) as tx:
        pack = await _content(tx, PackPlace(DOMAIN, principal.tenant_id, domain, domain_version))
        policy = await _content(tx, PackPlace(POLICY, principal.tenant_id, domain, policy_version))
        problems = check_pair(pack, policy, VOCABULARY)
        if problems:
            raise Rejected("The policy pack does not fit the domain pack.", problems=problems)
        config = compile_pair(pack, policy)
        who, now = actor(principal), commands.clock()
        pair = Pair(config.hash, domain, domain_version, policy_version)
        await packs.activate_pair(tx, principal.tenant_id, pair, now, who)
        await replace_pack_tools(tx, principal.tenant_id, config, now)
        await bump_config_version(tx, principal.tenant_id)
        body = PackActivated(domain, domain_version, policy_version, config.hash)
        await record_configuration(commands, tx, StreamKey(principal.tenant_id, f"tenant/config/{domain}"), who, body)
    return config


async def _content(tx: Connection, place: PackPlace) -> Mapping[str, Json]:
    content = await packs.content_of(tx, place)
    if content is None:
        raise Missing(f"There is no {place.kind} {place.domain} {place.version}; import it first.")
    return content
