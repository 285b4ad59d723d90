"""What happened at a tenant, event by event?"""

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import audit
from sentinai.infrastructure.repositories.audit import AuditFilter, AuditRow
from sentinai.infrastructure.repositories.pages import Listed, PageRequest

__all__ = ["AuditFilter", "search"]


async def search(database: Database, tenant_id: str, wanted: AuditFilter, page: PageRequest) -> Listed[AuditRow]:
    """The newest first."""
    async with database.reading(tenant_id) as connection:
        return await audit.list_events(connection, tenant_id, wanted, page)
