"""What does each event change in the state of its exception, and what does it leave as it was?"""

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from story import CONFIG, DECIDED, NOW, By, Story, given, ingested, normalized, payment, triaged

from sentinai.events import closing, control, feedback, intake, playbook, policy, sla, tool
from sentinai.events.catalog import BY_NAME, decode
from sentinai.events.envelope import Event
from sentinai.models.approval import Approval
from sentinai.models.exception_record import CLOSED, FOLD, ExceptionState, SlaTimes, Status
from sentinai.models.run import PlaybookRun, RunStatus, StepRun
from sentinai.models.tool import Call, ExecutionStatus
from sentinai.orchestrator.fold import _REDUCERS, apply, blank, fold, is_closed
from sentinai.orchestrator.stages.timers import due
from sentinai.playbooks.evolve import REDUCERS as RUN_REDUCERS
from sentinai.playbooks.ledger import CALL_EVENTS, effect_of

ID, OTHER, CALL, ASKED = UUID(int=7), UUID(int=99), UUID(int=50), UUID(int=60)
EARLIER = datetime(2026, 1, 30, tzinfo=UTC)
DEADLINE = NOW + timedelta(hours=4)
WARNING = NOW + timedelta(hours=3)

KEPT = {"sequence", "hash", "updated_at"}
"""What every event moves on."""


