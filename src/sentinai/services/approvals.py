"""Who may answer an approval, and what does the answer record?"""

from uuid import UUID

import asyncpg

from sentinai.errors import Conflict, Denied, Missing
from sentinai.events.policy import ApprovalGranted, ApprovalRejected
from sentinai.infrastructure.repositories.approvals import EXCEPTION_OF as _OF
from sentinai.models.approval import Approval
from sentinai.security.masking import redact_pii
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, ExceptionCommand, actor, on_exception


async def approve(commands: Commands, principal: Principal, approval_id: UUID, note: str | None) -> UUID:
    """Say yes. Raises Denied for the person who asked, Conflict when it is answered already."""
    exception_id = await _exception_of(commands, principal, approval_id)
    async with on_exception(commands, principal, exception_id) as command:
        approval = _answerable(command, principal, approval_id)
        return command.record(ApprovalGranted(approval_id, approval.step, str(redact_pii(note)) if note else None))


async def reject(commands: Commands, principal: Principal, approval_id: UUID, note: str | None) -> UUID:
    """Say no. Raises as `approve` does."""
    exception_id = await _exception_of(commands, principal, approval_id)
    async with on_exception(commands, principal, exception_id) as command:
        approval = _answerable(command, principal, approval_id)
        return command.record(ApprovalRejected(approval_id, approval.step, str(redact_pii(note)) if note else None))


async def _exception_of(commands: Commands, principal: Principal, approval_id: UUID) -> UUID:
    async with commands.database.transaction(principal.tenant_id) as tx:
        row: asyncpg.Record | None = await tx.fetchrow(_OF, principal.tenant_id, approval_id)
    if row is None:
        raise Missing(f"There is no approval {approval_id}.", approval_id=str(approval_id))
    exception_id: UUID = row["exception_id"]
    return exception_id


def _answerable(command: ExceptionCommand, principal: Principal, approval_id: UUID) -> Approval:
    approval = command.state.approval
    if approval is None or approval.approval_id != approval_id:
        raise Conflict("The approval is not open any more.", status=command.state.status)
    if approval.requested_by == actor(principal) or actor(principal) in _askers(command):
        raise Denied("Whoever asked for an approval may not answer it; use another person's key.")
    if approval.expires_at is not None and approval.expires_at <= command.recorder.now:
        raise Conflict("The approval has expired.", expires_at=approval.expires_at.isoformat())
    return approval


def _askers(command: ExceptionCommand) -> tuple[str, ...]:
    """People who caused the question: whoever reopened the exception or had it decided anew last."""
    asked_by = command.state.asked_by
    return (asked_by,) if asked_by else ()
