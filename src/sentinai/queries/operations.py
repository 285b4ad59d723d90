"""What runs, and what keeps a tenant's events from being handled?"""

from typing import NamedTuple

from sentinai.infrastructure.database import Database
from sentinai.messaging import heartbeat, lag


class DeliveryProgress(NamedTuple):
    """How it goes with a tenant's events, and who holds the log back for everybody."""

    lag: list[lag.Behind]
    parked: list[lag.ParkedCount]
    held_back_by: lag.Holder | None


async def workers(database: Database, tenant_id: str) -> list[heartbeat.Seen]:
    """Every worker process of the installation; nothing of any tenant is in them."""
    async with database.reading(tenant_id) as connection:
        return await heartbeat.seen_processes(connection)


async def delivery(database: Database, tenant_id: str) -> DeliveryProgress:
    async with database.reading(tenant_id) as connection:
        behind = await lag.consumers_behind(connection, tenant_id)
        parked = await lag.count_parked(connection, tenant_id)
        return DeliveryProgress(behind, parked, await lag.log_holder(connection))