def evaluated(outcome: str = "APPROVED", reasons: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> Any:
    return policy.PolicyEvaluated(DECIDED, outcome, list(reasons), list(tags))


def asked(approval_id: UUID = ASKED, step: str | None = None, **more: Any) -> policy.ApprovalRequested:
    return policy.ApprovalRequested(approval_id, "why", step, **more)


def started(name: str = "refund") -> playbook.PlaybookStarted:
    return playbook.PlaybookStarted(name, 1, ["again", "close"], DECIDED)


NEW = (ingested(), normalized())
TRIAGED = (*NEW, triaged("REFUND_STUCK", "HIGH"))
TIMED = (*NEW, triaged("REFUND_STUCK", "HIGH", resolve_by=DEADLINE, warn_at=WARNING))
MATCHED = (*TRIAGED, evaluated(), policy.PlaybookMatched("refund", 1))
QUESTIONED = (*TRIAGED, evaluated("NEEDS_APPROVAL", ("so",)), policy.PlaybookMatched("refund", 1), asked())
RUNNING = (*MATCHED, started())
STEP = playbook.PlaybookStepStarted("again", 1, "call_tool")
REQUEST = tool.ToolExecutionRequested(CALL, "refundAgain", {"id": "p1"}, "again")
CALLING = (*RUNNING, STEP, REQUEST)
LOST = (
    *CALLING,
    tool.ToolExecutionStarted(CALL, "refundAgain", 1),
    tool.ToolExecutionFailed(CALL, "refundAgain", "UNKNOWN", "?", 1, "again"),
)
EFFECT = effect_of(ID, "refundAgain", {"id": "p1"})
COMPLETION = playbook.PlaybookStepCompletionRequested(1, {"ref": 1}, None, "again")
SKIPPED = playbook.PlaybookStepSkipRequested(1, "no", "again")
RUN = PlaybookRun("refund", 1)


def changed(past: tuple[Any, ...], said: Any) -> dict[str, Any]:
    """The fields that this event changes after those, with what they become."""
    story = given(*past)
    before = copy.deepcopy(story.state)
    story.given(said)
    names = [n for n in ExceptionState.__struct_fields__ if n not in KEPT]
    return {n: getattr(story.state, n) for n in names if getattr(story.state, n) != getattr(before, n)}


def after(*past: Any) -> ExceptionState:
    return given(*past).state


# ---- one event at a time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("past", "said", "found"),
    [
        (
            (),
            By("agent:shop", intake.ExceptionIngested("psp", {"a": 1}, "LOST", "payments", "e-1", EARLIER)),
            {
                "source_system": "psp", "raw_payload": {"a": 1}, "declared_type": "LOST", "declared_domain": "payments",
                "external_id": "e-1", "occurred_at": EARLIER, "received_at": NOW, "last_seen_at": NOW,
            },
        ),
        (
            (),
            intake.ExceptionSplitOff("psp", {"a": 1}, OTHER, 2, "LOST", "e-1#2", "shop"),
            {
                "source_system": "psp", "raw_payload": {"a": 1}, "declared_type": "LOST", "external_id": "e-1#2",
                "split_from": OTHER, "occurred_at": NOW, "received_at": NOW, "last_seen_at": NOW, "involved": ["shop"],
            },
        ),
        (
            (ingested(),),
            intake.ExceptionNormalized(DECIDED, "payments", "psp", {"a": 1}, {"item": 1}, "k", "Title", EARLIER),
            {
                "domain": "payments", "source": "psp", "normalized_context": {"a": 1}, "raw_payload": {"item": 1},
                "dedup_key": "k", "title": "Title", "occurred_at": EARLIER, "config_hash": CONFIG.hash, "learnt_at": 2,
            },
        ),
        (NEW, intake.ExceptionRecurred(3, OTHER, "psp", "bob"), {"occurrences": 3, "learnt_at": 3, "involved": ["reporter", "bob"]}),
        (NEW, intake.ExceptionMerged(OTHER, DECIDED), {"status": "MERGED", "merged_into": OTHER, "reason": f"repeats {OTHER}"}),
        (
            NEW,
            triaged("LOST", "HIGH", 0.7, priority_score=9, title="T", tags=["a"], queue="q", resolve_by=DEADLINE, warn_at=WARNING),
            {
                "exception_type": "LOST", "severity": "HIGH", "confidence": 0.7, "priority_score": 9, "title": "T",
                "tags": ["a"], "queue": "q", "triaged_at": NOW, "learnt_at": 3, "sla": SlaTimes(DEADLINE, WARNING, DEADLINE),
            },
        ),
        (
            TRIAGED,
            evaluated("BLOCKED", ("so",), ("eu",)),
            {"policy_outcome": "BLOCKED", "policy_tags": ["eu"], "judged_at": 4},
        ),
        ((*TRIAGED, evaluated()), policy.PlaybookMatched("refund", 1), {"run": RUN}),
        (MATCHED, started(), {"status": "IN_PROGRESS", "run": msgspec.structs.replace(RUN, status=RunStatus.RUNNING, started_at=NOW)}),
        (NEW, By("agent:playbook", playbook.OwnerAssigned("desk")), {"owner": "desk"}),
        (NEW, By("user:ann", playbook.OwnerAssigned("ann")), {"owner": "ann", "owner_kept": True, "human_touched": True}),
        (NEW, playbook.StatusChanged("IN_PROGRESS", "begun"), {"status": "IN_PROGRESS", "reason": "begun"}),
        (NEW, closing.ExceptionResolved("done"), {"status": "RESOLVED", "reason": "done", "resolved_at": NOW}),
        (TIMED, closing.ExceptionResolved("done"), {"status": "RESOLVED", "reason": "done", "resolved_at": NOW, "sla": SlaTimes(DEADLINE)}),
        (NEW, closing.ExceptionEscalated(["a", "b"], "q"), {"status": "ESCALATED", "reason": "a; b", "queue": "q"}),
        (
            NEW,
            By("user:ann", closing.ExceptionEscalated(["mine"])),
            {"status": "ESCALATED", "reason": "mine", "taken_over": True, "human_touched": True},
        ),
        (
            (*MATCHED, closing.ExceptionResolved("done")),
            By("user:ann", closing.ExceptionReopened("again")),
            {
                "status": "OPEN", "reason": "again", "resolved_at": None, "run": None,
                "involved": ["reporter", "ann"], "human_touched": True,
            },
        ),
        (
            (*TRIAGED, By("user:ann", closing.ExceptionEscalated(["mine"])), By("user:ann", playbook.OwnerAssigned("ann"))),
            By("user:bob", playbook.PlaybookRecalculationRequested()),
            {"taken_over": False, "owner_kept": False, "involved": ["reporter", "bob"]},
        ),
        (TIMED, sla.SLAImminent(DEADLINE), {"sla": SlaTimes(DEADLINE, None, DEADLINE)}),
        (TIMED, sla.SLAExpired(DEADLINE), {"sla": SlaTimes(DEADLINE)}),
        (NEW, control.DeadLettered("triage", 2, "Rejected", "no", 1), {"blocked": 1}),
        ((*NEW, control.DeadLettered("triage", 2, "Rejected", "no", 1)), control.DeadLetterRetried("triage", 2), {"blocked": 0}),
        ((*NEW, control.DeadLettered("triage", 2, "Rejected", "no", 1)), control.DeadLetterDiscarded("triage", 2, "x"), {"blocked": 0}),
        ((*RUNNING, STEP), REQUEST, {
            "run": msgspec.structs.replace(
                after(*RUNNING, STEP).run, steps={"again": msgspec.structs.replace(after(*RUNNING, STEP).run.steps["again"], execution_id=CALL)}  # type: ignore[union-attr]
            ),
            "calls": {str(CALL): Call("refundAgain", EFFECT, CALL)},
        }),
        (CALLING, tool.ToolExecutionStarted(CALL, "refundAgain", 1), {"calls": {str(CALL): Call("refundAgain", EFFECT, CALL, ExecutionStatus.RUNNING)}}),
    ],
)  # fmt: skip
def test_an_event_changes_this_and_nothing_else(past: Any, said: Any, found: dict[str, Any]) -> None:
    assert changed(past, said) == found


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (NEW, playbook.CommentAdded("seen")),
        (NEW, feedback.FeedbackCaptured(DECIDED, "RESOLVED", True, 1)),
        (NEW, tool.ToolExecutionRequested(CALL, "ops", {}, None, True)),
        (NEW, tool.ToolExecutionStarted(CALL, "ops", 1)),
        (NEW, tool.ToolExecutionCompleted(CALL, "ops", {}, 1)),
        (NEW, playbook.PlaybookCompleted("refund", DECIDED)),
        (NEW, playbook.PlaybookFailed("refund", "so")),
        (NEW, playbook.PlaybookCancelled("refund", "so")),
        (NEW, STEP),
        (NEW, policy.ApprovalVoted(ASKED)),
        (NEW, policy.ApprovalWithdrawn(ASKED, "so")),
        (NEW, policy.ApprovalGranted(ASKED)),
        (NEW, policy.ApprovalExpired(ASKED, "ESCALATE")),
        (RUNNING, policy.ApprovalGranted(ASKED)),
        (RUNNING, policy.ApprovalWithdrawn(ASKED, "so")),
        (CALLING, tool.ToolExecutionCompleted(OTHER, "refundAgain", {}, 1, "again")),
        (CALLING, tool.ToolExecutionCalledOff(CALL, "refundAgain", "late", True)),
        (CALLING, policy.ApprovalExpired(ASKED, "REJECT", "again")),
        ((*CALLING, playbook.PlaybookCancelled("refund", "so")), STEP),
        ((*CALLING, playbook.PlaybookCancelled("refund", "so")), playbook.PlaybookFailed("refund", "late")),
    ],
)  # fmt: skip
def test_what_says_nothing_of_the_state_leaves_it(past: Any, said: Any) -> None:
    assert changed(past, said) == {}


