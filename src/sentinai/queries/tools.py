"""Which tools are registered, and which of them are switched off?"""

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import tools
from sentinai.infrastructure.repositories.pages import Listed, PageRequest
from sentinai.infrastructure.repositories.tools import ToolRow


async def search(database: Database, tenant_id: str, page: PageRequest) -> Listed[ToolRow]:
    """By id, the last first."""
    async with database.reading(tenant_id) as connection:
        return await tools.list_tools(connection, tenant_id, page)


async def get(database: Database, tenant_id: str, tool_id: str) -> ToolRow:
    """Raises Missing."""
    async with database.reading(tenant_id) as connection:
        return await tools.find_tool(connection, tenant_id, tool_id)
