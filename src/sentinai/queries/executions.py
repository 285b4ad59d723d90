"""Which calls of tools were made, and what came of them?"""

from uuid import UUID

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import executions
from sentinai.infrastructure.repositories.executions import ExecutionFilter, ExecutionRow
from sentinai.infrastructure.repositories.pages import Listed, PageRequest

__all__ = ["ExecutionFilter", "get", "search"]


async def search(
    database: Database, tenant_id: str, wanted: ExecutionFilter, page: PageRequest
) -> Listed[ExecutionRow]:
    """The newest first."""
    async with database.reading(tenant_id) as connection:
        return await executions.list_executions(connection, tenant_id, wanted, page)


async def get(database: Database, tenant_id: str, execution_id: UUID) -> ExecutionRow:
    """Raises Missing."""
    async with database.reading(tenant_id) as connection:
        return await executions.find_execution(connection, tenant_id, execution_id)