def test_every_event_moves_sequence_hash_and_time_on() -> None:
    story = given(ingested())
    first = (story.state.sequence, story.state.hash, story.state.updated_at)
    story.given(timedelta(hours=1), playbook.CommentAdded("seen"))
    assert first == (1, story.events[0].hash, NOW)
    assert (story.state.sequence, story.state.hash, story.state.updated_at) == (
        2,
        story.events[1].hash,
        NOW + timedelta(hours=1),
    )
    assert story.events[0].hash != story.events[1].hash != b""


def test_a_blank_state_knows_its_exception_and_nothing_of_it() -> None:
    assert blank("acme", ID) == ExceptionState(fold=FOLD, tenant_id="acme", exception_id=ID)
    assert not is_closed(blank("acme", ID))


# ---- what is kept although an event could say more -------------------------------------------------------------------


def test_a_time_of_its_own_is_kept_where_intake_finds_none() -> None:
    reported = By("user:shop", intake.ExceptionIngested("psp", {}, occurred_at=EARLIER))
    assert after(reported, normalized()).occurred_at == EARLIER


def test_a_report_without_a_time_happened_when_it_came() -> None:
    assert after(ingested()).occurred_at == NOW


@pytest.mark.parametrize(
    ("item", "payload"), [({}, {"id": 1}), ({"item": None}, None), ({"item": {"a": 1}}, {"a": 1}), ({"item": []}, [])]
)
def test_only_an_item_takes_the_place_of_the_payload(item: dict[str, Any], payload: Any) -> None:
    assert after(ingested({"id": 1}), normalized(**item)).raw_payload == payload


