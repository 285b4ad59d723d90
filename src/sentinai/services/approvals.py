"""Who may answer an approval, and what does the answer record?"""

from uuid import UUID

import asyncpg
import msgspec

from sentinai.errors import Conflict, Denied, Missing
from sentinai.events.policy import ApprovalGranted, ApprovalRejected, ApprovalVoted
from sentinai.models.actor import subject_of
from sentinai.models.approval import Approval
from sentinai.models.exception_record import ExceptionState
from sentinai.security.masking import redact_pii
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, on_exception

_OF = "select exception_id, status from approval where tenant_id = $1 and approval_id = $2"


async def approve(commands: Commands, principal: Principal, approval_id: UUID, note: str | None) -> UUID:
    """Say yes. Raises Denied for whoever is involved, Conflict when it is answered already."""
    exception_id = await _exception_of(commands, principal, approval_id)
    async with on_exception(commands, principal, exception_id) as command:
        approval = answerable(command.state, principal.subject, approval_id)
        if approval.expires_at is not None and approval.expires_at <= command.recorder.now:
            raise Conflict("The approval has expired.", expires_at=approval.expires_at.isoformat())
        return command.record(yes(approval, principal.subject, _clean(note)))


async def reject(commands: Commands, principal: Principal, approval_id: UUID, note: str | None) -> UUID:
    """Say no. Raises as `approve` does."""
    exception_id = await _exception_of(commands, principal, approval_id)
    async with on_exception(commands, principal, exception_id) as command:
        approval = answerable(command.state, principal.subject, approval_id)
        return command.record(ApprovalRejected(approval_id, approval.step, _clean(note)))


def answerable(state: ExceptionState, subject: str, approval_id: UUID) -> Approval:
    """The open approval, if this person may answer it: four eyes over report, question, step and answer.

    Raises Conflict where it is not open or this person has said yes already, Denied for whoever reported the exception, had
    it decided anew, did a step of it by hand, or asked.
    """
    approval = next((a for a in state.approvals if a.approval_id == approval_id), None)
    if approval is None:
        raise Conflict("The approval is not open any more.", status=state.status)
    if subject in approval.votes:
        raise Conflict("You have said yes already; another person has to say it too.", votes=len(approval.votes))
    if subject in state.involved or subject == subject_of(approval.requested_by):
        raise Denied(
            "Whoever reported an exception, had it decided anew, or did a step of it by hand may not answer its approvals; "
            "another person has to, whatever key you use."
        )
    return approval


def yes(approval: Approval, subject: str, note: str | None) -> msgspec.Struct:
    """The last yes that was needed grants it; one before that is a vote."""
    enough = len({*approval.votes, subject}) >= approval.approvers
    said = ApprovalGranted if enough else ApprovalVoted
    return said(approval.approval_id, approval.step, note)


def _clean(note: str | None) -> str | None:
    return str(redact_pii(note)) if note else None


async def _exception_of(commands: Commands, principal: Principal, approval_id: UUID) -> UUID:
    async with commands.database.transaction(principal.tenant_id) as tx:
        row: asyncpg.Record | None = await tx.fetchrow(_OF, principal.tenant_id, approval_id)
    if row is None:
        raise Missing(f"There is no approval {approval_id}.", approval_id=str(approval_id))
    exception_id: UUID = row["exception_id"]
    return exception_id
