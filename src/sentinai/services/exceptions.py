"""What may people ask of an exception: comment, assign, escalate, resolve, reopen, recalculate, complete or skip a step?"""

from typing import NamedTuple
from uuid import UUID

from sentinai.errors import Conflict, Denied
from sentinai.events.closing import ExceptionEscalated, ExceptionReopened, ExceptionResolved
from sentinai.events.playbook import (
    CommentAdded,
    OwnerAssigned,
    PlaybookRecalculationRequested,
    PlaybookStepCompletionRequested,
    PlaybookStepSkipRequested,
)
from sentinai.models.exception_record import CLOSED, ExceptionState, Status
from sentinai.models.json import Json
from sentinai.models.run import RunStatus, StepRun, WaitsFor
from sentinai.orchestrator.lifecycle import require
from sentinai.playbooks.machine import called_off, stopped
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
        _stop(command, f"escalated by {actor(principal)}")
        return command.record(ExceptionEscalated([_clean(reason)], queue))


async def resolve(commands: Commands, principal: Principal, exception_id: UUID, reason: str) -> UUID:
    async with on_exception(commands, principal, exception_id) as command:
        require(command.state, Status.RESOLVED)
        _stop(command, f"resolved by {actor(principal)}")
        return command.record(ExceptionResolved(_clean(reason)))


async def reopen(commands: Commands, principal: Principal, exception_id: UUID, reason: str) -> UUID:
    """A resolved exception goes to policy anew."""
    async with on_exception(commands, principal, exception_id) as command:
        require(command.state, Status.OPEN)
        _stop(command, f"reopened by {actor(principal)}")
        return command.record(ExceptionReopened(_clean(reason)))


async def recalculate(commands: Commands, principal: Principal, exception_id: UUID, reason: str | None) -> UUID:
    """Have policy and playbook decided anew under the configuration that is active now."""
    async with on_exception(commands, principal, exception_id) as command:
        _require_open(command)
        if command.state.triaged_at is None:
            raise Conflict("The exception is not triaged yet; wait for it.", status=command.state.status)
        _stop(command, f"decided anew for {actor(principal)}")
        return command.record(PlaybookRecalculationRequested(_clean(reason) if reason else None))


class StepDone(NamedTuple):
    """A person did a step: which one (its path, or its place in the playbook), what came of it, and a comment."""

    step: str
    output: Json
    comment: str | None


async def complete_step(commands: Commands, principal: Principal, exception_id: UUID, done: StepDone) -> UUID:
    """Say that the waiting step was done, or that a call whose end was unknown turned out to be."""
    async with on_exception(commands, principal, exception_id) as command:
        path, step = answerable_step(command.state, principal.subject, done.step)
        _call_off(command, step, f"done by {actor(principal)}")
        note = _clean(done.comment) if done.comment else None
        return command.record(PlaybookStepCompletionRequested(step.order, redact_pii(done.output), note, path))


async def skip_step(commands: Commands, principal: Principal, exception_id: UUID, place: str, reason: str) -> UUID:
    async with on_exception(commands, principal, exception_id) as command:
        path, step = answerable_step(command.state, principal.subject, place)
        _call_off(command, step, f"skipped by {actor(principal)}")
        return command.record(PlaybookStepSkipRequested(step.order, _clean(reason), path))


def answerable_step(state: ExceptionState, subject: str, place: str) -> tuple[str, StepRun]:
    """The waiting step, if this person may do it by hand. Raises Conflict with what the run waits for instead, and Denied
    for whoever said yes to the run: the doer and the approver are two people."""
    run = state.run
    if run is None or not run.active or run.waiting is None:
        raise Conflict("No step of this exception waits for a person.", status=state.status)
    path, step = run.waiting
    if run.status is RunStatus.AWAITING_APPROVAL or step.waits_for is WaitsFor.APPROVAL:
        raise Conflict("The playbook waits for an approval: approve or reject it.", status=state.status)
    if place not in (path, str(step.order)):
        raise Conflict(f"Step {place} does not wait; step {step.order} ({path}) does.", waiting=path)
    if step.answer is not None:
        raise Conflict(f"Step {path} was answered already.", waiting=path)
    if subject in run.voters:
        raise Denied("Whoever approved a playbook does none of its steps by hand; another person has to.")
    return path, step


def _clean(text: str) -> str:
    """People paste secrets, too."""
    return str(redact_pii(text))


def _require_open(command: ExceptionCommand) -> None:
    if command.state.status in CLOSED:
        raise Conflict(f"The exception is {command.state.status}.", status=command.state.status)


def _stop(command: ExceptionCommand, reason: str) -> None:
    """The run's one door, and the person's word after it: what was going on ends in the command's own transaction."""
    for body in stopped(command.state, reason):
        command.record(body)


def _call_off(command: ExceptionCommand, step: StepRun, reason: str) -> None:
    for body in called_off(command.state.calls, step.execution_id, reason):
        command.record(body)
