"""What may a person do with an exception, and what does that end at once? One pure function for each command.

Each returns what is recorded, or raises Conflict (with what stands instead) or Denied. It is decided by the state that the
command's own transaction has locked, so of two answers to one question the second is refused, not stored and lost.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sentinai.errors import Conflict, Denied
from sentinai.events.closing import ExceptionEscalated, ExceptionReopened, ExceptionResolved
from sentinai.events.envelope import Body
from sentinai.events.playbook import (
    OwnerAssigned,
    PlaybookRecalculationRequested,
    PlaybookStepCompletionRequested,
    PlaybookStepSkipRequested,
)
from sentinai.events.policy import ApprovalGranted, ApprovalRejected, ApprovalVoted
from sentinai.models.actor import subject_of
from sentinai.models.approval import Approval
from sentinai.models.exception_record import CLOSED, ExceptionState, Status
from sentinai.models.json import Json
from sentinai.models.run import RunStatus, StepRun, WaitsFor
from sentinai.orchestrator.lifecycle import require
from sentinai.playbooks.machine import called_off, stopped


class Person(NamedTuple):
    """Who commands, and when."""

    subject: str
    actor: str
    now: datetime


class StepDone(NamedTuple):
    """A person did a step: which one (its path, or its place in the playbook), what came of it, and a comment."""

    step: str
    output: Json
    comment: str | None


def assign(state: ExceptionState, _who: Person, owner: str) -> list[Body]:
    _require_open(state)
    return [OwnerAssigned(owner)]


def escalate(state: ExceptionState, who: Person, reason: str, queue: str | None) -> list[Body]:
    """A person takes over: a running playbook ends, and none begins before a person has it decided anew."""
    require(state, Status.ESCALATED)
    return [*stopped(state, f"escalated by {who.subject}"), ExceptionEscalated([reason], queue)]


def resolve(state: ExceptionState, who: Person, reason: str) -> list[Body]:
    require(state, Status.RESOLVED)
    return [*stopped(state, f"resolved by {who.subject}"), ExceptionResolved(reason)]


def reopen(state: ExceptionState, who: Person, reason: str) -> list[Body]:
    """A resolved exception goes to policy anew; what its playbook still does ends."""
    require(state, Status.OPEN)
    return [*stopped(state, f"reopened by {who.subject}"), ExceptionReopened(reason)]


def recalculate(state: ExceptionState, who: Person, reason: str | None) -> list[Body]:
    """Policy and playbook are decided anew under what is active now; until then nothing goes on."""
    _require_open(state)
    if state.triaged_at is None:
        raise Conflict("The exception is not triaged yet; wait for it.", status=state.status)
    return [*stopped(state, f"decided anew for {who.subject}"), PlaybookRecalculationRequested(reason)]


def complete(state: ExceptionState, who: Person, done: StepDone) -> list[Body]:
    """The waiting step was done, or its call of which nobody knew the end turned out to be."""
    path, step = _waiting(state, who, done.step)
    said = PlaybookStepCompletionRequested(step.order, done.output, done.comment, path)
    return [*called_off(state.calls, step.execution_id, f"done by {who.subject}"), said]


def skip(state: ExceptionState, who: Person, place: str, reason: str) -> list[Body]:
    path, step = _waiting(state, who, place)
    said = PlaybookStepSkipRequested(step.order, reason, path)
    return [*called_off(state.calls, step.execution_id, f"skipped by {who.subject}"), said]


def approve(state: ExceptionState, who: Person, approval_id: UUID, note: str | None) -> list[Body]:
    """A yes; the last one that was needed grants the approval. Who got involved after voting has voted for nothing."""
    approval = _answerable(state, who, approval_id)
    if approval.expires_at is not None and approval.expires_at <= who.now:
        raise Conflict("The approval has expired.", expires_at=approval.expires_at.isoformat())
    voters = {who.subject, *approval.votes}.difference(state.involved)
    said = ApprovalGranted if len(voters) >= approval.approvers else ApprovalVoted
    return [said(approval_id, approval.step, note)]


def reject(state: ExceptionState, who: Person, approval_id: UUID, note: str | None) -> list[Body]:
    """One no is enough."""
    return [ApprovalRejected(approval_id, _answerable(state, who, approval_id).step, note)]


def _require_open(state: ExceptionState) -> None:
    if state.status in CLOSED:
        raise Conflict(f"The exception is {state.status}.", status=state.status)


def _waiting(state: ExceptionState, who: Person, place: str) -> tuple[str, StepRun]:
    """The step that waits and may be done by hand. Whoever said yes to the run does none: doer and approver are two people."""
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
    if who.subject in state.voters:
        raise Denied("Whoever approved a playbook does none of its steps by hand; another person has to.")
    return path, step


def _answerable(state: ExceptionState, who: Person, approval_id: UUID) -> Approval:
    """The open approval, if this person may answer it: four eyes over report, question, step and answer."""
    approval = next((a for a in state.approvals if a.approval_id == approval_id), None)
    if approval is None:
        raise Conflict("The approval is not open any more.", status=state.status)
    if who.subject in approval.votes:
        raise Conflict(
            "You have said yes already; the next answer has to come from another person.", votes=len(approval.votes)
        )
    if who.subject in state.involved or who.subject == subject_of(approval.requested_by):
        raise Denied(
            "Whoever reported an exception, had it decided anew, or did a step of it by hand may not answer its approvals; "
            "another person has to, whatever key you use."
        )
    return approval
