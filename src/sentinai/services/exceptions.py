"""What may people ask of an exception: comment, assign, escalate, resolve, reopen, recalculate, complete or skip a step?"""

from typing import Any
from uuid import UUID

from sentinai.errors import Conflict
from sentinai.events.closing import ExceptionEscalated, ExceptionReopened, ExceptionResolved
from sentinai.events.playbook import (
    CommentAdded,
    OwnerAssigned,
    PlaybookFailed,
    PlaybookRecalculationRequested,
    PlaybookStepCompletionRequested,
    PlaybookStepSkipRequested,
)
from sentinai.events.policy import ApprovalWithdrawn
from sentinai.models.exception_record import CLOSED, Status
from sentinai.orchestrator.lifecycle import require
from sentinai.playbooks.stepping import running_step
from sentinai.security.masking import redact_pii
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, ExceptionCommand, actor, on_exception


async def comment(commands: Commands, principal: Principal, exception_id: UUID, text: str) -> UUID:
    async with on_exception(commands, principal, exception_id) as command:
        return command.record(CommentAdded(_clean(text)))


async def assign(commands: Commands, principal: Principal, exception_id: UUID, owner: str) -> UUID:
    async with on_exception(commands, principal, exception_id) as command:
        _require_open(command)
        return command.record(OwnerAssigned(owner))


async def escalate(
    commands: Commands, principal: Principal, exception_id: UUID, reason: str, queue: str | None
) -> UUID:
    """A person takes over: a running playbook ends, an open approval is withdrawn."""
    async with on_exception(commands, principal, exception_id) as command:
        require(command.state, Status.ESCALATED)
        _end_run(command, f"escalated by {actor(principal)}")
        return command.record(ExceptionEscalated([_clean(reason)], queue))


async def resolve(commands: Commands, principal: Principal, exception_id: UUID, reason: str) -> UUID:
    async with on_exception(commands, principal, exception_id) as command:
        require(command.state, Status.RESOLVED)
        _end_run(command, f"resolved by {actor(principal)}")
        return command.record(ExceptionResolved(_clean(reason)))


async def reopen(commands: Commands, principal: Principal, exception_id: UUID, reason: str) -> UUID:
    """A resolved exception goes to policy anew."""
    async with on_exception(commands, principal, exception_id) as command:
        require(command.state, Status.OPEN)
        return command.record(ExceptionReopened(_clean(reason)))


async def recalculate(commands: Commands, principal: Principal, exception_id: UUID, reason: str | None) -> UUID:
    """Have policy and playbook decided anew under the configuration that is active now."""
    async with on_exception(commands, principal, exception_id) as command:
        _require_open(command)
        if command.state.triaged_at is None:
            raise Conflict("The exception is not triaged yet; wait for it.", status=command.state.status)
        return command.record(PlaybookRecalculationRequested(_clean(reason) if reason else None))


async def complete_step(
    commands: Commands, principal: Principal, exception_id: UUID, order: int, answer: tuple[Any, str | None]
) -> UUID:
    """Say that the waiting step was done; `answer` is its output and a comment."""
    async with on_exception(commands, principal, exception_id) as command:
        _require_waiting(command, order)
        output, note = answer
        return command.record(
            PlaybookStepCompletionRequested(order, redact_pii(output), _clean(note) if note else None)
        )


async def skip_step(commands: Commands, principal: Principal, exception_id: UUID, order: int, reason: str) -> UUID:
    async with on_exception(commands, principal, exception_id) as command:
        _require_waiting(command, order)
        return command.record(PlaybookStepSkipRequested(order, _clean(reason)))


def _clean(text: str) -> str:
    """People paste secrets, too."""
    return str(redact_pii(text))


def _require_open(command: ExceptionCommand) -> None:
    if command.state.status in CLOSED:
        raise Conflict(f"The exception is {command.state.status}.", status=command.state.status)


def _end_run(command: ExceptionCommand, reason: str) -> None:
    if command.state.approval is not None:
        command.record(ApprovalWithdrawn(command.state.approval.approval_id, reason))
    if command.state.run is not None and command.state.run.active:
        command.record(PlaybookFailed(command.state.run.playbook, reason))


def _require_waiting(command: ExceptionCommand, order: int) -> None:
    """Only the step that was started and waits, and not one that waits for an approval: that has its own answer."""
    run = command.state.run
    waiting = running_step(run) if run is not None and run.active else None
    if run is None or waiting is None:
        raise Conflict("No step of this exception waits for a person.", status=command.state.status)
    if command.state.approval is not None:
        raise Conflict("The step waits for an approval: approve or reject it.", status=command.state.status)
    if waiting.order != order:
        raise Conflict(
            f"Step {order} does not wait; step {waiting.order} ({waiting.name}) does.", waiting=waiting.order
        )
