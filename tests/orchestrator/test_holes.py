"""Nothing runs without a yes that stands: what was found by attackers and newcomers, told as stories, event by event."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sample_packs import DOMAIN, policy_for
from story import compiled, payment

from sentinai.errors import Conflict, Denied
from sentinai.events.intake import ExceptionIngested
from sentinai.events.policy import ApprovalRequested
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator import people
from sentinai.orchestrator.people import StepDone
from sentinai.orchestrator.replay import Replay
from sentinai.packs.effective import TenantConfiguration

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
RAISES = DOMAIN.replace("'occurrences >= 5', severity: HIGH", "'occurrences >= 2', severity: CRITICAL")
"""The second report of a declined card makes it CRITICAL."""
CONFIG = compiled(RAISES)


class Case:
    """One exception in a replay, with short names for what people and tools do."""

    def __init__(
        self, code: str = "card_declined", config: Any = CONFIG, retry: bool = False, amount: int = 500
    ) -> None:
        self.config = config
        self.replay = Replay(TenantConfiguration("acme", 1, False, (config,), frozenset()), NOW)
        self.payload = payment(code=code, retry=retry, amount=amount)
        self.id = self.replay.report(ExceptionIngested("psp", self.payload))
        self.replay.settle()

    @property
    def state(self) -> Any:
        return self.replay.state(self.id)

    def types(self) -> list[str]:
        return [e.type for e in self.replay.events[self.id]]

    def again(self, subject: str = "reporter") -> None:
        """The same thing is reported once more."""
        self.replay.report(ExceptionIngested("psp", self.payload), subject)

    def do(self, what: Callable[..., Any], *values: Any, by: str = "op") -> None:
        self.replay.person(self.id, by, lambda state, who: what(state, who, *values))

    def approve(self, by: str = "ann") -> None:
        self.do(people.approve, self.approval, None, by=by)

    @property
    def approval(self) -> UUID:
        return self.state.approvals[0].approval_id  # type: ignore[no-any-return]

    @property
    def call(self) -> UUID:
        return UUID(list(self.state.calls)[-1])

    def begin(self) -> str:
        return self.replay.attempt(self.id, self.call).verdict

    def pass_time(self, **by: float) -> None:
        self.replay.tick(self.replay.now + timedelta(**by))

    def settle(self) -> "Case":
        self.replay.settle()
        return self


def review_waiting_for_a_yes() -> Case:
    case = Case("review")
    case.do(people.complete, StepDone("look", None, None))
    return case.settle()


def test_1_after_the_deadline_nobody_completes_the_step_that_asks() -> None:
    case = review_waiting_for_a_yes()
    approval = case.approval
    case.pass_time(hours=5)
    case.settle()
    assert (case.state.status, case.state.run.status) == ("ESCALATED", "CANCELLED")
    for act in (
        partial(case.do, people.complete, StepDone("ask", None, None)),
        partial(case.do, people.skip, "ask", "x"),
    ):
        with pytest.raises(Conflict):
            act()
    with pytest.raises(Conflict):
        case.do(people.approve, approval, None, by="ann")
    assert "ExceptionResolved" not in case.types()


def test_1_nor_between_the_deadline_and_what_follows_from_it() -> None:
    case = review_waiting_for_a_yes()
    case.pass_time(hours=5)
    with pytest.raises(Conflict):
        case.do(people.complete, StepDone("ask", None, None), by="other")
    assert case.settle().state.status == "ESCALATED"


def test_1_a_step_that_asks_is_neither_completed_nor_skipped_by_hand() -> None:
    case = review_waiting_for_a_yes()
    for act in (
        partial(case.do, people.complete, StepDone("ask", None, None)),
        partial(case.do, people.skip, "ask", "x"),
    ):
        with pytest.raises(Conflict, match="waits for an approval"):
            act()


def test_2_a_late_notification_starts_nothing_whose_approval_was_withdrawn() -> None:
    replay_of = Case("chargeback")
    case = replay_of
    matched = next(e for e in case.replay.events[case.id] if e.type == "PlaybookMatched")
    case.do(people.escalate, "mine", None)
    case.replay.waiting.insert(0, matched)
    case.settle()
    assert case.types().count("PlaybookStarted") == 0
    assert case.state.status == "ESCALATED"


@pytest.mark.parametrize("end", ["expires", "rejected", "withdrawn"])
def test_3_no_tool_runs_on_critical_after_the_question_was_not_answered_with_yes(end: str) -> None:
    policy = policy_for("acme").replace(
        "humanApprovalRules:\n", "humanApprovalRules:\n  - {id: soon, severity: CRITICAL, expiresAfter: 1h}\n"
    )
    case = Case(retry=True, config=compiled(RAISES, policy))
    case.again()
    case.settle()
    assert (case.state.severity, case.state.status) == ("CRITICAL", "AWAITING_APPROVAL")
    assert case.begin() == "wait"
    if end == "expires":
        case.pass_time(hours=2)
    elif end == "rejected":
        case.do(people.reject, case.approval, "no", by="ann")
    else:
        case.do(people.escalate, "mine", None)
    case.settle()
    assert case.state.status == "ESCALATED"
    assert case.begin() == "stop"
    assert "ToolExecutionStarted" not in case.types()


def test_3_the_gate_asks_where_nobody_has_asked_yet() -> None:
    """Triage has made it CRITICAL; policy has not come to it when the next attempt wants to begin."""
    case = Case(retry=True)
    case.again()
    while case.state.severity != "CRITICAL":
        case.replay.handle(case.replay.waiting[0])
    assert case.begin() == "wait"
    assert case.state.run.status == "AWAITING_APPROVAL"


def test_3_no_step_begins_between_triage_and_policy() -> None:
    case = Case(retry=True)
    call = case.call
    assert case.begin() == "go"
    case.again()
    while case.state.severity != "CRITICAL":
        case.replay.handle(case.replay.waiting[0])
    case.replay.answer(case.id, call, {"status": "ok"})
    completed = next(e for e in case.replay.waiting if e.type == "ToolExecutionCompleted")
    case.replay.handle(completed)
    assert case.state.status == "AWAITING_APPROVAL"
    assert "ExceptionResolved" not in case.types()


def test_4_a_recalculation_that_blocks_ends_the_run_and_its_call() -> None:
    case = Case("refund_stuck")
    call = case.call
    blocked = compiled(
        DOMAIN, policy_for("acme").replace("approvedTools: [retryCharge, refundAgain]", "approvedTools: []")
    )
    case.replay.tenant = TenantConfiguration("acme", 2, False, (blocked,), frozenset())
    case.replay._configs = {c.hash: c for c in (case.config, blocked)}
    case.do(people.recalculate, None)
    assert case.replay.attempt(case.id, call).verdict == "stop"
    case.settle()
    assert case.state.status == "ESCALATED"
    assert case.state.calls[str(call)].status in ("CANCELLED", "FAILED")
    assert "ToolExecutionStarted" not in case.types()


def keys_started(case: Case) -> list[str]:
    """The idempotency keys under which attempts began."""
    started = [e.body.execution_id for e in case.replay.events[case.id] if e.type == "ToolExecutionStarted"]
    return [str(case.state.calls[str(execution_id)].key) for execution_id in started]


def begin_again(case: Case) -> None:
    case.do(people.recalculate, None)
    case.settle()


def reopen(case: Case) -> None:
    case.do(people.resolve, "by hand")
    case.do(people.reopen, "no", by="op")
    case.settle()


@pytest.mark.parametrize("again", [begin_again, reopen])
@pytest.mark.parametrize("fate", ["under way", "unknown", "done", "done meanwhile"])
def test_5_what_is_not_idempotent_is_never_called_twice(again: Any, fate: str) -> None:
    case = Case("refund_stuck")
    call = case.call
    assert case.begin() == "go"
    if fate == "unknown":
        case.replay.fail(case.id, call, "no answer", ExecutionStatus.UNKNOWN)
    if fate == "done":
        case.replay.answer(case.id, call, {"ref": 1})
    again(case)
    if fate in ("under way", "done meanwhile"):
        assert case.state.run.waiting[1].execution_id == call
        case.replay.answer(case.id, call, {"ref": 1})
    case.settle()
    assert keys_started(case) == [str(call)]
    if fate == "unknown":
        assert (case.state.run.waiting[1].waits_for, case.state.status) == ("PERSON", "ESCALATED")
    else:
        assert (case.state.status, case.state.run.steps["again"].output) == ("RESOLVED", {"ref": 1})


def test_5_a_result_that_nobody_waited_for_is_kept_for_the_run_that_asks_again() -> None:
    case = Case("refund_stuck")
    call = case.call
    case.begin()
    case.do(people.resolve, "by hand")
    case.replay.answer(case.id, call, {"ref": 9})
    case.do(people.reopen, "no")
    case.settle()
    assert case.state.run.steps["again"].output == {"ref": 9}
    assert keys_started(case) == [str(call)]


def test_5_an_idempotent_tool_is_called_again_under_the_same_key() -> None:
    case = Case(retry=True)
    first = case.call
    case.begin()
    case.replay.fail(case.id, first, "refused")
    case.settle()
    begin_again(case)
    assert case.call != first
    assert case.begin() == "go"
    assert len(set(keys_started(case))) == 1


@pytest.mark.parametrize(
    "command",
    [
        lambda case: case.do(people.resolve, "done"),
        lambda case: case.do(people.escalate, "mine", None),
        lambda case: case.do(people.skip, "again", "no need"),
        lambda case: case.do(people.complete, StepDone("1", {"by": "hand"}, None)),
        lambda case: case.do(people.recalculate, None),
        lambda case: case.pass_time(hours=5),
    ],
    ids=["resolve", "escalate", "skip", "complete", "recalculate", "deadline"],
)
def test_6_no_command_leaves_a_call_in_back_off_alive(command: Any) -> None:
    case = Case("refund_stuck")
    call = case.call
    command(case)
    assert case.replay.attempt(case.id, call).verdict == "stop"
    case.settle()
    assert case.replay.attempt(case.id, call).verdict == "stop"
    assert keys_started(case) == []


def test_9_of_two_answers_to_one_step_the_second_is_refused_at_once() -> None:
    case = Case("review")
    case.do(people.complete, StepDone("look", {"n": 1}, None))
    for second in (
        partial(case.do, people.complete, StepDone("look", {"n": 2}, None)),
        partial(case.do, people.skip, "look", "no"),
    ):
        with pytest.raises(Conflict, match="answered already"):
            second()
    case.settle()
    assert case.state.run.steps["look"].output == {"n": 1}
    assert "DeadLettered" not in case.types()


def test_9_of_a_recalculation_and_a_yes_the_later_one_is_refused_or_wins_alone() -> None:
    case = Case("chargeback")
    approval = case.approval
    case.do(people.recalculate, None)
    with pytest.raises(Conflict):
        case.do(people.approve, approval, None, by="ann")
    other = Case("chargeback")
    other.approve()
    other.do(people.recalculate, None)
    other.settle()
    assert other.state.status == "AWAITING_APPROVAL"
    assert "PlaybookStarted" not in other.types()
    assert "DeadLettered" not in other.types()


@pytest.mark.parametrize("before", ["TriageCompleted", "PolicyEvaluated", "PlaybookMatched"])
def test_10_what_a_person_took_over_stays_with_that_person(before: str) -> None:
    case = Case.__new__(Case)
    case.config = CONFIG
    case.replay = Replay(TenantConfiguration("acme", 1, False, (CONFIG,), frozenset()), NOW)
    case.payload = payment(retry=True)
    case.id = case.replay.report(ExceptionIngested("psp", case.payload))
    while before not in [e.type for e in case.replay.events[case.id]]:
        if before == "TriageCompleted" and case.state.normalized_context:
            break
        case.replay.handle(case.replay.waiting[0])
    case.do(people.escalate, "mine", None)
    case.again()
    case.settle()
    assert case.state.status == "ESCALATED"
    assert not {"PlaybookStarted", "ToolExecutionRequested", "ExceptionResolved"} & set(case.types())
    case.do(people.recalculate, None)
    case.settle()
    assert case.state.run is not None, "until a person has it decided anew"


@pytest.mark.parametrize("before", ["TriageCompleted", "PlaybookMatched"])
def test_10_whom_a_person_made_the_owner_stays_the_owner(before: str) -> None:
    case = Case.__new__(Case)
    case.replay = Replay(TenantConfiguration("acme", 1, False, (CONFIG,), frozenset()), NOW)
    case.id = case.replay.report(ExceptionIngested("psp", payment()))
    while before not in case.types():
        case.replay.handle(case.replay.waiting[0])
    case.do(people.assign, "jo")
    case.settle()
    assert (case.state.owner, case.state.status) == ("jo", "RESOLVED")
    case.do(people.reopen, "again")
    case.settle()
    assert case.state.owner == "payments-desk", "until a person has it decided anew"


# ---- who may answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["chargeback"])
def test_nobody_approves_what_they_reported(code: str) -> None:
    case = Case(code)
    with pytest.raises(Denied):
        case.approve(by="reporter")


def test_nor_what_they_reported_again() -> None:
    case = Case("chargeback")
    case.again(subject="ann")
    case.settle()
    with pytest.raises(Denied):
        case.approve(by="ann")


def test_nor_what_they_had_decided_anew() -> None:
    case = Case("chargeback")
    case.do(people.recalculate, None, by="ann")
    case.settle()
    with pytest.raises(Denied):
        case.approve(by="ann")


def test_nor_what_they_did_a_step_of() -> None:
    case = Case("review")
    case.do(people.complete, StepDone("look", None, None), by="ann")
    case.settle()
    with pytest.raises(Denied):
        case.approve(by="ann")
    case.approve(by="bob")
    assert case.settle().state.status == "RESOLVED"


def test_whoever_approved_a_run_does_none_of_its_steps_by_hand() -> None:
    policy = policy_for("acme").replace("humanApprovalRules:\n", "humanApprovalRules:\n  - {id: all}\n")
    case = Case("review", config=compiled(DOMAIN, policy))
    case.approve(by="ann")
    case.settle()
    with pytest.raises(Denied):
        case.do(people.complete, StepDone("look", None, None), by="ann")
    with pytest.raises(Denied):
        case.do(people.skip, "look", "x", by="ann")
    case.do(people.complete, StepDone("look", None, None), by="op")


TWO = policy_for("acme").replace(
    "humanApprovalRules:\n", "humanApprovalRules:\n  - {id: two, severity: CRITICAL, approvers: 2}\n"
)


def test_two_people_have_to_say_yes_where_a_rule_wants_two() -> None:
    case = Case("chargeback", config=compiled(DOMAIN, TWO))
    case.approve(by="ann")
    case.settle()
    assert case.state.status == "AWAITING_APPROVAL"
    with pytest.raises(Conflict, match="another person"):
        case.approve(by="ann")
    case.approve(by="bob")
    assert case.settle().state.status == "RESOLVED"


def test_one_no_is_enough_also_after_a_yes() -> None:
    case = Case("chargeback", config=compiled(DOMAIN, TWO))
    case.approve(by="ann")
    case.do(people.reject, case.approval, "no", by="bob")
    assert case.settle().state.status == "ESCALATED"


# ---- what a yes covers -----------------------------------------------------------------------------------------------


def needs_yes(domain: str = RAISES, *rules: str) -> Any:
    text = "".join(f"  - {rule}\n" for rule in rules)
    return compiled(domain, policy_for("acme").replace("humanApprovalRules:\n", f"humanApprovalRules:\n{text}"))


@pytest.mark.parametrize("moment", ["before it starts", "while it waits for a tool"])
def test_a_yes_at_low_does_not_cover_critical(moment: str) -> None:
    case = Case(retry=True, config=needs_yes(RAISES, "{id: all}"))
    assert (case.state.severity, case.state.status) == ("LOW", "AWAITING_APPROVAL")
    if moment == "while it waits for a tool":
        case.approve()
        case.settle()
    else:
        old = case.approval
    case.again()
    case.settle()
    assert (case.state.severity, case.state.status) == ("CRITICAL", "AWAITING_APPROVAL")
    if moment == "before it starts":
        assert case.approval != old
        with pytest.raises(Conflict):
            case.do(people.approve, old, None, by="ann")
    else:
        assert case.begin() == "wait"
    case.approve(by="bob")
    case.settle()
    assert case.begin() == "go"


def test_a_vote_for_an_older_plan_counts_for_nothing() -> None:
    case = Case(retry=True, config=needs_yes(RAISES, "{id: all, approvers: 2}"))
    case.approve(by="ann")
    case.again()
    case.settle()
    case.approve(by="bob")
    case.settle()
    assert case.state.status == "AWAITING_APPROVAL"


def test_a_recurrence_that_changes_nothing_leaves_the_question_open() -> None:
    case = Case("chargeback")
    before = case.approval
    case.again()
    case.settle()
    assert case.approval == before


def test_a_reason_that_comes_with_time_is_asked_at_the_gate() -> None:
    rule = "{id: late, when: 'sla.minutesRemaining < 60'}"
    case = Case(retry=True, config=needs_yes(DOMAIN, rule))
    case.replay.now += timedelta(hours=3, minutes=30)
    assert case.begin() == "wait"
    asked = [e.body for e in case.replay.events[case.id] if isinstance(e.body, ApprovalRequested)]
    assert asked[-1].reasons == ["approval rule late"]
    case.approve()
    case.settle()
    assert case.begin() == "go"


def test_a_deadline_that_nobody_has_noticed_yet_is_noticed_at_the_gate() -> None:
    case = Case("refund_stuck")
    case.replay.now += timedelta(hours=5)
    assert case.begin() == "stop"
    case.do(people.recalculate, None)
    case.settle()
    assert case.begin() == "go", "a person wants it although it is late"


def test_a_disabled_tool_is_stopped_at_the_gate() -> None:
    case = Case("refund_stuck")
    case.replay.tenant = TenantConfiguration("acme", 2, False, (case.config,), frozenset({"payments.refundAgain"}))
    assert case.begin() == "stop"
    assert case.settle().state.status == "ESCALATED"


# ---- a yes at a step -------------------------------------------------------------------------------------------------

PAYS = DOMAIN.replace(
    "      - {name: close, action: set_status, params: {status: RESOLVED, reason: written off}}",
    "      - {name: pay, action: call_tool, params: {tool: refundAgain, input: {reported: '${occurrences}'}}}\n"
    "      - {name: close, action: set_status, params: {status: RESOLVED, reason: written off}}",
)


def paying_after_a_yes() -> Case:
    case = Case("review", config=compiled(PAYS))
    case.do(people.complete, StepDone("look", None, None))
    case.settle()
    case.approve(by="ann")
    return case.settle()


def test_a_recalculation_asks_at_the_step_again() -> None:
    case = paying_after_a_yes()
    assert [c.status for c in case.state.calls.values()] == ["REQUESTED"]
    case.do(people.recalculate, None, by="op")
    case.settle()
    assert (case.state.status, case.state.approvals[0].step) == ("AWAITING_APPROVAL", "ask")
    assert case.state.run.steps["look"].status == "COMPLETED", "what was done is not done again"
    case.approve(by="ann")
    case.settle()
    assert case.begin() == "go"


def test_a_yes_at_a_step_does_not_cover_what_has_changed_since() -> None:
    case = paying_after_a_yes()
    case.again()
    case.settle()
    assert case.begin() == "wait"
    case.settle()
    (asked,) = case.state.approvals
    assert asked.step is None
    assert asked.reasons == ["what was approved at step ask has changed"]
    case.approve(by="bob")
    case.settle()
    assert case.begin() == "go"


def test_whoever_said_yes_does_no_step_of_a_later_run_either() -> None:
    case = Case("review", config=needs_yes(DOMAIN, "{id: all}"))
    case.approve(by="ann")
    case.settle()
    case.do(people.recalculate, None)
    case.settle()
    case.approve(by="bob")
    case.settle()
    for voter in ("ann", "bob"):
        with pytest.raises(Denied):
            case.do(people.complete, StepDone("look", None, None), by=voter)
    case.do(people.complete, StepDone("look", None, None), by="op")


def test_a_vote_of_somebody_who_reports_it_later_counts_for_nothing() -> None:
    case = Case("chargeback", config=compiled(DOMAIN, TWO))
    case.approve(by="ann")
    case.again(subject="ann")
    case.settle()
    case.approve(by="bob")
    assert case.settle().state.status == "AWAITING_APPROVAL"
    case.approve(by="eve")
    assert case.settle().state.status == "RESOLVED"


# ---- the fate of a call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["complete", "skip"])
def test_an_unknown_call_is_settled_by_a_person(how: str) -> None:
    case = Case("refund_stuck")
    case.begin()
    case.replay.fail(case.id, case.call, "no answer", ExecutionStatus.UNKNOWN)
    case.settle()
    assert (case.state.status, case.state.run.status) == ("ESCALATED", "RUNNING")
    if how == "complete":
        case.do(people.complete, StepDone("again", {"ref": 5}, None))
    else:
        case.do(people.skip, "again", "looked it up: not done")
    case.settle()
    assert case.state.status == "RESOLVED"
    assert case.state.run.steps["again"].done_by == "op"
    expected = "SUCCEEDED" if how == "complete" else "UNKNOWN"
    assert case.state.calls[str(case.call)].status == expected


def test_a_success_that_comes_late_settles_an_unknown_call() -> None:
    case = Case("refund_stuck")
    case.begin()
    case.replay.fail(case.id, case.call, "lease lost", ExecutionStatus.UNKNOWN)
    case.settle()
    case.replay.answer(case.id, case.call, {"ref": 7})
    case.settle()
    assert (case.state.status, case.state.run.steps["again"].output) == ("RESOLVED", {"ref": 7})


@pytest.mark.parametrize("word", ["nothing", "answer", "fail", "late answer"])
def test_what_a_person_did_while_it_was_asked_for_is_not_called_by_a_later_run(word: str) -> None:
    case = Case(retry=True)
    call = case.call
    if word != "nothing":
        case.begin()
    case.do(people.complete, StepDone("retry", {"status": "ok"}, None))
    if word == "answer":
        case.replay.answer(case.id, call, {"status": "declined"})
    if word == "fail":
        case.replay.fail(case.id, call, "broken", ExecutionStatus.FAILED)
    case.settle()
    if word == "late answer":
        case.replay.answer(case.id, call, {"status": "declined"})
        case.settle()
    assert case.state.status == "RESOLVED"
    case.do(people.reopen, "look again")
    case.settle()
    assert (case.state.status, case.state.run.steps["retry"].output) == ("RESOLVED", {"status": "ok"})
    assert len(keys_started(case)) == (word != "nothing")


@pytest.mark.parametrize(("on_expiry", "status"), [("REJECT", "RESOLVED"), ("ESCALATE", "ESCALATED")])
def test_an_expired_question_means_what_its_on_expiry_says(on_expiry: str, status: str) -> None:
    """No, and the step's onFailure says what follows; or people take over, whatever the step says."""
    ask = "{name: ask, action: request_approval, params: {reason: 'Write off ${normalizedContext.paymentId}?', expiresAfter: 2h}}"
    changed = ask.replace("params: {", "onFailure: CONTINUE, params: {").replace("2h}", f"2h, onExpiry: {on_expiry}}}")
    case = Case("review", config=compiled(DOMAIN.replace(ask, changed)))
    case.do(people.complete, StepDone("look", None, None))
    case.settle()
    case.pass_time(hours=3)
    assert case.settle().state.status == status


@pytest.mark.parametrize("on_expiry", ["REJECT", "ESCALATE"])
def test_an_expired_question_about_the_whole_playbook_ends_it(on_expiry: str) -> None:
    case = Case(
        "chargeback",
        config=needs_yes(DOMAIN, f"{{id: c, severity: CRITICAL, expiresAfter: 1h, onExpiry: {on_expiry}}}"),
    )
    case.pass_time(hours=2)
    case.settle()
    assert (case.state.status, case.state.run.status) == ("ESCALATED", "FAILED")
    wanted = "means no" if on_expiry == "REJECT" else "the approval expired"
    assert wanted in case.state.reason
