"""How does a playbook run get from one event to the next? Pure: the run as it is, and what follows from it.

    run    READY ─▶ RUNNING ─▶ COMPLETED | FAILED | CANCELLED
           READY, RUNNING ─▶ AWAITING_APPROVAL ─ yes ─▶ READY, RUNNING        ─ no, expired ─▶ FAILED
    step   RUNNING ─▶ COMPLETED | SKIPPED | FAILED; a RUNNING step waits for one thing: a tool, an approval, a person

What a run is told - a tool's answer, a vote, a person's word - is folded into it (`evolve.py`) in the transaction in which
it is said. So `advance` needs no trigger: it looks at the run, and a notification that comes late, twice or after the end
can only find what the run says now. A run begins or goes on in two of its states and in no other (`GOES_ON`); a run that
waits for an approval leaves that state only through the votes it asked for, or by its end. From outside it is ended
through one door, `stopped`; a stricter policy asks through another, `asked`.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID, uuid5

import msgspec

from sentinai.errors import Conflict, Denied, Rejected
from sentinai.events.closing import ExceptionEscalated, ExceptionResolved
from sentinai.events.envelope import Body
from sentinai.events.playbook import (
    PlaybookCancelled,
    PlaybookCompleted,
    PlaybookFailed,
    PlaybookStarted,
    PlaybookStepCompleted,
    PlaybookStepFailed,
    PlaybookStepSkipped,
    PlaybookStepStarted,
)
from sentinai.events.policy import ApprovalRequested, ApprovalWithdrawn
from sentinai.events.tool import ToolExecutionCalledOff, ToolExecutionRequested
from sentinai.models.decision import Decision, Evidence, tried
from sentinai.models.exception_record import CLOSED, ExceptionState, Status
from sentinai.models.run import Answer, PlaybookRun, RunStatus, StepRun, StepStatus, WaitsFor
from sentinai.models.tool import OPEN, ExecutionStatus
from sentinai.packs.effective import EffectiveConfig, Playbook, Step
from sentinai.packs.expressions import Activation
from sentinai.packs.facts import playbook_activation
from sentinai.playbooks.action import ActionContext, Plan
from sentinai.playbooks.actions.catalog import BY_NAME
from sentinai.playbooks.evolve import Origin, evolve
from sentinai.playbooks.ledger import Calls, effect_of, evolve_calls, is_call_event, look_up
from sentinai.playbooks.plan import plan_of

GOES_ON = frozenset({RunStatus.READY, RunStatus.RUNNING})
BECOMES: dict[type[Body], Status] = {
    ExceptionResolved: Status.RESOLVED,
    ExceptionEscalated: Status.ESCALATED,
    ApprovalRequested: Status.AWAITING_APPROVAL,
    PlaybookStarted: Status.IN_PROGRESS,
}
"""Events that change the exception's status: the lifecycle table has to allow it."""
START, COMPLETE, ESCALATE = "START", "COMPLETE", "ESCALATE"


class Env(msgspec.Struct, frozen=True, gc=False):
    """What a run is looked at with."""

    state: ExceptionState
    config: EffectiveConfig
    playbook: Playbook
    now: datetime
    may_become: Callable[[Status, Status], bool]
    """The lifecycle table of exceptions."""


def advance(env: Env) -> list[Body]:
    """Everything that follows at once: answers taken in, steps begun until one waits, or the run's end."""
    if env.state.run is None or not env.state.run.active:
        return []
    progress = _Progress(env, env.state.run)
    failure = _take_in(progress) or _failure(env.playbook, progress.run)
    while failure is None and progress.goes_on:
        upcoming = _next(env.playbook, progress.run)
        if upcoming is None:
            _nothing_left(progress)
            break
        _begin(progress, *upcoming)
        failure = _failure(env.playbook, progress.run)
    if failure is not None and progress.run.active:
        _fail(progress, failure)
    return progress.said


def stopped(state: ExceptionState, reason: str) -> list[Body]:
    """The one door through which a run is ended from outside: its questions are withdrawn, its calls called off."""
    run = state.run
    if run is None or not run.active:
        return []
    return [*_given_up(run, state.calls, reason), PlaybookCancelled(run.playbook, reason)]


def asked(state: ExceptionState, question: ApprovalRequested) -> list[Body]:
    """Policy wants a yes that the run does not have: it waits for it, wherever it is. An older question is void."""
    run = state.run
    assert run is not None
    withdrawn: list[Body] = []
    if run.approval is not None:
        withdrawn = [ApprovalWithdrawn(run.approval.approval_id, "what was asked about has changed")]
    return [*withdrawn, question]


def called_off(calls: Calls, execution_id: UUID | None, reason: str) -> list[Body]:
    """What ends a step without its answer has to say of the step's call: no further attempt is wanted."""
    call = calls.get(str(execution_id))
    if execution_id is None or call is None or call.status not in OPEN:
        return []
    return [ToolExecutionCalledOff(execution_id, call.tool, reason, call.status is ExecutionStatus.RUNNING)]


