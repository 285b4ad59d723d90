"""Is there any path from a demanded approval to an automatic action without its votes? Every state within reach is visited.

The search plays everything that can happen next - events delivered late, people, tools, time - and judges each history by
rules of its own, which know nothing of the machine. Faults planted into the machine have to be found.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sample_packs import DOMAIN, policy_for
from story import compiled, payment

from sentinai.errors import SentinaiError
from sentinai.events.envelope import Event
from sentinai.events.intake import ExceptionIngested
from sentinai.models.actor import subject_of
from sentinai.models.run import RunStatus
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator import judgement, people
from sentinai.orchestrator.people import StepDone
from sentinai.orchestrator.pipeline import CONSUMER_OF
from sentinai.orchestrator.replay import Replay
from sentinai.orchestrator.stages import calls, policy
from sentinai.packs.effective import TenantConfiguration
from sentinai.playbooks import evolve, machine

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
STATES_MAX = 2_500
"""Visited of each world; twenty times as many in the long run."""
LOOK_PAY = DOMAIN.replace(
    "      - {name: close, action: set_status, params: {status: RESOLVED, reason: written off}}",
    "      - {name: pay, action: call_tool, params: {tool: refundAgain, input: {id: '${normalizedContext.paymentId}'}}}\n"
    "      - {name: close, action: set_status, params: {status: RESOLVED, reason: written off}}",
)
WORSE = "    retriageOnRecurrence: true\n"
RISING = LOOK_PAY.replace(
    "    severity: HIGH\n    detectionRules: [{id: refund",
    f"    severity: HIGH\n{WORSE}    detectionRules: [{{id: refund",
).replace("'occurrences >= 5', severity: HIGH", "'occurrences >= 2', severity: CRITICAL")
TWO_VOTES = policy_for("acme").replace(
    "humanApprovalRules:\n", "humanApprovalRules:\n  - {id: crit, severity: CRITICAL, approvers: 2, expiresAfter: 1h}\n"
)
A_YES_FOR_LESS = TWO_VOTES.replace(
    "humanApprovalRules:\n", "humanApprovalRules:\n  - {id: high, severity: HIGH, approvers: 1, expiresAfter: 1h}\n"
)
WORLDS = {
    "a call that gets worse": (RISING, TWO_VOTES, "refund_stuck"),
    "critical from the start": (RISING, TWO_VOTES, "chargeback"),
    "a yes for less": (RISING, A_YES_FOR_LESS, "refund_stuck"),
    "a person, a question, a call": (LOOK_PAY, policy_for("acme"), "review"),
}


AUTOMATIC = {"OwnerAssigned", "CommentAdded", "ExceptionResolved"}
"""What a playbook does by itself, beside calls of tools."""


class World:
    """A replay, and what may still happen in it; each thing only so often, so that the search has an end."""

    def __init__(self, domain: str, policy_text: str, code: str) -> None:
        config = compiled(domain, policy_text)
        self.replay = Replay(TenantConfiguration("acme", 1, False, (config,), frozenset()), NOW)
        self.payload = payment(code=code)
        self.id = self.replay.report(ExceptionIngested("psp", self.payload))
        self.budget = {"again": 1, "escalate": 1, "resolve": 1, "reopen": 1, "recalculate": 1, "time": 1}
        self.path: list[str] = []

    def fork(self) -> "World":
        other = copy.copy(self)
        other.budget, other.path = dict(self.budget), list(self.path)
        replay = other.replay = copy.copy(self.replay)
        replay.events = {key: list(events) for key, events in replay.events.items()}
        replay.waiting, replay._first, replay._numbers = (
            list(replay.waiting),
            dict(replay._first),
            copy.copy(replay._numbers),
        )
        replay._tracked = {key: _copied(tracked) for key, tracked in replay._tracked.items()}
        return other

    def key(self) -> tuple[Any, ...]:
        """What matters of a state: times, ids and numbers of events do not."""
        state = self.replay.state(self.id)
        run = state.run
        steps = (
            [(p, s.status, s.waits_for, s.answer and s.answer.kind, bool(s.approval)) for p, s in run.steps.items()]
            if run
            else []
        )
        asked = [(a.step, a.reasons, a.votes) for a in state.approvals]
        seen = (
            state.status,
            state.severity,
            state.taken_over,
            state.involved,
            run and (run.status, run.yes and run.yes.reasons, run.refused),
        )
        called = [(c.tool, c.status) for c in state.calls.values()]
        started = sum(e.type == "ToolExecutionStarted" for e in self.replay.events[self.id])
        waiting = [e.type for e in self.replay.waiting]
        stale = state.learnt_at > state.judged_at
        return (*map(repr, (seen, steps, asked, called, started, waiting, self.budget, stale, self.replay.now)),)

    # ---- what may happen next ----------------------------------------------------------------------------------------

    def moves(self) -> Iterator[tuple[str, Callable[["World"], None]]]:
        first: dict[str, Event] = {}
        for event in self.replay.waiting:
            first.setdefault(CONSUMER_OF[event.type], event)
        for consumer, event in first.items():
            yield f"{consumer} handles {event.type}", lambda w, e=event: w.replay.handle(e)  # type: ignore[misc]
        yield from self._people()
        yield from self._calls()
        if self.budget["again"] and self.replay.state(self.id).triaged_at:
            yield (
                "reported again",
                lambda w: w._spend("again", lambda: w.replay.report(ExceptionIngested("psp", w.payload))),
            )
        if self.budget["time"]:
            for hours in (2, 5):
                yield (
                    f"{hours} hours pass",
                    lambda w, h=hours: w._spend("time", lambda: w.replay.tick(NOW + timedelta(hours=h))),
                )  # type: ignore[misc]

    def _people(self) -> Iterator[tuple[str, Callable[["World"], None]]]:
        state = self.replay.state(self.id)
        for approval in state.approvals:
            for subject in ("ann", "bob", "op", "reporter"):
                yield f"{subject} approves", _person(subject, people.approve, approval.approval_id, None)
            yield "ann rejects", _person("ann", people.reject, approval.approval_id, None)
        waiting = state.run.waiting if state.run else None
        if waiting is not None:
            for subject in ("op", "ann"):
                yield f"{subject} completes", _person(subject, people.complete, StepDone(waiting[0], {}, None))
            yield "op skips", _person("op", people.skip, waiting[0], "no")
        for name, act, values in (
            ("escalate", people.escalate, ("mine", None)),
            ("resolve", people.resolve, ("done",)),
            ("reopen", people.reopen, ("again",)),
            ("recalculate", people.recalculate, (None,)),
        ):
            if self.budget[name]:
                yield name, lambda w, n=name, a=act, v=values: w._spend(n, lambda: _person("op", a, *v)(w))  # type: ignore[misc]

    def _calls(self) -> Iterator[tuple[str, Callable[["World"], None]]]:
        for name, call in self.replay.state(self.id).calls.items():
            execution = UUID(name)
            if call.status is ExecutionStatus.REQUESTED:
                yield "attempt", lambda w, e=execution: w.replay.attempt(w.id, e)  # type: ignore[misc]
            elif call.status is ExecutionStatus.RUNNING:
                yield "succeeds", lambda w, e=execution: w.replay.answer(w.id, e, {})  # type: ignore[misc]
                yield "fails", lambda w, e=execution: w.replay.fail(w.id, e, "no")  # type: ignore[misc]
                yield "unknown", lambda w, e=execution: w.replay.fail(w.id, e, "?", ExecutionStatus.UNKNOWN)  # type: ignore[misc]

    def _spend(self, what: str, act: Callable[[], Any]) -> None:
        self.budget[what] -= 1
        act()


def _person(subject: str, act: Any, *values: Any) -> Callable[[World], None]:
    return lambda world: world.replay.person(world.id, subject, lambda state, who: act(state, who, *values)) and None


def _copied(tracked: Any) -> Any:
    state = copy.copy(tracked.state)
    state.sla = copy.copy(state.sla)
    return msgspec.structs.replace(tracked, state=state)


# ---- the judge -------------------------------------------------------------------------------------------------------

ANEW = ("PlaybookRecalculationRequested", "ExceptionReopened")
BY_HAND = ("ExceptionEscalated", "ExceptionResolved", "PlaybookRecalculationRequested", "ExceptionReopened")


def violation(events: list[Event], since: int) -> str | None:
    """What is wrong with the automatic actions from event number `since` on."""
    for at in range(since, len(events)):
        event = events[at]
        automatic = event.actor == "agent:playbook" and event.type in AUTOMATIC
        if (event.type == "ToolExecutionStarted" or automatic) and (wrong := _judged(events[:at], event)):
            return f"{event.type} at {event.sequence}: {wrong}"
    return None


def _judged(past: list[Event], action: Event) -> str | None:
    matched = max((n for n, e in enumerate(past) if e.type == "PlaybookMatched"), default=None)
    if matched is None:
        return "no playbook was matched"
    since = past[matched:]
    decided_anew = max((n for n, e in enumerate(past) if e.type in ANEW), default=-1)
    for event in past[decided_anew + 1 :]:
        taken = event.type in ("ExceptionEscalated", "ExceptionResolved") and subject_of(event.actor)
        if taken or (event.type == "ApprovalRejected" and event.body.step is None):
            return f"{event.type} by a person, and nobody had it decided anew"
    with_people = False
    for event in since:
        if event.type in BY_HAND and subject_of(event.actor):
            return f"{event.type} by a person came after the match"
        with_people = with_people or event.type == "ExceptionEscalated"
        if event.type == "SLAExpired" and not with_people:  # people who settle a call go on after the deadline, too
            return f"{event.type} came after the match"
    severity = [e.body.severity for e in past if e.type == "TriageCompleted"][-1]
    if severity == "CRITICAL" and (wrong := _granted(past, since)):
        return wrong
    playbook = past[matched].body.playbook
    if playbook == "review" and action.type != "CommentAdded" and not _step_granted(past):
        return "the step that asks was not answered with yes"
    return _twice(past, action) if action.type == "ToolExecutionStarted" else None


def _granted(past: list[Event], since: list[Event]) -> str | None:
    """CRITICAL needs the last question about the run to be answered with enough votes, for that reason."""
    asked = [e for e in since if e.type == "ApprovalRequested" and e.body.step is None]
    if not asked or not any("CRITICAL" in reason for reason in asked[-1].body.reasons):
        return "CRITICAL, and nobody was asked about that"
    approval = asked[-1].body.approval_id
    votes = [e for e in since if e.type in ("ApprovalVoted", "ApprovalGranted") and e.body.approval_id == approval]
    voters = {subject_of(e.actor) for e in votes}
    if not any(e.type == "ApprovalGranted" for e in votes) or len(voters) < 2:
        return f"CRITICAL with the votes of {sorted(map(str, voters))}"
    involved = {subject_of(e.actor) for e in past[: past.index(votes[-1])] if e.type in INVOLVING}
    return f"{voters & involved} answered their own question" if voters & involved else None


INVOLVING = (
    "ExceptionIngested", "PlaybookRecalculationRequested", "ExceptionReopened", "PlaybookStepCompletionRequested",
    "PlaybookStepSkipRequested",
)  # fmt: skip


def _step_granted(past: list[Event]) -> bool:
    granted = [e for e in past if e.type == "ApprovalGranted" and e.body.step == "ask"]
    doers = {
        subject_of(e.actor) for e in past if e.type in ("PlaybookStepCompletionRequested", "PlaybookStepSkipRequested")
    }
    return (
        any(subject_of(e.actor) not in {"reporter"} for e in granted)
        and bool(granted)
        and not ({subject_of(e.actor) for e in granted} & doers & {"reporter"})
    )


def _twice(past: list[Event], action: Event) -> str | None:
    """What is not idempotent is not begun again unless the attempt before surely did nothing."""
    ends = {e.body.execution_id: e.body.status for e in past if e.type == "ToolExecutionFailed"}
    before = [e.body.execution_id for e in past if e.type == "ToolExecutionStarted" and e.body.tool == action.body.tool]
    return next((f"begun before as {b}, which did not surely fail" for b in before if ends.get(b) != "FAILED"), None)


# ---- the search ------------------------------------------------------------------------------------------------------


def search(world: World, states_max: int) -> tuple[str | None, int]:
    """The first violation with its path, in breadth, and how many states were visited."""
    seen, todo = {world.key()}, deque([world])
    while todo and len(seen) < states_max:
        here = todo.popleft()
        for name, move in here.moves():
            there = here.fork()
            there.path.append(name)
            mark = len(there.replay.events[there.id])
            try:
                move(there)
            except SentinaiError:
                continue
            if (wrong := violation(there.replay.events[there.id], mark)) is not None:
                return f"{wrong}\n  " + "\n  ".join(there.path), len(seen)
            if (key := there.key()) not in seen:
                seen.add(key)
                todo.append(there)
    return None, len(seen)


def begun(name: str) -> World:
    """As far as the stages come by themselves, but with what they are about to hear still waiting."""
    world = World(*WORLDS[name])
    while world.replay.waiting and not world.replay.state(world.id).triaged_at:
        world.replay.handle(world.replay.waiting[0])
    return world


@pytest.mark.parametrize("name", WORLDS)
def test_no_path_leads_past_a_demanded_approval(name: str) -> None:
    found, visited = search(begun(name), STATES_MAX)
    assert found is None, found
    assert visited >= STATES_MAX


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_nor_does_any_longer_path(name: str) -> None:
    found, _ = search(begun(name), STATES_MAX * 20)
    assert found is None, found


def _begins_while_it_waits_for_an_approval(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "GOES_ON", frozenset({RunStatus.READY, RunStatus.RUNNING, RunStatus.AWAITING_APPROVAL}))


def _takes_any_yes_for_every_plan(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(judgement, "_covered", lambda situation, _: situation.state.run.yes is not None)


def _lets_every_attempt_begin(patch: pytest.MonkeyPatch) -> None:
    def begin(_situation: Any, attempt: Any) -> Any:
        from sentinai.events.tool import ToolExecutionStarted

        return calls.Gate("go", [ToolExecutionStarted(attempt.execution_id, attempt.tool, attempt.number)])

    patch.setattr(calls, "begin", begin)


def _forgets_the_ledger_of_calls(patch: pytest.MonkeyPatch) -> None:
    plain = machine.look_up
    patch.setattr(machine, "look_up", lambda _calls, run, effect, **more: plain({}, run, effect, **more))


def _forgets_who_took_over(patch: pytest.MonkeyPatch) -> None:
    plain = policy.STAGE.decide

    def decide(occasion: Any, known: Any) -> Any:
        occasion.state.taken_over = False
        return plain(occasion, known)

    from sentinai.orchestrator.stages import catalog

    patch.setitem(catalog.BY_NAME, "policy", replace(policy.STAGE, decide=decide))


def _counts_one_vote_as_enough(patch: pytest.MonkeyPatch) -> None:
    plain = evolve.REDUCERS
    voted = evolve._granted

    def counted(run: Any, body: Any, said: Any) -> Any:
        return voted(run, body, said)

    from sentinai.events.policy import ApprovalVoted

    patch.setattr(evolve, "REDUCERS", {**plain, ApprovalVoted: counted})


PLANTED = {
    _begins_while_it_waits_for_an_approval: "critical from the start",
    _takes_any_yes_for_every_plan: "a yes for less",
    _lets_every_attempt_begin: "a call that gets worse",
    _forgets_the_ledger_of_calls: "a call that gets worse",
    _forgets_who_took_over: "critical from the start",
    _counts_one_vote_as_enough: "critical from the start",
}


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_fault_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found, _ = search(begun(PLANTED[plant]), STATES_MAX * 20)
    assert found is not None
