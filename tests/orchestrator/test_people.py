"""What does each command of a person record in each state, and in which words is it refused?"""

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from story import DECIDED, NOW, By, Story, given, ingested, normalized, triaged

from sentinai.errors import Conflict, Denied, SentinaiError
from sentinai.events import closing, intake, playbook, policy, tool
from sentinai.models.actor import user
from sentinai.models.run import RunStatus
from sentinai.orchestrator import people
from sentinai.orchestrator.people import Person, StepDone

KEY, CALL, ASKED, OTHER = UUID(int=1), UUID(int=50), UUID(int=60), UUID(int=61)

NEW = (ingested(), normalized())
TRIAGED = (*NEW, triaged("REFUND_STUCK", "HIGH"))
MATCH = policy.PlaybookMatched("refund", 1)
READY = (*TRIAGED, policy.PolicyEvaluated(DECIDED, "APPROVED"), MATCH)
QUESTION = policy.ApprovalRequested(ASKED, "why")
QUESTIONED = (*TRIAGED, policy.PolicyEvaluated(DECIDED, "NEEDS_APPROVAL", ["why"]), MATCH, QUESTION)
RUNNING = (*READY, playbook.PlaybookStarted("refund", 1, ["again", "close"], DECIDED))
BY_TOOL = playbook.PlaybookStepStarted("again", 1, "call_tool", waits_for="TOOL")  # type: ignore[arg-type]
CALLING = (*RUNNING, BY_TOOL, tool.ToolExecutionRequested(CALL, "refundAgain", {}, "again"))
UNDER_WAY = (*CALLING, tool.ToolExecutionStarted(CALL, "refundAgain", 1))
LOST = (*UNDER_WAY, tool.ToolExecutionFailed(CALL, "refundAgain", "UNKNOWN", "?", 1, "again"))
BY_HAND = (*RUNNING, playbook.PlaybookStepStarted("look", 1, "add_comment", "human"))
STEP_ASKS = (
    *RUNNING,
    playbook.PlaybookStepStarted("ask", 2, "request_approval", waits_for="APPROVAL"),  # type: ignore[arg-type]
    policy.ApprovalRequested(ASKED, "why", "ask"),
)

STATES: dict[str, tuple[Any, ...]] = {
    "reported": (ingested(),),
    "normalised": NEW,
    "triaged": TRIAGED,
    "ready": READY,
    "asked about": QUESTIONED,
    "between two steps": RUNNING,
    "calls": CALLING,
    "call under way": UNDER_WAY,
    "end of a call unknown": (*LOST, closing.ExceptionEscalated(["step again waits for a person"])),
    "asked about while it calls": (*UNDER_WAY, QUESTION),
    "waits for a person": BY_HAND,
    "answered and not taken in": (*BY_HAND, By("user:bob", playbook.PlaybookStepCompletionRequested(1, step="look"))),
    "step asks": STEP_ASKS,
    "escalated": (*TRIAGED, closing.ExceptionEscalated(["no playbook"])),
    "run failed": (
        *UNDER_WAY,
        tool.ToolExecutionFailed(CALL, "refundAgain", "FAILED", "no", 1, "again"),
        playbook.PlaybookFailed("refund", "so"),
        closing.ExceptionEscalated(["so"]),
    ),
    "resolved": (*RUNNING, closing.ExceptionResolved("done"), playbook.PlaybookCompleted("refund", DECIDED)),
    "resolved in the middle": (*CALLING, closing.ExceptionResolved("done")),
    "merged": (*NEW, intake.ExceptionMerged(OTHER, DECIDED)),
}
COMMANDS: dict[str, Callable[[Any, Person], list[Any]]] = {
    "assign": lambda state, who: people.assign(state, who, "zoe"),
    "escalate": lambda state, who: people.escalate(state, who, "mine", "desk"),
    "resolve": lambda state, who: people.resolve(state, who, "done"),
    "reopen": lambda state, who: people.reopen(state, who, "came back"),
    "recalculate": lambda state, who: people.recalculate(state, who, "new pack"),
    "complete": lambda state, who: people.complete(state, who, StepDone(_place(state), {"ref": 1}, "by phone")),
    "skip": lambda state, who: people.skip(state, who, _place(state), "not needed"),
    "approve": lambda state, who: people.approve(state, who, ASKED, "fine"),
    "reject": lambda state, who: people.reject(state, who, ASKED, "no"),
}