class _Progress:
    """One advance: what was said so far, and the run, its calls and the exception's status after it."""

    def __init__(self, env: Env, run: PlaybookRun) -> None:
        self.env = env
        self.run = run
        self.calls: Calls = env.state.calls
        self.status = env.state.status
        self.said: list[Body] = []
        self._by = Origin("agent:playbook", env.now)
        self._facts: Activation | None = None

    def say(self, body: Body) -> None:
        self.said.append(body)
        if is_call_event(body):
            self.calls = evolve_calls(self.calls, body, self.env.state.exception_id, self.run)
        after = evolve(self.run, body, self._by)
        if after is not self.run:
            self.run, self._facts = after, None
        self.status = BECOMES.get(type(body), self.status)

    @property
    def facts(self) -> Activation:
        """The expressions' variables, built only if a step has an expression at all."""
        if self._facts is None:
            self._facts = playbook_activation(self.env.state, self.env.config, self.env.now, self.run)
        return self._facts

    @property
    def goes_on(self) -> bool:
        return self.run.status in GOES_ON and self.run.waiting is None

    def may_become(self, status: Status) -> bool:
        return self.env.may_become(self.status, status)


# ---- what the run was told -------------------------------------------------------------------------------------------


def _take_in(progress: _Progress) -> str | None:
    """Record the answer that the waiting step has; returns why the run has to end with it."""
    if progress.run.refused is not None:
        return progress.run.refused
    waiting = progress.run.waiting
    if waiting is None:
        return None
    path, step = waiting
    if step.answer is not None:
        _end_step(progress, path, step, step.answer)
        return step.answer.detail if step.answer.kind == "expired" else None
    if step.waits_for is WaitsFor.PERSON and step.execution_id and progress.may_become(Status.ESCALATED):
        progress.say(ExceptionEscalated([f"step {path} waits for a person: {step.detail}"]))
    return None


def _end_step(progress: _Progress, path: str, step: StepRun, answer: Answer) -> None:
    match answer.kind:
        case "done":
            progress.say(PlaybookStepCompleted(path, step.order, step.action, answer.output))
        case "skip":
            progress.say(PlaybookStepSkipped(path, step.order, answer.detail or ""))
        case _:
            _step_failed(progress, path, answer.detail or "", [])


def _failure(playbook: Playbook, run: PlaybookRun) -> str | None:
    """Why the run has to end: a step failed that does not say `onFailure: CONTINUE`."""
    for path, step in run.steps.items():
        if step.status is StepStatus.FAILED and _declared(playbook, path)[1].on_failure != "CONTINUE":
            return f"step {path} failed: {step.detail}"
    return None


def _declared(playbook: Playbook, path: str) -> tuple[int, Step]:
    """(order, step) at a path."""
    return next((n, step) for n, step in enumerate(playbook.steps, 1) if step.name == path)


# ---- what comes next -------------------------------------------------------------------------------------------------


def _next(playbook: Playbook, run: PlaybookRun) -> tuple[int, Step] | None:
    """(order, step) of the first step that was not begun; a step is never begun twice."""
    for order, step in enumerate(playbook.steps, 1):
        if step.name not in run.steps:
            return order, step
    return None


def _begin(progress: _Progress, order: int, step: Step) -> None:
    if progress.run.status is RunStatus.READY:
        names = [s.name for s in progress.env.playbook.steps]
        decision = _decision(START, f"step {step.name}", "policy lets it run", "no question is open")
        progress.say(PlaybookStarted(progress.run.playbook, progress.run.version, names, decision))
    evidence: list[Evidence] = []
    if step.when is not None:
        verdict = step.when.test(progress.facts)
        evidence.append(tried(f"step {step.name} when", verdict.matched, verdict.reason))
        if not verdict.matched:
            reason = verdict.reason or "its condition does not hold"
            progress.say(PlaybookStepSkipped(step.name, order, reason, evidence))
            return
    if step.mode == "human" and not BY_NAME[step.action].asks_people:
        progress.say(PlaybookStepStarted(step.name, order, step.action, "human", evidence, WaitsFor.PERSON))
        return
    try:
        plan = _plan(progress, step)
    except (Rejected, Denied, Conflict) as error:
        _step_failed(progress, step.name, error.message, evidence, order)
        return
    _carry_out(progress, order, step, plan, evidence)


def _plan(progress: _Progress, step: Step) -> Plan:
    env = progress.env
    params = step.literal_params if step.params.constant else step.params.render(progress.facts)
    new_id = partial(uuid5, env.state.exception_id, f"{env.state.sequence}:{step.name}")
    plan = BY_NAME[step.action].run(ActionContext(step, env.state, env.config, new_id, env.now), params)
    for event in plan.events:
        wanted = BECOMES.get(type(event))
        if wanted is not None and not progress.may_become(wanted):
            raise Conflict(f"the exception is {progress.status}; it cannot become {wanted}")
    return plan


