"""Which calls of tools were made, and what came of them?"""

from uuid import UUID

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import executions
from sentinai.infrastructure.repositories.pages import Listed, PageRequest

Filter = executions.ExecutionFilter
Row = executions.ExecutionRow


async def search(database: Database, tenant_id: str, wanted: Filter, page: PageRequest) -> Listed[Row]:
    """The newest first."""
    async with database.reading(tenant_id) as connection:
        return await executions.list_executions(connection, tenant_id, wanted, page)


async def get(database: Database, tenant_id: str, execution_id: UUID) -> Row:
    """Raises Missing."""
    async with database.reading(tenant_id) as connection:
        return await executions.find_execution(connection, tenant_id, execution_id)
