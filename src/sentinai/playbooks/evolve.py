"""How do events change a run? The fold of a run: it decides nothing."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from msgspec.structs import replace

from sentinai.events import playbook, policy, tool
from sentinai.events.envelope import Body
from sentinai.models.actor import subject_of
from sentinai.models.approval import Approval
from sentinai.models.run import Answer, PlaybookRun, RunStatus, StepRun, StepStatus, WaitsFor, Yes
from sentinai.models.tool import ExecutionStatus


class Origin(NamedTuple):
    """By whom something was recorded, and when."""

    actor: str
    at: datetime


RunReducer: TypeAlias = Callable[[PlaybookRun, Any, Origin], PlaybookRun]


def begin_run(matched: policy.PlaybookMatched, outcome: str | None, previous: PlaybookRun | None) -> PlaybookRun:
    """A new run. It may begin only if policy said so. What the same playbook completed before is not done again, but for
    yeses: they were given to what was decided then."""
    kept: dict[str, StepRun] = {}
    if previous and (previous.playbook, previous.version) == (matched.playbook, matched.version):
        kept = {path: step for path, step in previous.steps.items() if _is_kept(step)}
    status = RunStatus.READY if outcome == "APPROVED" else RunStatus.AWAITING_APPROVAL
    return PlaybookRun(matched.playbook, matched.version, status, kept)


def _is_kept(step: StepRun) -> bool:
    return step.status is StepStatus.COMPLETED and step.granted_plan is None


def evolve(run: PlaybookRun, body: Body, said: Origin) -> PlaybookRun:
    """The run after an event; unchanged by events that say nothing of it. An ended run does not change any more."""
    reducer = REDUCERS.get(type(body))
    return reducer(run, body, said) if reducer is not None and run.active else run


def _with(run: PlaybookRun, path: str, step: StepRun) -> PlaybookRun:
    return replace(run, steps={**run.steps, path: step})


# ---- questions and votes ---------------------------------------------------------------------------------------------


def _asked(run: PlaybookRun, body: policy.ApprovalRequested, said: Origin) -> PlaybookRun:
    approval = Approval(
        body.approval_id,
        body.reason,
        said.actor,
        body.step,
        body.expires_at,
        body.on_expiry,
        body.approvers,
        [],
        body.plan,
        body.reasons,
    )
    if body.step is None:
        return replace(run, approval=approval, status=RunStatus.AWAITING_APPROVAL, yes=None)
    step = run.steps.get(body.step)
    return _with(run, body.step, replace(step, approval=approval, waits_for=WaitsFor.APPROVAL)) if step else run


def _find(run: PlaybookRun, approval_id: UUID) -> Approval | None:
    return next((a for a in run.approvals if a.approval_id == approval_id), None)


def _put(run: PlaybookRun, path: str | None, approval: Approval | None) -> PlaybookRun:
    """The question of the run, or of the step at `path`, becomes this one, or none."""
    if path is None:
        return replace(run, approval=approval)
    return _with(run, path, replace(run.steps[path], approval=approval))


def _voted(run: PlaybookRun, body: policy.ApprovalVoted, said: Origin) -> PlaybookRun:
    approval = _find(run, body.approval_id)
    if approval is None:
        return run
    votes = [*approval.votes, subject_of(said.actor) or said.actor]
    return _put(run, approval.step, replace(approval, votes=votes))


def _granted(run: PlaybookRun, body: policy.ApprovalGranted, _said: Origin) -> PlaybookRun:
    approval = _find(run, body.approval_id)
    if approval is None:
        return run
    run = _put(run, approval.step, None)
    if approval.step is not None:
        run = _with(run, approval.step, replace(run.steps[approval.step], granted_plan=approval.plan))
        return _answer(run, approval.step, Answer("done", {"approved": True, "comment": body.comment}))
    status = RunStatus.RUNNING if run.started_at else RunStatus.READY
    return replace(run, status=status, yes=Yes(approval.plan, approval.reasons))


def _refused(run: PlaybookRun, approval_id: UUID, answer: Answer) -> PlaybookRun:
    """A run whose question was answered with no stays where it is: nothing but its end can follow."""
    approval = _find(run, approval_id)
    if approval is None:
        return run
    run = _put(run, approval.step, None)
    return replace(run, refused=answer.detail) if approval.step is None else _answer(run, approval.step, answer)


def _rejected(run: PlaybookRun, body: policy.ApprovalRejected, said: Origin) -> PlaybookRun:
    reason = f"rejected by {said.actor}" + (f": {body.comment}" if body.comment else "")
    return _refused(run, body.approval_id, Answer("failed", detail=reason))


def _expired(run: PlaybookRun, body: policy.ApprovalExpired, _said: Origin) -> PlaybookRun:
    if body.on_expiry == "REJECT":
        return _refused(run, body.approval_id, Answer("failed", detail="nobody said yes in time, which means no"))
    return _refused(run, body.approval_id, Answer("expired", detail="the approval expired"))


def _withdrawn(run: PlaybookRun, body: policy.ApprovalWithdrawn, _said: Origin) -> PlaybookRun:
    approval = _find(run, body.approval_id)
    return run if approval is None else _put(run, approval.step, None)


# ---- steps -----------------------------------------------------------------------------------------------------------


def _run_started(run: PlaybookRun, _body: playbook.PlaybookStarted, said: Origin) -> PlaybookRun:
    return replace(run, status=RunStatus.RUNNING, started_at=said.at)


def _step_started(run: PlaybookRun, body: playbook.PlaybookStepStarted, said: Origin) -> PlaybookRun:
    waits_for = body.waits_for or (WaitsFor.PERSON if body.mode == "human" else WaitsFor.TOOL)
    step = StepRun(body.order, body.action, waits_for=waits_for, execution_id=body.execution_id, started_at=said.at)
    return _with(run, body.step, step)


def _tool_requested(run: PlaybookRun, body: tool.ToolExecutionRequested, _said: Origin) -> PlaybookRun:
    step = run.steps.get(body.step) if body.step is not None else None
    if step is None or body.step is None:
        return run
    return _with(run, body.step, replace(step, execution_id=body.execution_id, waits_for=WaitsFor.TOOL))


def _answer(run: PlaybookRun, path: str, answer: Answer, by: str | None = None) -> PlaybookRun:
    """The first answer counts."""
    step = run.steps[path]
    if step.status is not StepStatus.RUNNING or step.answer is not None:
        return run
    return _with(run, path, replace(step, answer=answer, done_by=by))


def waiting_for_call(run: PlaybookRun, execution_id: UUID) -> str | None:
    """Path of the running step that waits for this call, or for a person who finds out about it."""
    waiting = run.waiting
    return waiting[0] if waiting is not None and waiting[1].execution_id == execution_id else None


def _tool_completed(run: PlaybookRun, body: tool.ToolExecutionCompleted, _said: Origin) -> PlaybookRun:
    path = waiting_for_call(run, body.execution_id)
    return run if path is None else _answer(run, path, Answer("done", body.output))


def _tool_failed(run: PlaybookRun, body: tool.ToolExecutionFailed, _said: Origin) -> PlaybookRun:
    """A call whose end is unknown leaves its step waiting: for a person, who finds out."""
    path = waiting_for_call(run, body.execution_id)
    if path is None:
        return run
    detail = f"{body.status}: {body.error}"
    if body.status == ExecutionStatus.UNKNOWN:
        return _with(run, path, replace(run.steps[path], waits_for=WaitsFor.PERSON, detail=detail))
    return _answer(run, path, Answer("failed", detail=detail))


def step_at(run: PlaybookRun, path: str | None, order: int) -> str | None:
    """Path of the running step that is meant: by path, or by its place in the playbook."""
    waiting = run.waiting
    if waiting is None or (path is not None and waiting[0] != path) or (path is None and waiting[1].order != order):
        return None
    return waiting[0]


def _done_by_hand(run: PlaybookRun, body: playbook.PlaybookStepCompletionRequested, said: Origin) -> PlaybookRun:
    path = step_at(run, body.step, body.order)
    answer = Answer("done", body.output, body.comment)
    return (
        run
        if path is None or run.steps[path].waits_for is WaitsFor.APPROVAL
        else _answer(run, path, answer, subject_of(said.actor))
    )


def _skipped_by_hand(run: PlaybookRun, body: playbook.PlaybookStepSkipRequested, said: Origin) -> PlaybookRun:
    path = step_at(run, body.step, body.order)
    answer = Answer("skip", detail=f"skipped by a person: {body.reason}")
    return (
        run
        if path is None or run.steps[path].waits_for is WaitsFor.APPROVAL
        else _answer(run, path, answer, subject_of(said.actor))
    )


def _end(run: PlaybookRun, path: str, ended: StepRun) -> PlaybookRun:
    """`ended` says what is new; what was known of a step that was begun before stays."""
    step = run.steps.get(path)
    if step is not None:
        ended = replace(
            ended,
            action=ended.action or step.action,
            execution_id=ended.execution_id or step.execution_id,
            done_by=step.done_by,
            granted_plan=step.granted_plan,
            started_at=step.started_at,
        )
    return _with(run, path, ended)


def _step_completed(run: PlaybookRun, body: playbook.PlaybookStepCompleted, said: Origin) -> PlaybookRun:
    ended = StepRun(
        body.order,
        body.action,
        StepStatus.COMPLETED,
        execution_id=body.execution_id,
        output=body.output,
        ended_at=said.at,
    )
    return _end(run, body.step, ended)


def _step_skipped(run: PlaybookRun, body: playbook.PlaybookStepSkipped, said: Origin) -> PlaybookRun:
    ended = StepRun(body.order, status=StepStatus.SKIPPED, detail=body.reason, ended_at=said.at)
    return _end(run, body.step, ended)


def _step_failed(run: PlaybookRun, body: playbook.PlaybookStepFailed, said: Origin) -> PlaybookRun:
    ended = StepRun(body.order, status=StepStatus.FAILED, detail=body.error, ended_at=said.at)
    return _end(run, body.step, ended)


# ---- the end ---------------------------------------------------------------------------------------------------------


def _run_ended(status: RunStatus) -> RunReducer:
    """A step that still waits ends with the run; what it was told stays, for the ledger of calls."""

    def end(run: PlaybookRun, body: playbook.PlaybookFailed, said: Origin) -> PlaybookRun:
        if run.waiting is not None:
            path, step = run.waiting
            reason = getattr(body, "reason", None)
            ended = replace(
                step, status=StepStatus.FAILED, waits_for=None, approval=None, detail=reason, ended_at=said.at
            )
            run = _with(run, path, ended)
        return replace(run, status=status, approval=None, ended_at=said.at)

    return end


REDUCERS: Mapping[type[Body], RunReducer] = {
    policy.ApprovalRequested: _asked,
    policy.ApprovalVoted: _voted,
    policy.ApprovalGranted: _granted,
    policy.ApprovalRejected: _rejected,
    policy.ApprovalExpired: _expired,
    policy.ApprovalWithdrawn: _withdrawn,
    playbook.PlaybookStarted: _run_started,
    playbook.PlaybookStepStarted: _step_started,
    playbook.PlaybookStepCompletionRequested: _done_by_hand,
    playbook.PlaybookStepSkipRequested: _skipped_by_hand,
    playbook.PlaybookStepCompleted: _step_completed,
    playbook.PlaybookStepSkipped: _step_skipped,
    playbook.PlaybookStepFailed: _step_failed,
    playbook.PlaybookCompleted: _run_ended(RunStatus.COMPLETED),
    playbook.PlaybookFailed: _run_ended(RunStatus.FAILED),
    playbook.PlaybookCancelled: _run_ended(RunStatus.CANCELLED),
    tool.ToolExecutionRequested: _tool_requested,
    tool.ToolExecutionCompleted: _tool_completed,
    tool.ToolExecutionFailed: _tool_failed,
}
"""The closed list of what a run is told. Whatever comes late finds the run as it is now."""
