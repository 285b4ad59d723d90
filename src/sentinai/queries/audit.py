"""What happened at a tenant, event by event?"""

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import audit
from sentinai.infrastructure.repositories.pages import Listed, PageRequest

Filter = audit.AuditFilter
Row = audit.AuditRow


async def search(database: Database, tenant_id: str, wanted: Filter, page: PageRequest) -> Listed[Row]:
    """The newest first."""
    async with database.reading(tenant_id) as connection:
        return await audit.list_events(connection, tenant_id, wanted, page)