NO_STEP = "No step of this exception waits for a person."
NOT_OPEN = "The approval is not open any more."
WAITS = "The playbook waits for an approval: approve or reject it."
STAYS = "cannot become"
CANCELLED = ["PlaybookCancelled"]
OFF = ["ToolExecutionCalledOff", "PlaybookCancelled"]
WITHDRAWN = ["ApprovalWithdrawn", "PlaybookCancelled"]
BOTH = ["ApprovalWithdrawn", "ToolExecutionCalledOff", "PlaybookCancelled"]
DONE, SKIP = "PlaybookStepCompletionRequested", "PlaybookStepSkipRequested"

ENDS: dict[str, list[str]] = {
    "reported": [], "normalised": [], "triaged": [], "escalated": [], "run failed": [], "resolved": [], "merged": [],
    "ready": CANCELLED, "between two steps": CANCELLED, "waits for a person": CANCELLED, "answered and not taken in": CANCELLED,
    "end of a call unknown": CANCELLED, "calls": OFF, "call under way": OFF, "resolved in the middle": OFF,
    "asked about": WITHDRAWN, "step asks": WITHDRAWN, "asked about while it calls": BOTH,
}  # fmt: skip
"""What is said of the run by whoever ends it."""
BY_HAND_SAYS: dict[str, list[str] | str] = {
    "calls": ["ToolExecutionCalledOff"], "call under way": ["ToolExecutionCalledOff"], "end of a call unknown": [],
    "resolved in the middle": ["ToolExecutionCalledOff"], "waits for a person": [],
    "asked about while it calls": WAITS, "step asks": WAITS, "answered and not taken in": "Step look was answered already.",
}  # fmt: skip
"""What is said before a step is done or skipped by hand, or why it is not; everywhere else no step waits."""
OPEN_QUESTION = {"asked about", "step asks", "asked about while it calls"}
CLOSED = {"resolved", "resolved in the middle", "merged"}


def expected(state: str, command: str) -> list[str] | str:
    """What the command records, or the words in which it is refused."""
    match command:
        case "assign":
            return "The exception is" if state in CLOSED else ["OwnerAssigned"]
        case "escalate":
            has_people = state in CLOSED | {"escalated", "run failed", "end of a call unknown"}
            return STAYS if has_people else [*ENDS[state], "ExceptionEscalated"]
        case "resolve":
            return STAYS if state in CLOSED else [*ENDS[state], "ExceptionResolved"]
        case "reopen":
            return [*ENDS[state], "ExceptionReopened"] if state in CLOSED - {"merged"} else STAYS
        case "recalculate" if state in CLOSED:
            return "The exception is"
        case "recalculate" if state in {"reported", "normalised"}:
            return "The exception is not triaged yet; wait for it."
        case "recalculate":
            return [*ENDS[state], "PlaybookRecalculationRequested"]
        case "complete" | "skip":
            first = BY_HAND_SAYS.get(state, NO_STEP)
            return first if isinstance(first, str) else [*first, DONE if command == "complete" else SKIP]
        case "approve":
            return ["ApprovalGranted"] if state in OPEN_QUESTION else NOT_OPEN
    return ["ApprovalRejected"] if state in OPEN_QUESTION else NOT_OPEN


def allowed(*names: str) -> list[tuple[str, str]]:
    """(state, command) of those that are not refused."""
    return [(state, name) for state in STATES for name in names if isinstance(expected(state, name), list)]


def _place(state: Any) -> str:
    waiting = state.run.waiting if state.run else None
    return waiting[0] if waiting else "again"