@pytest.mark.parametrize("field", ["title", "queue"])
def test_triage_without_a_title_or_queue_leaves_those_there(field: str) -> None:
    before = (ingested(), normalized(title="source's"), closing.ExceptionEscalated(["so"], "first"))
    kept = {"title": "source's", "queue": "first"}[field]
    assert getattr(after(*before, triaged()), field) == kept
    assert getattr(after(*before, triaged(**{field: "new"})), field) == "new"


def test_what_triage_no_longer_finds_is_gone() -> None:
    story = given(*NEW, triaged(priority_score=9, tags=["a"]), triaged())
    assert (story.state.priority_score, story.state.tags) == (None, [])


def test_the_time_of_the_first_triage_stays() -> None:
    assert after(*TRIAGED, timedelta(hours=1), triaged("LOST", "LOW")).triaged_at == NOW


@pytest.mark.parametrize(
    ("again", "sla_times"),
    [
        ({}, SlaTimes(DEADLINE, None, DEADLINE)),
        ({"resolve_by": DEADLINE, "warn_at": WARNING}, SlaTimes(DEADLINE, None, DEADLINE)),
        ({"resolve_by": WARNING}, SlaTimes(WARNING, None, WARNING)),
        ({"resolve_by": WARNING, "warn_at": NOW}, SlaTimes(WARNING, NOW, WARNING)),
    ],
)
def test_a_warning_that_was_given_is_given_again_only_for_another_deadline(again: Any, sla_times: SlaTimes) -> None:
    assert after(*TIMED, sla.SLAImminent(DEADLINE), triaged("LOST", "HIGH", **again)).sla == sla_times


def test_an_escalation_without_a_queue_leaves_the_queue() -> None:
    assert after(*NEW, triaged(queue="first"), closing.ExceptionEscalated(["so"])).queue == "first"


def test_a_deadline_of_an_exception_that_has_none_is_a_broken_invariant() -> None:
    for said in (sla.SLAImminent(DEADLINE), sla.SLAExpired(DEADLINE)):
        with pytest.raises(AssertionError):
            given(*TRIAGED, said)


# ---- what was learnt, and what was judged ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "learnt", "judged"),
    [
        (normalized(), True, False),
        (intake.ExceptionRecurred(2, OTHER, "psp"), True, False),
        (triaged("LOST", "LOW"), True, False),
        (evaluated("BLOCKED"), False, True),
        (playbook.CommentAdded("seen"), False, False),
        (playbook.OwnerAssigned("desk"), False, False),
        (closing.ExceptionEscalated(["so"]), False, False),
        (By("user:ann", playbook.PlaybookRecalculationRequested()), False, False),
        (asked(OTHER), False, False),
        (control.DeadLettered("triage", 2, "Rejected", "no", 1), False, False),
    ],
)  # fmt: skip
def test_which_events_policy_has_to_see_and_which_says_it_did(said: Any, learnt: bool, judged: bool) -> None:
    story = given(*MATCHED)
    before = story.state.learnt_at, story.state.judged_at
    story.given(said)
    now = story.state.sequence
    assert story.state.learnt_at == (now if learnt else before[0])
    assert story.state.judged_at == (now if judged else before[1])


def test_an_exception_is_under_the_configuration_that_last_decided_on_it() -> None:
    story = given(*TRIAGED)
    story.record(playbook.CommentAdded("seen"), under=replace(CONFIG, hash="of a comment"))
    assert story.state.config_hash == CONFIG.hash
    story.record(evaluated(), under=replace(CONFIG, hash="of policy"))
    assert story.state.config_hash == "of policy"


