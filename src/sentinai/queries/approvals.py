"""What waits for a person's yes or no, and what was answered?"""

from uuid import UUID

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import approvals
from sentinai.infrastructure.repositories.approvals import ApprovalFilter, ApprovalRow
from sentinai.infrastructure.repositories.pages import Listed, PageRequest

__all__ = ["ApprovalFilter", "get", "search"]


async def search(database: Database, tenant_id: str, wanted: ApprovalFilter, page: PageRequest) -> Listed[ApprovalRow]:
    """The newest first."""
    async with database.reading(tenant_id) as connection:
        return await approvals.list_approvals(connection, tenant_id, wanted, page)


async def get(database: Database, tenant_id: str, approval_id: UUID) -> ApprovalRow:
    """Raises Missing."""
    async with database.reading(tenant_id) as connection:
        return await approvals.find_approval(connection, tenant_id, approval_id)
