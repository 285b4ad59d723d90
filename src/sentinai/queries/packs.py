"""Which packs were imported, and which pair is active per domain?"""

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import packs
from sentinai.infrastructure.repositories.packs import ActiveRow, PackPlace, PackRow
from sentinai.models.json import Json

__all__ = ["PackPlace", "active", "content", "imported"]


async def imported(database: Database, tenant_id: str) -> list[PackRow]:
    """Domain packs, then policy packs; the newest of each first."""
    async with database.reading(tenant_id) as connection:
        return await packs.list_packs(connection, tenant_id)


async def active(database: Database, tenant_id: str) -> list[ActiveRow]:
    """Pairs that are active, and that were before; the newest first."""
    async with database.reading(tenant_id) as connection:
        return await packs.list_active(connection, tenant_id)


async def content(database: Database, place: PackPlace) -> dict[str, Json]:
    """A pack as stored; raises Missing."""
    async with database.reading(place.tenant_id) as connection:
        return await packs.find_pack(connection, place)