# ---- people ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("past", "said", "involved"),
    [
        ((), By("user:ann/k", intake.ExceptionIngested("psp", {})), ["ann"]),
        ((), By("system:import", intake.ExceptionIngested("psp", {})), []),
        ((), intake.ExceptionSplitOff("psp", {}, OTHER, 1), []),
        ((), intake.ExceptionSplitOff("psp", {}, OTHER, 1, reported_by="ann"), ["ann"]),
        (NEW, intake.ExceptionRecurred(2, OTHER, "psp"), ["reporter"]),
        (NEW, intake.ExceptionRecurred(2, OTHER, "psp", "reporter"), ["reporter"]),
        (NEW, intake.ExceptionRecurred(2, OTHER, "psp", "ann"), ["reporter", "ann"]),
        (TRIAGED, By("user:ann", playbook.PlaybookRecalculationRequested()), ["reporter", "ann"]),
        (TRIAGED, By("user:ann", closing.ExceptionReopened("so")), ["reporter", "ann"]),
        (CALLING, By("user:ann", COMPLETION), ["reporter", "ann"]),
        (CALLING, By("user:ann", SKIPPED), ["reporter", "ann"]),
        (CALLING, By("user:reporter", SKIPPED), ["reporter"]),
        (NEW, By("user:ann", playbook.OwnerAssigned("ann")), ["reporter"]),
        (NEW, By("user:ann", closing.ExceptionEscalated(["mine"])), ["reporter"]),
        (NEW, By("user:ann", closing.ExceptionResolved("done")), ["reporter"]),
        (NEW, By("user:ann", playbook.CommentAdded("hm")), ["reporter"]),
        (QUESTIONED, By("user:ann", policy.ApprovalVoted(ASKED)), ["reporter"]),
    ],
)  # fmt: skip
def test_who_may_not_answer_for_it_later(past: Any, said: Any, involved: list[str]) -> None:
    assert after(*past, said).involved == involved


@pytest.mark.parametrize(
    ("past", "said", "taken_over"),
    [
        (NEW, closing.ExceptionEscalated(["so"]), False),
        (NEW, By("user:ann", closing.ExceptionEscalated(["so"])), True),
        ((*NEW, By("user:ann", closing.ExceptionEscalated(["so"]))), closing.ExceptionEscalated(["late"]), True),
        (QUESTIONED, By("user:ann", policy.ApprovalRejected(ASKED)), True),
        ((*RUNNING, asked(step="again")), By("user:ann", policy.ApprovalRejected(ASKED, "again")), False),
        (QUESTIONED, By("user:ann", policy.ApprovalGranted(ASKED)), False),
        (QUESTIONED, policy.ApprovalExpired(ASKED, "REJECT"), False),
        (NEW, By("user:ann", closing.ExceptionResolved("done")), False),
        (NEW, By("user:ann", playbook.OwnerAssigned("ann")), False),
    ],
)  # fmt: skip
def test_when_a_person_has_taken_over(past: Any, said: Any, taken_over: bool) -> None:
    assert after(*past, said).taken_over is taken_over


@pytest.mark.parametrize("anew", [playbook.PlaybookRecalculationRequested(), closing.ExceptionReopened("so")])
def test_a_person_gives_it_back(anew: Any) -> None:
    taken = (
        *TRIAGED,
        By("user:ann", closing.ExceptionEscalated(["so"])),
        By("user:ann", playbook.OwnerAssigned("ann")),
    )
    assert (after(*taken).taken_over, after(*taken).owner_kept) == (True, True)
    given_back = after(*taken, By("user:ann", anew))
    assert (given_back.taken_over, given_back.owner_kept, given_back.owner) == (False, False, "ann")


def test_the_owner_that_came_last_counts_and_so_does_who_chose_it() -> None:
    state = after(
        *NEW, By("user:ann", playbook.OwnerAssigned("ann")), By("agent:playbook", playbook.OwnerAssigned("desk"))
    )
    assert (state.owner, state.owner_kept) == ("desk", False)


@pytest.mark.parametrize(
    ("events", "touched"),
    [
        ((ingested(),), False),
        (NEW, False),
        ((ingested(), By("agent:playbook", playbook.CommentAdded("x"))), False),
        ((ingested(), By("tool:user:x", playbook.CommentAdded("x"))), False),
        ((ingested(), By("user:ann", playbook.CommentAdded("x"))), True),
        ((ingested(), By("user:ann", playbook.CommentAdded("x")), By("agent:x", playbook.CommentAdded("y"))), True),
    ],
)
def test_a_report_is_no_touch_of_a_person_and_everything_later_is(events: Any, touched: bool) -> None:
    assert after(*events).human_touched is touched


# ---- questions -------------------------------------------------------------------------------------------------------


