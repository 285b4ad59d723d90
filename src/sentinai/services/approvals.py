"""Commands of people on an approval: it leads to its exception, where the answer is decided."""

from uuid import UUID

from sentinai.errors import Missing
from sentinai.infrastructure.repositories.approvals import exception_of
from sentinai.orchestrator import people
from sentinai.security.roles import Principal
from sentinai.services.exceptions import clean, command
from sentinai.services.recording import Commands


async def approve(commands: Commands, principal: Principal, approval_id: UUID, note: str | None) -> UUID:
    """Say yes. Raises Denied for whoever is involved, Conflict when it is answered already."""
    exception_id, text = await _exception_of(commands, principal, approval_id), clean(note) if note else None
    return await command(
        commands, principal, exception_id, lambda state, who: people.approve(state, who, approval_id, text)
    )


async def reject(commands: Commands, principal: Principal, approval_id: UUID, note: str | None) -> UUID:
    """Say no. Raises as `approve` does."""
    exception_id, text = await _exception_of(commands, principal, approval_id), clean(note) if note else None
    return await command(
        commands, principal, exception_id, lambda state, who: people.reject(state, who, approval_id, text)
    )


async def _exception_of(commands: Commands, principal: Principal, approval_id: UUID) -> UUID:
    async with commands.database.transaction(principal.tenant_id) as tx:
        exception_id = await exception_of(tx, principal.tenant_id, approval_id)
    if exception_id is None:
        raise Missing(f"There is no approval {approval_id}.", approval_id=str(approval_id))
    return exception_id