def person(subject: str = "ann", now: datetime = NOW) -> Person:
    return Person(subject, user(subject, KEY), now)


def command(story: Story, name: str, subject: str = "ann") -> list[Any]:
    return COMMANDS[name](story.state, person(subject))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_records_this_or_is_refused_in_these_words(state: str, name: str) -> None:
    story = given(*STATES[state])
    before = copy.deepcopy(story.state)
    wanted = expected(state, name)
    if isinstance(wanted, str):
        with pytest.raises(Conflict) as refused:
            command(story, name)
        assert wanted in refused.value.message
    else:
        assert [type(body).__name__ for body in command(story, name)] == wanted
    assert story.state == before, "a command decides; it changes nothing"


@pytest.mark.parametrize(("state", "name"), allowed("escalate", "resolve", "reopen", "recalculate"))
def test_what_a_person_ends_is_over_at_once(state: str, name: str) -> None:
    story = given(*STATES[state])
    for body in command(story, name):
        story.record(body, person().actor)
    run = story.state.run
    assert run is None or not run.active
    assert story.state.approvals == []
    assert {str(call.status) for call in story.state.calls.values()} <= {"CANCELLED", "RUNNING", "UNKNOWN", "FAILED"}


@pytest.mark.parametrize(("state", "name"), allowed("complete", "skip", "approve", "reject", "reopen"))
def test_of_two_people_who_say_the_same_the_second_is_told(state: str, name: str) -> None:
    story = given(*STATES[state])
    for body in command(story, name):
        story.record(body, person().actor)
    with pytest.raises(Conflict):
        command(story, name, "zoe")


# ---- what is recorded ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "name", "said"),
    [
        ("triaged", "assign", playbook.OwnerAssigned("zoe")),
        ("triaged", "escalate", closing.ExceptionEscalated(["mine"], "desk")),
        ("triaged", "resolve", closing.ExceptionResolved("done")),
        ("resolved", "reopen", closing.ExceptionReopened("came back")),
        ("triaged", "recalculate", playbook.PlaybookRecalculationRequested("new pack")),
        ("waits for a person", "complete", playbook.PlaybookStepCompletionRequested(1, {"ref": 1}, "by phone", "look")),
        ("waits for a person", "skip", playbook.PlaybookStepSkipRequested(1, "not needed", "look")),
        ("end of a call unknown", "complete", playbook.PlaybookStepCompletionRequested(1, {"ref": 1}, "by phone", "again")),
        ("asked about", "approve", policy.ApprovalGranted(ASKED, None, "fine")),
        ("step asks", "approve", policy.ApprovalGranted(ASKED, "ask", "fine")),
        ("asked about", "reject", policy.ApprovalRejected(ASKED, None, "no")),
        ("step asks", "reject", policy.ApprovalRejected(ASKED, "ask", "no")),
    ],
)  # fmt: skip
def test_what_the_person_said_is_recorded_as_said(state: str, name: str, said: Any) -> None:
    assert command(given(*STATES[state]), name) == [said]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("escalate", "escalated by ann"),
        ("resolve", "resolved by ann"),
        ("recalculate", "decided anew for ann"),
    ],
)
def test_everything_that_ends_says_by_whom(name: str, reason: str) -> None:
    withdrawn, called_off, cancelled, _ = command(given(*STATES["asked about while it calls"]), name)
    assert withdrawn == policy.ApprovalWithdrawn(ASKED, reason)
    assert called_off == tool.ToolExecutionCalledOff(CALL, "refundAgain", reason, True)
    assert cancelled == playbook.PlaybookCancelled("refund", reason)


@pytest.mark.parametrize(("state", "under_way"), [("calls", False), ("call under way", True)])
@pytest.mark.parametrize(("name", "reason"), [("complete", "done by ann"), ("skip", "skipped by ann")])
def test_a_step_done_by_hand_wants_no_further_attempt(state: str, under_way: bool, name: str, reason: str) -> None:
    called_off, _ = command(given(*STATES[state]), name)
    assert called_off == tool.ToolExecutionCalledOff(CALL, "refundAgain", reason, under_way)