def test_a_question_waits_and_is_due_when_it_expires() -> None:
    story = given(*TIMED, evaluated("NEEDS_APPROVAL"), policy.PlaybookMatched("refund", 1))
    story.given(asked(expires_at=NOW + timedelta(hours=1), approvers=2, plan="p", reasons=["r"]))
    (approval,) = story.state.approvals
    assert approval == Approval(
        ASKED, "why", "agent:test", None, NOW + timedelta(hours=1), "ESCALATE", 2, [], "p", ["r"]
    )
    assert (story.state.status, story.state.reason) == ("AWAITING_APPROVAL", "why")
    assert story.state.due_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("answer", "status", "due_at"),
    [
        (By("user:ann", policy.ApprovalGranted(ASKED)), "IN_PROGRESS", None),
        (By("user:ann", policy.ApprovalRejected(ASKED)), "IN_PROGRESS", None),
        (policy.ApprovalExpired(ASKED, "ESCALATE"), "IN_PROGRESS", None),
        (policy.ApprovalWithdrawn(ASKED, "so"), "IN_PROGRESS", None),
        (By("user:ann", policy.ApprovalVoted(ASKED)), "AWAITING_APPROVAL", DEADLINE),
        (By("user:ann", policy.ApprovalGranted(OTHER)), "AWAITING_APPROVAL", DEADLINE),
        (policy.ApprovalWithdrawn(OTHER, "so"), "AWAITING_APPROVAL", DEADLINE),
    ],
)  # fmt: skip
def test_an_answer_closes_its_own_question_only(answer: Any, status: str, due_at: Any) -> None:
    state = after(*QUESTIONED[:-1], asked(expires_at=DEADLINE), answer)
    assert (state.status, state.due_at) == (status, due_at)
    assert bool(state.approvals) == (status == "AWAITING_APPROVAL")
    assert state.reason == ("why" if state.approvals else None)


def test_a_run_that_begins_leaves_no_reason_of_before() -> None:
    reopened = (closing.ExceptionResolved("done"), By("user:ann", closing.ExceptionReopened("came back")), *MATCHED[3:])
    assert after(*TRIAGED, *reopened).reason == "came back"
    assert after(*TRIAGED, *reopened, started()).reason is None


def test_while_another_question_is_open_it_waits() -> None:
    story = given(*RUNNING, STEP, asked(step="again"), asked(OTHER))
    assert [a.approval_id for a in story.state.approvals] == [OTHER, ASKED]
    story.given(By("user:ann", policy.ApprovalGranted(OTHER)))
    assert story.state.status is Status.AWAITING_APPROVAL
    story.given(By("user:ann", policy.ApprovalGranted(ASKED, "again")))
    assert story.state.status is Status.IN_PROGRESS


@pytest.mark.parametrize("end", [closing.ExceptionEscalated(["so"]), closing.ExceptionResolved("so")])
def test_an_answer_that_comes_after_the_end_changes_no_status(end: Any) -> None:
    status = after(*QUESTIONED, end).status
    assert after(*QUESTIONED, end, policy.ApprovalWithdrawn(ASKED, "so")).status is status


@pytest.mark.parametrize(
    "end", [playbook.PlaybookCancelled("refund", "so"), playbook.PlaybookFailed("refund", "so"), playbook.PlaybookCompleted("refund", DECIDED)],
)  # fmt: skip
def test_no_question_is_open_once_the_run_has_ended(end: Any) -> None:
    state = after(*QUESTIONED[:-1], asked(expires_at=DEADLINE), end)
    assert (state.approvals, state.due_at) == ([], None)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("APPROVED", "READY"), ("NEEDS_APPROVAL", "AWAITING_APPROVAL"), ("BLOCKED", "AWAITING_APPROVAL")],
)
def test_a_run_is_ready_only_where_policy_approved(outcome: str, status: str) -> None:
    state = after(*TRIAGED, evaluated(outcome), policy.PlaybookMatched("refund", 1))
    assert state.run is not None
    assert state.run.status == status


# ---- deadlines -------------------------------------------------------------------------------------------------------


def test_nothing_is_due_before_triage() -> None:
    assert after(*NEW).due_at is None


@pytest.mark.parametrize(
    ("said", "due_at"),
    [
        ((), WARNING),
        ((sla.SLAImminent(DEADLINE),), DEADLINE),
        ((sla.SLAExpired(DEADLINE),), None),
        ((closing.ExceptionResolved("done"),), None),
    ],
)
def test_the_clock_comes_for_the_warning_then_for_the_deadline(said: Any, due_at: Any) -> None:
    assert after(*TIMED, *said).due_at == due_at


