"""Which events need a person, and why?"""

from uuid import UUID

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import dead_letters
from sentinai.infrastructure.repositories.dead_letters import DeadLetterFilter, DeadLetterRow
from sentinai.infrastructure.repositories.pages import Listed, PageRequest

__all__ = ["DeadLetterFilter", "get", "search"]


async def search(
    database: Database, tenant_id: str, wanted: DeadLetterFilter, page: PageRequest
) -> Listed[DeadLetterRow]:
    """The newest first."""
    async with database.reading(tenant_id) as connection:
        return await dead_letters.list_dead_letters(connection, tenant_id, wanted, page)


async def get(database: Database, tenant_id: str, dead_letter_id: UUID) -> DeadLetterRow:
    """Raises Missing."""
    async with database.reading(tenant_id) as connection:
        return await dead_letters.find_dead_letter(connection, tenant_id, dead_letter_id)
