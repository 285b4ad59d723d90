"""Which calls has an exception caused, and may this effect be asked for (again)?

An effect is a tool with an input. The n-th use of an effect within a run has the same idempotency key in every run, so a
playbook that begins anew - recalculated, reopened, another version - finds what was done before instead of doing it again.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias, TypeGuard, get_args
from uuid import UUID, uuid5

from msgspec.structs import replace

from sentinai.events.envelope import Body
from sentinai.events.tool import (
    ToolExecutionCalledOff,
    ToolExecutionCompleted,
    ToolExecutionFailed,
    ToolExecutionRequested,
    ToolExecutionRetryScheduled,
    ToolExecutionStarted,
)
from sentinai.models.json import Json
from sentinai.models.run import PlaybookRun
from sentinai.models.tool import OPEN, Call, ExecutionStatus
from sentinai.packs.content_hash import content_hash

Calls = Mapping[str, Call]
CallEvent: TypeAlias = (
    ToolExecutionRequested
    | ToolExecutionStarted
    | ToolExecutionRetryScheduled
    | ToolExecutionCalledOff
    | ToolExecutionCompleted
    | ToolExecutionFailed
)
CALL_EVENTS: frozenset[type[CallEvent]] = frozenset(get_args(CallEvent))


def is_call_event(body: Body) -> TypeGuard[CallEvent]:
    return type(body) in CALL_EVENTS


def effect_of(exception_id: UUID, tool: str, content: Json) -> UUID:
    return uuid5(exception_id, f"{tool}:{content_hash({'input': content})}")


def evolve_calls(calls: Calls, body: CallEvent, exception_id: UUID, run: PlaybookRun | None) -> Calls:
    """The ledger after an event; `run` is the one before it. Notifications are not steps' calls and are not in it."""
    if isinstance(body, ToolExecutionRequested):
        if body.channel or body.step is None:
            return calls
        effect = effect_of(exception_id, body.tool, body.input)
        return {**calls, str(body.execution_id): Call(body.tool, effect, body.key or body.execution_id)}
    call = calls.get(str(body.execution_id))
    if call is not None and call.settled:
        return calls
    if isinstance(body, ToolExecutionCompleted):
        return _changed(calls, body.execution_id, status=ExecutionStatus.SUCCEEDED, output=_untaken(run, body))
    if isinstance(body, ToolExecutionCalledOff) and body.under_way:
        return calls
    return _changed(calls, body.execution_id, status=_status_after(body))


def _status_after(
    body: ToolExecutionStarted | ToolExecutionRetryScheduled | ToolExecutionCalledOff | ToolExecutionFailed,
) -> ExecutionStatus:
    match body:
        case ToolExecutionStarted():
            return ExecutionStatus.RUNNING
        case ToolExecutionRetryScheduled():
            return ExecutionStatus.REQUESTED
        case ToolExecutionCalledOff():
            return ExecutionStatus.CANCELLED
    return ExecutionStatus(body.status)


def settled_by_hand(calls: Calls, execution_id: UUID) -> Calls:
    """A person said that the call's effect is done: found out, or brought about by hand. No word of the tool undoes that."""
    return _changed(calls, execution_id, status=ExecutionStatus.SUCCEEDED, settled=True)


def keep_outputs(calls: Calls, run: PlaybookRun | None) -> Calls:
    """Before a run's steps are dropped, the ledger takes what their calls gave."""
    for step in run.steps.values() if run is not None else ():
        call = calls.get(str(step.execution_id)) if step.execution_id else None
        if call is not None and call.status is ExecutionStatus.SUCCEEDED and call.output is None:
            output = step.answer.output if step.answer is not None else step.output
            calls = _changed(calls, step.execution_id, output=output)
    return calls


def _untaken(run: PlaybookRun | None, body: ToolExecutionCompleted) -> Json:
    """The output, unless a step waits for it and keeps it."""
    waiting = run.waiting if run is not None and run.active else None
    return None if waiting is not None and waiting[1].execution_id == body.execution_id else body.output


def _changed(calls: Calls, execution_id: UUID | None, **values: object) -> Calls:
    name = str(execution_id)
    call = calls.get(name)
    return calls if call is None else {**calls, name: replace(call, **values)}


class Lookup(NamedTuple):
    """What the ledger says about an effect that a step asks for."""

    what: Literal["new", "open", "unknown", "done"]
    """Ask for it; wait for the call that is open; a person has to look; take the output that is there."""
    execution_id: UUID
    key: UUID
    output: Json = None


def look_up(calls: Calls, run: PlaybookRun, effect: UUID, *, idempotent: bool) -> Lookup:
    """For the next use of the effect in this run.

    An effect that surely was not done may be asked for again, and so may one of an idempotent tool that was: under the
    same key, the tool does nothing twice.
    """
    keys = list(dict.fromkeys(call.key for call in calls.values() if call.effect == effect))
    used = {call.key for call in _of_run(calls, run) if call.effect == effect}
    free = [key for key in keys if key not in used]
    key = free[0] if free else uuid5(effect, str(len(keys)))
    under_key = [(UUID(name), call) for name, call in calls.items() if call.key == key]
    if under_key:
        execution_id, call = under_key[-1]
        if call.status in OPEN:
            return Lookup("open", execution_id, key)
        if call.status is ExecutionStatus.UNKNOWN:
            return Lookup("unknown", execution_id, key)
        if call.status is ExecutionStatus.SUCCEEDED and (call.settled or not idempotent):
            return Lookup("done", execution_id, key, call.output)
    return Lookup("new", uuid5(key, str(len(under_key))) if under_key else key, key)


def _of_run(calls: Calls, run: PlaybookRun) -> list[Call]:
    bound = [str(step.execution_id) for step in run.steps.values() if step.execution_id is not None]
    return [calls[name] for name in bound if name in calls]
