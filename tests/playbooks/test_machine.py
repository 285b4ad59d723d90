"""How does a run get from one state to the next? Its table, cell by cell, on playbooks of a few steps."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from sample_packs import DOMAIN, policy_for
from story import compiled, names

from sentinai.events.closing import ExceptionResolved
from sentinai.events.playbook import (
    PlaybookCancelled,
    PlaybookStepCompleted,
    PlaybookStepCompletionRequested,
    PlaybookStepFailed,
    PlaybookStepSkipped,
    PlaybookStepSkipRequested,
    PlaybookStepStarted,
)
from sentinai.events.policy import ApprovalExpired, ApprovalGranted, ApprovalRejected, ApprovalRequested, ApprovalVoted
from sentinai.events.tool import ToolExecutionCompleted, ToolExecutionFailed, ToolExecutionRequested
from sentinai.models.exception_record import ExceptionState, Status
from sentinai.models.run import ACTIVE, PlaybookRun, RunStatus, StepStatus, WaitsFor
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator.fold import blank
from sentinai.orchestrator.lifecycle import may_become
from sentinai.orchestrator.pipeline import CONSUMES
from sentinai.packs.effective import EffectiveConfig, Playbook
from sentinai.playbooks.evolve import REDUCERS, Origin, evolve
from sentinai.playbooks.ledger import evolve_calls
from sentinai.playbooks.machine import Env, advance, asked, stopped

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CALL = "call_tool, params: {tool: refundAgain, input: {}}"
NOTE = "add_comment, params: {text: hello}"
ASK = "request_approval, params: {reason: really?}"
CLOSE = "set_status, params: {status: RESOLVED, reason: done}"


def playbook(*steps: str) -> tuple[EffectiveConfig, Playbook]:
    """`name: action…` for each step."""
    text = "".join(f"      - {{name: {step.split(': ', 1)[0]}, action: {step.split(': ', 1)[1]}}}\n" for step in steps)
    head = "  - name: shred\n    match: {exceptionTypes: [LOST]}\n    steps:"
    domain = DOMAIN.replace(
        f"{head} [{{name: shred, action: call_tool, params: {{tool: shredFile, input: {{}}}}}}]\n", f"{head}\n{text}"
    )
    config = compiled(domain, policy_for("acme"))
    return config, next(p for p in config.playbooks if p.name == "shred")


class Machine:
    """An exception with a run of this playbook; `go` advances it and folds what was said."""

    def __init__(self, *steps: str, status: RunStatus = RunStatus.READY) -> None:
        self.config, self.playbook = playbook(*steps)
        self.state: ExceptionState = blank("acme", UUID(int=7))
        self.state.run = PlaybookRun("shred", 1, status)
        self.state.exception_type = "LOST"
        self.state.occurred_at = self.state.received_at = self.state.triaged_at = NOW
        self.state.status = Status.IN_PROGRESS

    def told(self, *bodies: Any, by: str = "agent:x") -> "Machine":
        for body in bodies:
            if type(body).__name__.startswith("ToolExecution"):
                self.state.calls = dict(evolve_calls(self.state.calls, body, self.state.exception_id, self.state.run))
            assert self.state.run is not None
            self.state.run = evolve(self.state.run, body, Origin(by, NOW))
            if isinstance(body, ExceptionResolved):
                self.state.status = Status.RESOLVED
            self.state.sequence += 1
        return self

    def go(self) -> list[Any]:
        said = advance(Env(self.state, self.config, self.playbook, NOW, may_become))
        self.told(*said)
        return said

    @property
    def run(self) -> PlaybookRun:
        assert self.state.run is not None
        return self.state.run

    @property
    def call(self) -> UUID:
        return UUID(list(self.state.calls)[-1])


def answer(machine: Machine, output: Any = None) -> ToolExecutionCompleted:
    return ToolExecutionCompleted(machine.call, "refundAgain", output, 1, "pay")


def failure(machine: Machine, status: str = "FAILED") -> ToolExecutionFailed:
    return ToolExecutionFailed(machine.call, "refundAgain", status, "no", 1, "pay")


def question(step: str | None = None, **more: Any) -> ApprovalRequested:
    return ApprovalRequested(UUID(int=50), "why", step, **more)


# ---- the run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [s for s in RunStatus if s not in (RunStatus.READY, RunStatus.RUNNING)])
def test_a_run_goes_on_in_two_of_its_states_only(status: RunStatus) -> None:
    assert Machine(f"note: {NOTE}", status=status).go() == []


def test_the_first_look_starts_it() -> None:
    assert names(Machine(f"pay: {CALL}").go()) == ["PlaybookStarted", "PlaybookStepStarted", "ToolExecutionRequested"]


def test_a_second_look_says_nothing() -> None:
    machine = Machine(f"pay: {CALL}")
    machine.go()
    assert machine.go() == []


@pytest.mark.parametrize("status", sorted(ACTIVE))
def test_the_one_door_ends_it_in_every_active_state(status: RunStatus) -> None:
    machine = Machine(f"pay: {CALL}", status=status)
    assert names(stopped(machine.state, "why")) == ["PlaybookCancelled"]


@pytest.mark.parametrize("status", [s for s in RunStatus if s not in ACTIVE])
def test_an_ended_run_is_not_ended_again(status: RunStatus) -> None:
    assert stopped(Machine(f"pay: {CALL}", status=status).state, "why") == []


def test_the_door_takes_calls_and_questions_with_it() -> None:
    machine = Machine(f"pay: {CALL}")
    machine.go()
    machine.told(question())
    said = stopped(machine.state, "why")
    assert names(said) == ["ApprovalWithdrawn", "ToolExecutionCalledOff", "PlaybookCancelled"]
    machine.told(*said)
    assert (machine.run.status, machine.run.steps["pay"].status) == ("CANCELLED", "FAILED")
    assert machine.state.calls[str(machine.call)].status == ExecutionStatus.CANCELLED


def test_what_comes_after_the_end_changes_nothing() -> None:
    machine = Machine(f"pay: {CALL}")
    machine.go()
    late = answer(machine)
    machine.told(PlaybookCancelled("shred", "why"))
    before = machine.run
    for body in (late, PlaybookStepCompletionRequested(1), question(), PlaybookStepCompleted("pay", 1, "call_tool")):
        machine.told(body)
        assert machine.run == before
    assert machine.go() == []


def test_a_run_whose_exception_is_resolved_is_complete_at_its_last_step() -> None:
    machine = Machine(f"close: {CLOSE}")
    assert names(machine.go())[-2:] == ["PlaybookStepCompleted", "PlaybookCompleted"]


def test_steps_after_the_resolution_are_done_too() -> None:
    machine = Machine(f"close: {CLOSE}", f"note: {NOTE}")
    assert [b.step for b in machine.go() if isinstance(b, PlaybookStepCompleted)] == ["close", "note"]


def test_a_run_that_ends_without_resolving_hands_over() -> None:
    said = Machine(f"note: {NOTE}").go()
    assert names(said)[-2:] == ["PlaybookCompleted", "ExceptionEscalated"]


# ---- questions about the run -----------------------------------------------------------------------------------------


def test_a_question_stops_it_wherever_it_is() -> None:
    machine = Machine(f"pay: {CALL}", f"close: {CLOSE}")
    machine.go()
    machine.told(*asked(machine.state, question()), answer(machine))
    said = machine.go()
    assert names(said) == ["PlaybookStepCompleted"], "the answer is taken in, and nothing begins"
    machine.told(ApprovalGranted(UUID(int=50)), by="user:ann/1")
    assert names(machine.go())[0] == "ExceptionResolved"


def test_a_new_question_makes_the_older_one_and_the_older_yes_void() -> None:
    machine = Machine(f"pay: {CALL}")
    machine.told(question(plan="p", reasons=["a"]), ApprovalGranted(UUID(int=50)))
    assert machine.run.yes is not None
    machine.told(question())
    assert machine.run.yes is None
    assert names(asked(machine.state, replace(question(), approval_id=UUID(int=51)))) == [
        "ApprovalWithdrawn",
        "ApprovalRequested",
    ]


def test_it_needs_as_many_votes_as_were_asked_for() -> None:
    machine = Machine(f"note: {NOTE}", status=RunStatus.AWAITING_APPROVAL).told(question(approvers=2))
    machine.told(ApprovalVoted(UUID(int=50)), by="user:ann/1")
    assert machine.go() == []
    assert machine.run.approval is not None
    assert machine.run.approval.votes == ["ann"]
    machine.told(ApprovalGranted(UUID(int=50)), by="user:bob/2")
    assert names(machine.go())[0] == "PlaybookStarted"
    assert machine.run.yes is not None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (ApprovalRejected(UUID(int=50), None, "no"), "rejected"),
        (ApprovalExpired(UUID(int=50), "ESCALATE"), "expired"),
        (ApprovalExpired(UUID(int=50), "REJECT"), "means no"),
    ],
)
def test_anything_but_a_yes_ends_it(said: Any, reason: str) -> None:
    machine = Machine(f"note: {NOTE}", status=RunStatus.AWAITING_APPROVAL).told(question())
    machine.told(said, by="user:ann/1")
    assert machine.run.status == RunStatus.AWAITING_APPROVAL, "nothing but the end can follow"
    found = machine.go()
    assert names(found) == ["PlaybookFailed", "ExceptionEscalated"]
    assert reason in found[0].reason


def test_an_answer_to_another_question_is_none() -> None:
    machine = Machine(f"note: {NOTE}", status=RunStatus.AWAITING_APPROVAL).told(question())
    machine.told(ApprovalGranted(UUID(int=99)))
    assert machine.go() == []


# ---- steps -----------------------------------------------------------------------------------------------------------


def test_a_step_whose_condition_does_not_hold_is_skipped() -> None:
    said = Machine(f"note: {NOTE}, when: 'severity == \"HIGH\"'").go()
    assert isinstance(said[1], PlaybookStepSkipped)


def test_a_condition_that_cannot_be_evaluated_skips_and_says_why() -> None:
    said = Machine(f"note: {NOTE}, when: 'normalizedContext.nothing.there == 1'").go()
    assert isinstance(said[1], PlaybookStepSkipped)
    assert said[1].reason != "its condition does not hold"


@pytest.mark.parametrize("kind", ["answered", "failed", "unknown"])
def test_what_comes_of_a_call(kind: str) -> None:
    machine = Machine(f"pay: {CALL}", f"close: {CLOSE}")
    machine.go()
    machine.told(
        {"answered": answer(machine, 5), "failed": failure(machine), "unknown": failure(machine, "UNKNOWN")}[kind]
    )
    said = names(machine.go())
    match kind:
        case "answered":
            assert said[0] == "PlaybookStepCompleted"
            assert machine.run.steps["pay"].output == 5
        case "failed":
            assert said == ["PlaybookStepFailed", "PlaybookFailed", "ExceptionEscalated"]
        case _:
            assert said == ["ExceptionEscalated"]
            assert machine.run.steps["pay"].waits_for is WaitsFor.PERSON
            machine.state.status = Status.ESCALATED
            assert machine.go() == [], "said once"


def test_a_failed_step_that_says_continue_is_passed() -> None:
    machine = Machine(f"pay: {CALL}, onFailure: CONTINUE", f"close: {CLOSE}")
    machine.go()
    machine.told(failure(machine))
    assert names(machine.go())[:2] == ["PlaybookStepFailed", "ExceptionResolved"]


@pytest.mark.parametrize("how", ["done", "skipped"])
def test_a_person_settles_a_step(how: str) -> None:
    machine = Machine(f"look: {NOTE}, mode: human", f"close: {CLOSE}")
    machine.go()
    assert machine.run.steps["look"].waits_for is WaitsFor.PERSON
    body: Any = (
        PlaybookStepCompletionRequested(1, 3, None, "look")
        if how == "done"
        else PlaybookStepSkipRequested(1, "no", "look")
    )
    machine.told(body, by="user:op/1")
    step = machine.run.steps["look"]
    assert (step.status, step.done_by) == (StepStatus.RUNNING, "op")
    machine.told(PlaybookStepCompletionRequested(1, 9, None, "look"), by="user:other/1")
    assert machine.run.steps["look"] == step, "the first answer counts"
    said = machine.go()
    assert isinstance(said[0], PlaybookStepCompleted if how == "done" else PlaybookStepSkipped)


def test_an_answer_by_order_is_one_of_an_older_version() -> None:
    machine = Machine(f"look: {NOTE}, mode: human")
    machine.go()
    assert machine.told(PlaybookStepCompletionRequested(2)).go() == []
    assert machine.told(PlaybookStepCompletionRequested(1)).go()


def test_a_step_that_asks_takes_a_vote_and_nothing_else() -> None:
    machine = Machine(f"ask: {ASK}", f"close: {CLOSE}")
    asked_for = next(b for b in machine.go() if isinstance(b, ApprovalRequested))
    machine.told(PlaybookStepCompletionRequested(1, None, None, "ask"), PlaybookStepSkipRequested(1, "x", "ask"))
    assert machine.go() == []
    machine.told(ApprovalGranted(asked_for.approval_id, "ask", "fine"), by="user:ann/1")
    assert machine.go()[0] == PlaybookStepCompleted("ask", 1, "request_approval", {"approved": True, "comment": "fine"})


def test_a_step_that_asks_does_so_also_where_a_pack_calls_it_human() -> None:
    said = Machine(f"ask: {ASK}, mode: human").go()
    assert [b.waits_for for b in said if isinstance(b, PlaybookStepStarted)] == [WaitsFor.APPROVAL]


def test_parameters_that_cannot_be_rendered_fail_the_step() -> None:
    said = Machine("note: add_comment, params: {text: '${normalizedContext.nothing}'}").go()
    assert isinstance(said[1], PlaybookStepFailed)


def test_two_equal_calls_of_one_playbook_have_two_keys() -> None:
    machine = Machine(f"pay: {CALL}", f"more: {CALL}")
    machine.go()
    first = machine.call
    machine.told(answer(machine, 1))
    (second,) = [b for b in machine.go() if isinstance(b, ToolExecutionRequested)]
    assert second.execution_id != first


def test_every_event_that_the_playbook_stage_hears_is_folded_into_the_run() -> None:
    heard = set(CONSUMES["playbook"]) - {"PlaybookMatched", "SLAExpired"}
    assert heard <= {kind.__name__ for kind in REDUCERS}