@pytest.mark.parametrize(
    "past", [TIMED, (*TIMED, sla.SLAImminent(DEADLINE)), (*QUESTIONED[:-1], asked(expires_at=WARNING))]
)
def test_what_the_clock_says_is_not_due_again(past: Any) -> None:
    story = given(*past)
    due_at = story.state.due_at
    assert due_at is not None
    assert due(story.state, due_at - timedelta(microseconds=1)) == []
    for body in due(story.state, due_at):
        story.record(body, "system:sla")
    assert story.state.due_at is None or story.state.due_at > due_at


# ---- calls -----------------------------------------------------------------------------------------------------------


def ledger(*past: Any) -> dict[str, str]:
    return {call.tool: str(call.status) for call in after(*past).calls.values()}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ((), "UNKNOWN"),
        ((By("user:ann", COMPLETION),), "SUCCEEDED"),
        ((By("user:ann", SKIPPED),), "UNKNOWN"),
        ((By("user:ann", SKIPPED), By("user:bob", COMPLETION)), "UNKNOWN"),
        ((By("user:ann", playbook.PlaybookStepCompletionRequested(1)),), "SUCCEEDED"),
        ((By("user:ann", playbook.PlaybookStepCompletionRequested(2)),), "UNKNOWN"),
        ((By("user:ann", playbook.PlaybookStepCompletionRequested(1, step="close")),), "UNKNOWN"),
        ((playbook.PlaybookCancelled("refund", "so"), By("user:ann", COMPLETION)), "UNKNOWN"),
    ],
)  # fmt: skip
def test_a_call_of_which_nobody_knew_the_end_was_done_once_a_person_says_so(said: Any, status: str) -> None:
    assert ledger(*LOST, *said) == {"refundAgain": status}


@pytest.mark.parametrize(
    "again",
    [
        (policy.PlaybookMatched("refund", 2),),
        (closing.ExceptionResolved("done"), By("user:ann", closing.ExceptionReopened("so"))),
    ],
    ids=["another run", "reopened"],
)
def test_what_a_call_gave_outlives_the_run_that_asked(again: Any) -> None:
    answered = (*CALLING, tool.ToolExecutionCompleted(CALL, "refundAgain", {"ref": 1}, 1, "again"))
    assert after(*answered).calls[str(CALL)].output is None, "the step has it"
    state = after(*answered, *again)
    assert state.calls[str(CALL)] == Call("refundAgain", EFFECT, CALL, ExecutionStatus.SUCCEEDED, output={"ref": 1})


def test_what_the_same_playbook_completed_is_kept_and_another_version_begins_anew() -> None:
    done = (
        *RUNNING,
        playbook.PlaybookStepCompleted("again", 1, "call_tool", {"ref": 1}),
        playbook.PlaybookStepStarted("close", 2, "set_status"),
    )
    same, other = after(*done, policy.PlaybookMatched("refund", 1)), after(*done, policy.PlaybookMatched("refund", 2))
    assert same.run is not None
    assert other.run is not None
    assert same.run.steps == {"again": StepRun(1, "call_tool", "COMPLETED", output={"ref": 1}, ended_at=NOW)}  # type: ignore[arg-type]
    assert other.run.steps == {}


# ---- the whole stream ------------------------------------------------------------------------------------------------

STORIES: dict[str, tuple[Any, ...]] = {
    "closed by itself": (ingested(),),
    "asked about": (ingested(payment(code="chargeback")),),
    "a call": (ingested(payment(code="refund_stuck")),),
    "a person": (ingested(payment(code="review")),),
    "nobody's": (ingested(payment(code="?")),),
    "reopened": (
        ingested(payment(code="refund_stuck")),
        By("user:ann", closing.ExceptionResolved("done")),
        By("user:ann", closing.ExceptionReopened("no")),
    ),
    "recalculated": (
        ingested(payment(code="review")),
        By("user:ann", playbook.PlaybookStepCompletionRequested(1, {"seen": True})),
        By("user:bob", playbook.PlaybookRecalculationRequested()),
    ),
}


