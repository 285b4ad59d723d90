"""What does a new installation start with? The platform's tenant, a first tenant, and a key for each."""

from typing import NamedTuple

from sentinai.errors import Conflict
from sentinai.packs.document import PackDocument
from sentinai.security.roles import Principal
from sentinai.services import packs, tenants
from sentinai.services.recording import Commands

WHO = "system:setup"


class FirstKeys(NamedTuple):
    tenant_id: str
    key: str
    approver_key: str
    platform_key: str


async def first_keys(commands: Commands, tenant_id: str) -> FirstKeys:
    """Create what is missing, and new keys: an admin's and an approver's of the tenant, and a platform administrator's.

    `commands` run as the owner of the database.
    """
    for new, name in ((tenants.PLATFORM, "Platform administration"), (tenant_id, tenant_id)):
        try:
            await tenants.create_tenant(commands, WHO, new, name)
        except Conflict:
            continue
    wanted = ((tenant_id, "admin"), (tenant_id, "approver"), (tenants.PLATFORM, "platform_admin"))
    keys = [
        await tenants.create_key(commands, WHO, tenants.KeySpecification(tenant, f"first {role} key", role, None))
        for tenant, role in wanted
    ]
    return FirstKeys(tenant_id, *(key.secret for key in keys))


async def install_packs(commands: Commands, tenant_id: str, domain: PackDocument, policy: PackDocument) -> None:
    """Import and activate a domain pack and its policy for a tenant."""
    principal = Principal(tenant_id, commands.new_id(), "setup", "admin", "setup")
    for document in (domain, policy):
        await packs.import_pack(commands, principal, document)
    await packs.activate(commands, principal, domain.name, domain.version, policy.version)