def _carry_out(progress: _Progress, order: int, step: Step, plan: Plan, evidence: list[Evidence]) -> None:
    """Record what a step's action planned. A call of a tool goes past the ledger first."""
    for event in plan.events:
        if isinstance(event, ToolExecutionRequested) and event.step is not None:
            _call(progress, order, step, event, evidence)
            return
    if plan.instant:
        for event in plan.events:
            progress.say(event)
        progress.say(PlaybookStepCompleted(step.name, order, step.action, plan.output, evidence))
        return
    progress.say(PlaybookStepStarted(step.name, order, step.action, "auto", evidence, WaitsFor.APPROVAL))
    for event in plan.events:
        if isinstance(event, ApprovalRequested):  # a yes is bound to the plan that it was shown with
            bound_to = plan_of(progress.env.config, progress.env.playbook, progress.env.state)
            event = msgspec.structs.replace(event, plan=bound_to)  # noqa: PLW2901
        progress.say(event)


def _call(
    progress: _Progress, order: int, step: Step, request: ToolExecutionRequested, evidence: list[Evidence]
) -> None:
    env = progress.env
    effect = effect_of(env.state.exception_id, request.tool, request.input)
    known = look_up(progress.calls, progress.run, effect, idempotent=env.config.tools[request.tool].idempotent)
    started = PlaybookStepStarted(step.name, order, step.action, "auto", evidence, WaitsFor.TOOL)
    match known.what:
        case "done":
            evidence.append(Evidence("called before", "applied", f"answer of execution {known.execution_id}"))
            progress.say(
                PlaybookStepCompleted(step.name, order, step.action, known.output, evidence, known.execution_id)
            )
        case "open":
            evidence.append(Evidence("called before", "applied", f"execution {known.execution_id} is under way"))
            progress.say(msgspec.structs.replace(started, execution_id=known.execution_id))
        case "unknown":
            detail = f"execution {known.execution_id} may have been done; find out, then complete or skip the step"
            evidence.append(Evidence("called before", "applied", detail))
            waiting = msgspec.structs.replace(started, execution_id=known.execution_id, waits_for=WaitsFor.PERSON)
            progress.say(waiting)
            if progress.may_become(Status.ESCALATED):
                progress.say(ExceptionEscalated([f"step {step.name} waits for a person: {detail}"]))
        case "new":
            key = None if known.key == known.execution_id else known.key
            progress.say(started)
            progress.say(msgspec.structs.replace(request, execution_id=known.execution_id, key=key))


def _step_failed(
    progress: _Progress, path: str, error: str, evidence: list[Evidence], order: int | None = None
) -> None:
    number, step = _declared(progress.env.playbook, path)
    progress.say(PlaybookStepFailed(path, order or number, error, step.on_failure, evidence))


# ---- the end ---------------------------------------------------------------------------------------------------------


def _nothing_left(progress: _Progress) -> None:
    """The last step is over: done, if the exception is closed or a person has it already; else a person takes it."""
    run = progress.run
    if progress.run.status is RunStatus.READY:
        names = [s.name for s in progress.env.playbook.steps]
        progress.say(PlaybookStarted(run.playbook, run.version, names, _decision(START, "none", "policy lets it run")))
    if progress.status in CLOSED or progress.status is Status.ESCALATED:
        progress.say(PlaybookCompleted(run.playbook, _decision(COMPLETE, "none", "no step is left")))
        return
    reason = f"playbook {run.playbook} ended without resolving"
    progress.say(PlaybookCompleted(run.playbook, _decision(ESCALATE, "none", "no step is left")))
    if progress.may_become(Status.ESCALATED):
        progress.say(ExceptionEscalated([reason]))


def _fail(progress: _Progress, reason: str) -> None:
    run = progress.run
    for body in _given_up(run, progress.calls, reason):
        progress.say(body)
    progress.say(PlaybookFailed(run.playbook, reason, _decision(ESCALATE, "none", f"ended: {reason}")))
    if progress.may_become(Status.ESCALATED):
        progress.say(ExceptionEscalated([reason]))


def _given_up(run: PlaybookRun, calls: Calls, reason: str) -> list[Body]:
    """What ends with a run: open questions, and the calls that its steps wait for."""
    questions = [ApprovalWithdrawn(approval.approval_id, reason) for approval in run.approvals]
    execution_id = run.waiting[1].execution_id if run.waiting is not None else None
    return [*questions, *called_off(calls, execution_id, reason)]


def _decision(what: str, next_step: str, *rules: str) -> Decision:
    return Decision("resolution", what, 1.0, [Evidence(rule, "matched") for rule in rules], next_step)
