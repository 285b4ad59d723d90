"""What waits for a person's yes or no, and what was answered?"""

from uuid import UUID

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import approvals
from sentinai.infrastructure.repositories.pages import Listed, PageRequest

Filter = approvals.ApprovalFilter
Row = approvals.ApprovalRow


async def search(database: Database, tenant_id: str, wanted: Filter, page: PageRequest) -> Listed[Row]:
    """The newest first."""
    async with database.reading(tenant_id) as connection:
        return await approvals.list_approvals(connection, tenant_id, wanted, page)


async def get(database: Database, tenant_id: str, approval_id: UUID) -> Row:
    """Raises Missing."""
    async with database.reading(tenant_id) as connection:
        return await approvals.find_approval(connection, tenant_id, approval_id)