# ---- which step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["look", "1"])
def test_a_step_is_named_by_path_or_place(place: str) -> None:
    state = given(*BY_HAND).state
    (done,) = people.complete(state, person(), StepDone(place, None, None))
    (skipped,) = people.skip(state, person(), place, "no")
    assert (done, skipped) == (
        playbook.PlaybookStepCompletionRequested(1, None, None, "look"),
        playbook.PlaybookStepSkipRequested(1, "no", "look"),
    )


@pytest.mark.parametrize("place", ["", "0", "2", "close", "Look", " look", "01", "1.0"])
def test_any_other_step_does_not_wait_and_the_one_that_does_is_named(place: str) -> None:
    with pytest.raises(Conflict) as refused:
        people.complete(given(*BY_HAND).state, person(), StepDone(place, None, None))
    assert refused.value.message == f"Step {place} does not wait; step 1 (look) does."
    assert refused.value.details == {"waiting": "look"}


# ---- who -------------------------------------------------------------------------------------------------------------

FOUR_EYES = "may not answer its approvals"


@pytest.mark.parametrize(
    ("past", "subject", "may"),
    [
        (QUESTIONED, "ann", True),
        (QUESTIONED, "reporter", False),
        (QUESTIONED, "Reporter", True),
        ((*NEW, intake.ExceptionRecurred(2, OTHER, "psp", "ann"), *QUESTIONED[2:]), "ann", False),
        ((*TRIAGED, By("user:ann", playbook.PlaybookRecalculationRequested()), *QUESTIONED[3:]), "ann", False),
        ((*TRIAGED, By("user:ann/k2", playbook.PlaybookRecalculationRequested()), *QUESTIONED[3:]), "ann", False),
        ((*TRIAGED, By("user:ann", playbook.OwnerAssigned("ann")), *QUESTIONED[3:]), "ann", True),
        ((*QUESTIONED[:-1], By("user:ann", QUESTION)), "ann", False),
        ((*QUESTIONED[:-1], By("user:ann/k2", QUESTION)), "ann", False),
        ((*QUESTIONED[:-1], By("user:bob", QUESTION)), "ann", True),
        ((*STATES["answered and not taken in"], QUESTION), "bob", False),
        ((*STATES["answered and not taken in"], QUESTION), "ann", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["approve", "reject"])
def test_four_eyes_over_report_question_step_and_answer(past: Any, subject: str, may: bool, name: str) -> None:
    story = given(*past)
    if may:
        assert len(command(story, name, subject)) == 1
        return
    with pytest.raises(Denied, match=FOUR_EYES):
        command(story, name, subject)


@pytest.mark.parametrize("name", ["complete", "skip"])
@pytest.mark.parametrize(
    ("votes", "subject", "may"),
    [
        ((By("user:ann", policy.ApprovalGranted(ASKED)),), "ann", False),
        ((By("user:ann/k2", policy.ApprovalGranted(ASKED)),), "ann", False),
        ((By("user:ann", policy.ApprovalGranted(ASKED)),), "bob", True),
        ((By("user:ann", policy.ApprovalGranted(ASKED)),), "reporter", True),
        ((By("user:ann", policy.ApprovalVoted(ASKED)), By("user:bob", policy.ApprovalGranted(ASKED))), "ann", False),
        ((By("user:ann", policy.ApprovalVoted(ASKED)), By("user:bob", policy.ApprovalGranted(ASKED))), "bob", False),
        ((By("user:ann", policy.ApprovalVoted(ASKED)), policy.ApprovalWithdrawn(ASKED, "so"), QUESTION, By("user:bob", policy.ApprovalGranted(ASKED))), "ann", False),
    ],
)  # fmt: skip
def test_whoever_said_yes_does_no_step_by_hand(votes: Any, subject: str, may: bool, name: str) -> None:
    story = given(*QUESTIONED, *votes, *BY_HAND[len(READY) :])
    if may:
        assert len(command(story, name, subject)) == 1
        return
    with pytest.raises(Denied, match="does none of its steps by hand"):
        command(story, name, subject)


# ---- how many --------------------------------------------------------------------------------------------------------


def wants(approvers: int, **more: Any) -> Story:
    return given(*QUESTIONED[:-1], policy.ApprovalRequested(ASKED, "why", approvers=approvers, **more))


@pytest.mark.parametrize("approvers", [1, 2, 3, 10])
def test_the_last_yes_that_was_needed_grants(approvers: int) -> None:
    story = wants(approvers)
    for number in range(1, approvers + 1):
        assert story.state.run is not None
        assert story.state.run.status is RunStatus.AWAITING_APPROVAL
        (said,) = command(story, "approve", f"person {number}")
        kind = policy.ApprovalGranted if number == approvers else policy.ApprovalVoted
        assert said == kind(ASKED, None, "fine")
        story.record(said, person(f"person {number}").actor)
    assert story.state.run is not None
    assert story.state.run.status is RunStatus.READY
    assert story.state.voters == [f"person {n}" for n in range(1, approvers + 1)]


def test_the_same_person_is_not_counted_twice_whatever_key_they_use() -> None:
    story = wants(2).given(By("user:ann/k2", policy.ApprovalVoted(ASKED)))
    for name in ("approve", "reject"):
        with pytest.raises(Conflict, match="You have said yes already") as refused:
            command(story, name)
        assert refused.value.details == {"votes": 1}


def test_one_no_is_enough_whatever_was_said_before() -> None:
    story = wants(3).given(By("user:bob", policy.ApprovalVoted(ASKED)))
    (said,) = command(story, "reject")
    story.record(said, person().actor)
    assert story.state.run is not None
    assert (story.state.run.refused, story.state.taken_over) == (f"rejected by {person().actor}: no", True)


@pytest.mark.parametrize(("late", "may"), [(-1, True), (0, False), (1, False)])
def test_a_yes_is_too_late_from_the_moment_at_which_the_question_expires(late: int, may: bool) -> None:
    at = NOW + timedelta(hours=1)
    story = wants(1, expires_at=at)
    who = person(now=at + timedelta(microseconds=late))
    if may:
        assert people.approve(story.state, who, ASKED, None) == [policy.ApprovalGranted(ASKED)]
        return
    with pytest.raises(Conflict, match="has expired") as refused:
        people.approve(story.state, who, ASKED, None)
    assert refused.value.details == {"expires_at": at.isoformat()}


def test_a_no_is_never_too_late_while_the_question_is_open() -> None:
    story = wants(1, expires_at=NOW)
    assert people.reject(story.state, person(), ASKED, None) == [policy.ApprovalRejected(ASKED)]


@pytest.mark.parametrize("name", [people.approve, people.reject])
def test_of_two_open_questions_the_one_that_was_named_is_answered(name: Any) -> None:
    state = given(*STEP_ASKS, policy.ApprovalRequested(OTHER, "too")).state
    assert [name(state, person(), a, None)[0].step for a in (OTHER, ASKED)] == [None, "ask"]
    with pytest.raises(Conflict, match=NOT_OPEN):
        name(state, person(), UUID(int=9), None)


def test_what_is_refused_names_what_stands_instead() -> None:
    for state, name, details in (
        ("resolved", "assign", {"status": "RESOLVED"}),
        ("merged", "recalculate", {"status": "MERGED"}),
        ("normalised", "recalculate", {"status": "OPEN"}),
        ("triaged", "complete", {"status": "OPEN"}),
        ("step asks", "skip", {"status": "AWAITING_APPROVAL"}),
        ("answered and not taken in", "complete", {"waiting": "look"}),
        ("escalated", "escalate", {"status": "ESCALATED", "wanted": "ESCALATED"}),
        ("escalated", "approve", {"status": "ESCALATED"}),
    ):
        with pytest.raises(SentinaiError) as refused:
            command(given(*STATES[state]), name)
        assert refused.value.details == details, (state, name)
