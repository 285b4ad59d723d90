"""Which tenants are there, and which API keys does one have?"""

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories import api_keys, tenants
from sentinai.infrastructure.repositories.api_keys import KeyRow
from sentinai.infrastructure.repositories.pages import Listed, PageRequest
from sentinai.infrastructure.repositories.tenants import TenantRow


async def search(database: Database, asked_by: str, page: PageRequest) -> Listed[TenantRow]:
    """All tenants, by id, the last first. `asked_by` is the platform administrator's own tenant."""
    async with database.reading(asked_by) as connection:
        return await tenants.list_tenants(connection, page)


async def keys(database: Database, tenant_id: str, page: PageRequest) -> Listed[KeyRow]:
    """A tenant's API keys, the newest first."""
    async with database.reading(tenant_id) as connection:
        return await api_keys.list_keys(connection, tenant_id, page)
