"""Which closed exceptions may go, and how is it proven afterwards that nothing else went?

`retentionPolicies.dataTTL` of a tenant's policy says for how many days an exception of that domain is kept after its last change. What
is older is removed as a whole: events, row, approvals and tool calls. A signed tombstone on the tenant's own stream keeps
how long each chain was and where it ended.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from sentinai.events.retention import ExceptionsRemoved, Removed
from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import retention
from sentinai.infrastructure.repositories.retention import Closed
from sentinai.infrastructure.repositories.tenants import tenant_ids
from sentinai.messaging.broker import RELAY, Connection
from sentinai.models.exception_record import stream_of
from sentinai.orchestrator.recording import StreamKey
from sentinai.security.signatures import is_signed, key_id, sign
from sentinai.services.recording import Commands, record_configuration
from sentinai.services.verification import CheckedStream

BATCH = 500
"""Exceptions removed in one transaction, which holds the log back while it lasts."""
WHO = "system:retention"


class Policy(NamedTuple):
    """Exceptions of this tenant's domain that have not changed for `days` may go."""

    tenant_id: str
    domain: str
    days: int


async def policies(owner: Commands, tenant_id: str | None) -> list[Policy]:
    """What the active packs of a tenant (None: of all) say."""
    found = []
    async with owner.database.transaction() as tx:
        for each in await tenant_ids(tx, tenant_id):
            await owner.configurations.load(tx, [each])
            for config in owner.configurations.tenant(each).active:
                if config.retention_days is not None:
                    found.append(Policy(each, config.domain, config.retention_days))
    return found


async def count_closed(owner: Commands, policy: Policy, *, kafka: bool) -> int:
    """How many exceptions `remove_closed` would remove now."""
    async with owner.database.transaction() as tx:
        return await retention.count_closed(tx, _closed(owner, policy, kafka))


async def remove_closed(owner: Commands, policy: Policy, key: bytes, *, kafka: bool) -> AsyncIterator[int]:
    """Remove what the policy lets go, batch by batch; yields how many exceptions each removed.

    Kept are exceptions that are open or that wait for anything, and where Kafka is in use those of which it has not had every event.
    """
    closed = _closed(owner, policy, kafka)
    tombstone = ExceptionsRemoved(policy.tenant_id, policy.domain, closed.before, [], key_id(key))
    while True:
        async with owner.database.transaction() as tx:
            taken = await retention.take_closed(tx, closed, BATCH)
            if taken:
                await _remove(owner, tx, tombstone, taken, key)
        if not taken:
            return
        yield len(taken)


async def _remove(
    owner: Commands, tx: Connection, tombstone: ExceptionsRemoved, taken: Sequence[UUID], key: bytes
) -> None:
    tenant_id, streams = tombstone.tenant_id, [stream_of(exception_id) for exception_id in taken]
    ends = await retention.chain_ends(tx, tenant_id, streams)
    removed = [Removed(end.exception_id, end.events, end.hash.hex()) for end in ends]
    await retention.remove_streams(tx, tenant_id, streams)
    complete = msgspec.structs.replace(tombstone, removed=removed)
    signed = msgspec.structs.replace(complete, signature=sign(key, _signed_content(complete)))
    await record_configuration(owner, tx, StreamKey(tenant_id, f"tenant/retention/{tenant_id}"), WHO, signed)


async def check_tombstones(
    database: Database, tenant_id: str | None, key: bytes | None
) -> AsyncIterator[CheckedStream]:
    """One finding per tombstone: is it signed with our key (None: not looked at), and is what it removed gone?"""
    async with database.transaction() as tx:
        for row in await retention.tombstones(tx, tenant_id):
            tombstone = msgspec.json.decode(row.payload, type=ExceptionsRemoved)
            place = f"tenant {row.tenant_id}, tombstone {row.sequence}"
            streams = [stream_of(removed.exception_id) for removed in tombstone.removed]
            problem = None
            if key is not None and tombstone.key_id != key_id(key):
                problem = f"{place}: signed with key {tombstone.key_id}, not with this installation's"
            elif key is not None and not is_signed(key, _signed_content(tombstone), tombstone.signature):
                problem = f"{place}: its signature does not fit what it says"
            elif tombstone.tenant_id != row.tenant_id:
                problem = f"{place}: it speaks of tenant {tombstone.tenant_id}"
            elif await retention.count_events(tx, row.tenant_id, streams):
                problem = f"{place}: exceptions that it calls removed have events"
            yield CheckedStream(1, problem)


def _closed(owner: Commands, policy: Policy, kafka: bool) -> Closed:
    """Where Kafka is in use the relay's cursors keep events; where it is no longer they stand still."""
    before = owner.clock() - timedelta(days=policy.days)
    return Closed(policy.tenant_id, policy.domain, before, RELAY if kafka else None)


def _signed_content(tombstone: ExceptionsRemoved) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(tombstone, signature=""))