KINDS = {
    "card_declined": ("CARD_DECLINED", "LOW"),
    "chargeback": ("CHARGEBACK", "CRITICAL"),
    "refund_stuck": ("REFUND_STUCK", "HIGH"),
    "review": ("MANUAL_REVIEW", "MEDIUM"),
    "?": ("UNCLASSIFIED", "MEDIUM"),
}


def played(name: str) -> Story:
    first, *later = STORIES[name]
    kind, severity = KINDS[first.body.payload["code"]]
    return given(first, normalized()).run(triaged(kind, severity, resolve_by=DEADLINE, warn_at=WARNING), *later)


@pytest.mark.parametrize("name", STORIES)
def test_the_fold_is_every_event_applied_one_by_one(name: str) -> None:
    story = played(name)
    assert fold(story.events) == story.state
    step_by_step = blank("acme", ID)
    for number, event in enumerate(story.events, 1):
        apply(step_by_step, event)
        assert fold(story.events[:number]) == step_by_step
        assert step_by_step.sequence == number


@pytest.mark.parametrize("name", STORIES)
def test_the_fold_changes_no_event(name: str) -> None:
    story = played(name)
    before = copy.deepcopy(story.events)
    assert fold(story.events) == fold(story.events)
    assert story.events == before


@pytest.mark.parametrize("name", STORIES)
def test_what_was_stored_folds_to_the_same(name: str) -> None:
    story = played(name)
    read = [msgspec.structs.replace(e, body=decode(e.type, e.schema_version, e.payload)) for e in story.events]
    assert fold(read) == story.state


@pytest.mark.parametrize("name", STORIES)
def test_a_state_that_was_stored_in_between_goes_on_as_if_it_had_not_been(name: str) -> None:
    story = played(name)
    for cut in range(1, len(story.events)):
        stored = msgspec.json.encode(fold(story.events[:cut]))
        state = msgspec.json.decode(stored, type=ExceptionState)
        for event in story.events[cut:]:
            apply(state, event)
        assert state == story.state, cut


@pytest.mark.parametrize("sequence", [0, 1, 2, 4, 100, -1])
def test_a_gap_or_a_repetition_is_a_broken_invariant_and_changes_nothing(sequence: int) -> None:
    story = given(*NEW)
    before = copy.deepcopy(story.state)
    event = msgspec.structs.replace(given(*TRIAGED).events[-1], sequence=sequence)
    with pytest.raises(AssertionError):
        apply(story.state, event)
    assert story.state == before


def test_a_stream_that_does_not_begin_with_its_first_event_is_no_stream() -> None:
    with pytest.raises(AssertionError):
        fold(given(*NEW).events[1:])


def test_an_event_of_no_exception_is_no_beginning() -> None:
    (event,) = given(ingested()).events
    with pytest.raises(AssertionError):
        fold([msgspec.structs.replace(event, correlation_id=None)])


class InventedTomorrow(msgspec.Struct):
    """A type that no reducer knows."""

    status: str = "RESOLVED"


def test_an_event_that_no_reducer_knows_only_takes_its_place() -> None:
    story = given(*NEW)
    unknown: Event = msgspec.structs.replace(
        story.events[-1], type="InventedTomorrow", sequence=3, hash=b"h", body=InventedTomorrow()
    )
    before = copy.deepcopy(story.state)
    apply(story.state, unknown)
    assert (story.state.sequence, story.state.hash) == (3, b"h")
    story.state.sequence, story.state.hash = before.sequence, before.hash
    assert story.state == before


@pytest.mark.parametrize("status", Status)
def test_closed_is_resolved_or_merged(status: Status) -> None:
    state = blank("acme", ID)
    state.status = status
    assert is_closed(state) == (status in ("RESOLVED", "MERGED")) == (status in CLOSED)


CHANGE_NOTHING = {"CommentAdded", "FeedbackCaptured"}
"""Events of an exception that its state does not show."""


def test_every_event_of_an_exception_is_folded_or_known_to_change_nothing() -> None:
    """A new type without a reducer would be recorded and shown, but the state would know nothing of it."""
    folded = {*_REDUCERS, *(t.__name__ for t in (*RUN_REDUCERS, *CALL_EVENTS))}
    of_exceptions = {name for name, entry in BY_NAME.items() if entry.topic not in ("config", "control.retention")}
    assert of_exceptions - folded == CHANGE_NOTHING, "give it a reducer in orchestrator/fold.py, or name it here"
