"""Does the same replay give the same streams, and are its streams what production would have kept?"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from story import CONFIG, DECIDED, normalized, payment
from test_search import WORLDS, World, begun

from sentinai.errors import Conflict, SentinaiError
from sentinai.events.catalog import decode
from sentinai.events.envelope import Event, chain_hash
from sentinai.events.intake import ExceptionIngested
from sentinai.events.policy import PolicyEvaluated
from sentinai.models.exception_record import ExceptionState
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator import people
from sentinai.orchestrator import replay as replay_module
from sentinai.orchestrator.fold import fold
from sentinai.orchestrator.people import StepDone
from sentinai.orchestrator.pipeline import CONSUMER_OF
from sentinai.orchestrator.replay import Replay
from sentinai.orchestrator.stages.catalog import BY_NAME
from sentinai.orchestrator.stages.occasion import Occasion
from sentinai.packs.effective import TenantConfiguration

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TENANT = TenantConfiguration("acme", 1, False, (CONFIG,), frozenset())


def reported(code: str, replay: Replay | None = None, number: str = "p1", **more: Any) -> tuple[Replay, UUID]:
    """One report, and everything that follows by itself."""
    replay = replay or Replay(TENANT, NOW)
    exception_id = replay.report(ExceptionIngested("psp", payment(number, code, **more)))
    replay.settle()
    return replay, exception_id


def call_of(replay: Replay, exception_id: UUID) -> UUID:
    return UUID(list(replay.state(exception_id).calls)[-1])


def types(replay: Replay, exception_id: UUID) -> list[str]:
    return [e.type for e in replay.events[exception_id]]


def streams(replay: Replay) -> dict[UUID, list[bytes]]:
    """All there is of a replay: each event's hash is over everything in it and before it."""
    return {exception_id: [e.hash for e in events] for exception_id, events in replay.events.items()}


# ---- the same again --------------------------------------------------------------------------------------------------


def a_day(subject: str = "ann", hours: int = 1) -> Replay:
    replay, refund = reported("refund_stuck")
    replay, dispute = reported("chargeback", replay, "p2")
    replay.person(dispute, subject, lambda s, w: people.approve(s, w, s.approvals[0].approval_id, "fine"))
    replay.attempt(refund, call_of(replay, refund))
    replay.answer(refund, call_of(replay, refund), {"ref": 1})
    reported("review", replay, "p3")
    replay.tick(NOW + timedelta(hours=hours))
    replay.settle()
    return replay


def test_the_same_day_gives_the_same_streams_to_the_last_byte() -> None:
    assert streams(a_day()) == streams(a_day())


@pytest.mark.parametrize("other", [{"subject": "bob"}, {"hours": 5}])
def test_another_day_gives_others(other: dict[str, Any]) -> None:
    assert streams(a_day(**other)) != streams(a_day())


def test_no_two_events_have_one_id_and_each_stream_counts_from_one() -> None:
    replay = a_day()
    events = [event for stream in replay.events.values() for event in stream]
    assert len({event.event_id for event in events}) == len(events)
    for stream in replay.events.values():
        assert [event.sequence for event in stream] == list(range(1, len(stream) + 1))


def test_exceptions_are_known_in_the_order_in_which_they_began() -> None:
    replay = a_day()
    assert replay.exceptions == list(replay.events)
    assert [replay.state(e).exception_type for e in replay.exceptions] == [
        "REFUND_STUCK",
        "CHARGEBACK",
        "MANUAL_REVIEW",
    ]


def test_every_stream_is_one_chain() -> None:
    for stream in a_day().events.values():
        previous = b""
        for event in stream:
            assert event.hash == chain_hash(previous, event)
            previous = event.hash


def test_whoever_decides_signs() -> None:
    replay, exception_id = reported("refund_stuck")
    actors = {e.type: e.actor.split("/")[0] for e in replay.events[exception_id]}
    assert actors["ExceptionIngested"] == "user:reporter"
    assert {name: actors[name] for name in ("ExceptionNormalized", "TriageCompleted", "PolicyEvaluated", "PlaybookStarted")} == {
        "ExceptionNormalized": "agent:intake",
        "TriageCompleted": "agent:triage",
        "PolicyEvaluated": "agent:policy",
        "PlaybookStarted": "agent:playbook",
    }  # fmt: skip


# ---- reports ---------------------------------------------------------------------------------------------------------


def test_a_repetition_is_taken_to_the_first_and_is_an_exception_of_its_own_no_more() -> None:
    replay, first = reported("review")
    replay, again = reported("review", replay)
    assert types(replay, again) == ["ExceptionIngested", "ExceptionMerged"]
    assert replay.state(again).merged_into == first
    assert (replay.state(first).occurrences, types(replay, first)[-1]) == (2, "ExceptionRecurred")


def test_after_the_first_is_closed_a_repetition_begins_anew_and_is_first_itself() -> None:
    replay, first = reported("card_declined")
    replay, second = reported("review", replay)
    replay, third = reported("review", replay)
    assert replay.state(first).status == "RESOLVED"
    assert replay.state(third).merged_into == second


def test_a_delivery_of_many_is_as_many_exceptions() -> None:
    replay = Replay(TENANT, NOW)
    failures = [payment("a"), payment("b"), payment("a")]
    parent = replay.report(ExceptionIngested("psp-batch", {"failures": failures}))
    replay.settle()
    child = uuid5(parent, "1")
    assert replay.exceptions == [parent, child]
    assert types(replay, child)[0] == "ExceptionSplitOff"
    assert types(replay, parent).count("ExceptionRecurred") == 1


# ---- dead letters ----------------------------------------------------------------------------------------------------


def test_what_a_stage_cannot_handle_is_a_dead_letter_and_nothing_else_is_recorded() -> None:
    replay = Replay(TENANT, NOW)
    exception_id = replay.report(ExceptionIngested("psp-batch", {"failures": 7}))
    replay.settle()
    assert types(replay, exception_id) == ["ExceptionIngested", "DeadLettered"]
    dead = replay.events[exception_id][-1]
    assert (dead.body.consumer, dead.body.sequence, dead.body.error, dead.actor) == (
        "intake",
        1,
        "Rejected",
        "system:worker",
    )
    assert "must give a list" in dead.body.message
    assert (replay.state(exception_id).blocked, replay.waiting) == (1, [])


def test_a_dead_letter_of_one_exception_holds_no_other_up() -> None:
    replay = Replay(TENANT, NOW)
    dead = replay.report(ExceptionIngested("psp-batch", {"failures": 7}))
    replay, fine = reported("card_declined", replay)
    assert (replay.state(dead).status, replay.state(fine).status) == ("OPEN", "RESOLVED")


def test_a_run_whose_playbook_is_gone_waits_as_a_dead_letter() -> None:
    without = replace(CONFIG, hash="without playbooks", playbooks=())
    replay = Replay(TENANT, NOW, used=(without,))
    exception_id = replay.report(ExceptionIngested("psp", payment(code="refund_stuck")))
    while "PlaybookMatched" not in types(replay, exception_id):
        replay.handle(replay.waiting[0])
    replay.record(exception_id, PolicyEvaluated(DECIDED, "APPROVED"), "agent:policy", without)
    replay.settle()
    dead = replay.events[exception_id][-1].body
    assert (dead.consumer, dead.error) == ("playbook", "Rejected")
    assert "recalculate" in dead.message


def test_a_pack_that_never_comes_to_rest_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "EVENTS_MAX", 3)
    replay = Replay(TENANT, NOW)
    replay.report(ExceptionIngested("psp", payment()))
    with pytest.raises(AssertionError, match="no rest after 3 events"):
        replay.settle()


# ---- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (0, []),
        (209, []),
        (210, ["SLAImminent"]),
        (239, ["SLAImminent"]),
        (240, ["SLAImminent", "SLAExpired", "ToolExecutionCalledOff", "PlaybookCancelled", "ExceptionEscalated"]),
        (9999, ["SLAImminent", "SLAExpired", "ToolExecutionCalledOff", "PlaybookCancelled", "ExceptionEscalated"]),
    ],
)
def test_time_says_what_has_come_to_be_true_and_says_it_once(minutes: int, said: list[str]) -> None:
    replay, exception_id = reported("refund_stuck")
    mark = len(replay.events[exception_id])
    for _ in range(3):
        replay.tick(NOW + timedelta(minutes=minutes))
    assert types(replay, exception_id)[mark:] == said
    assert {e.actor for e in replay.events[exception_id][mark:]} <= {"system:sla"}


def test_time_comes_for_every_exception() -> None:
    replay, first = reported("refund_stuck")
    replay, second = reported("refund_stuck", replay, "p2")
    replay.tick(NOW + timedelta(hours=5))
    assert [types(replay, e)[-1] for e in (first, second)] == ["ExceptionEscalated"] * 2


def test_what_is_closed_is_never_late() -> None:
    replay, exception_id = reported("card_declined")
    before = types(replay, exception_id)
    replay.tick(NOW + timedelta(days=9))
    assert types(replay, exception_id) == before


def test_a_question_that_nobody_answered_in_time_ends_its_run() -> None:
    replay, exception_id = reported("review")
    replay.person(exception_id, "op", lambda s, w: people.complete(s, w, StepDone("look", None, None)))
    replay.settle()
    replay.tick(NOW + timedelta(hours=2))
    replay.settle()
    assert types(replay, exception_id)[-5:] == [
        "ApprovalExpired",
        "PlaybookStepFailed",
        "PlaybookFailed",
        "ExceptionEscalated",
        "FeedbackCaptured",
    ]


def test_everything_recorded_after_a_tick_happens_then() -> None:
    replay, exception_id = reported("refund_stuck")
    later = NOW + timedelta(hours=1)
    replay.tick(later)
    replay.person(exception_id, "ann", lambda s, w: people.resolve(s, w, "done"))
    assert replay.state(exception_id).resolved_at == later


# ---- calls and people ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ends"), [(ExecutionStatus.FAILED, "PlaybookFailed"), (ExecutionStatus.UNKNOWN, "ExceptionEscalated")]
)
def test_how_a_call_failed_decides_what_follows(status: ExecutionStatus, ends: str) -> None:
    replay, exception_id = reported("refund_stuck")
    assert replay.attempt(exception_id, call_of(replay, exception_id)).verdict == "go"
    replay.fail(exception_id, call_of(replay, exception_id), "so", status)
    replay.settle()
    assert ends in types(replay, exception_id)
    assert ("PlaybookFailed" in types(replay, exception_id)) == (status == "FAILED")


def test_attempts_are_counted_by_call() -> None:
    replay, exception_id = reported("refund_stuck")
    for _ in range(3):
        replay.attempt(exception_id, call_of(replay, exception_id))
    started = [e.body.attempt for e in replay.events[exception_id] if e.type == "ToolExecutionStarted"]
    assert started == [1, 2, 3]


def test_an_attempt_that_the_gate_stops_is_over_and_was_not_made() -> None:
    replay, exception_id = reported("refund_stuck")
    replay.tenant = replace(TENANT, disabled_tools=frozenset({"payments.refundAgain"}))
    assert replay.attempt(exception_id, call_of(replay, exception_id)).verdict == "stop"
    assert "ToolExecutionStarted" not in types(replay, exception_id)
    failed = replay.events[exception_id][-1].body
    assert failed.status == "FAILED"
    assert failed.error.startswith("not called: policy: ")


@pytest.mark.parametrize(
    ("code", "more", "status"), [("refund_stuck", {}, "FAILED"), ("card_declined", {"retry": True}, "FAILED")]
)
def test_the_tools_own_gate_refuses_before_any_attempt(code: str, more: dict[str, Any], status: str) -> None:
    replay, exception_id = reported(code, Replay(TENANT, NOW, lambda *_: "too large"), **more)
    (call,) = replay.state(exception_id).calls.values()
    assert call.status == status
    assert replay.state(exception_id).status == "ESCALATED"


def test_a_notification_is_no_business_of_the_tools_gate() -> None:
    replay = Replay(TENANT, NOW, lambda _c, _t, request: f"{request.tool} refused" if request.channel else None)
    replay, exception_id = reported("card_declined", replay, retry=True)
    replay.answer(exception_id, call_of(replay, exception_id), {"status": "declined"})
    replay.settle()
    channels = [e.body for e in replay.events[exception_id] if e.type == "ToolExecutionRequested" and e.body.channel]
    assert [c.tool for c in channels] == ["ops"]
    assert "ToolExecutionFailed" not in types(replay, exception_id)


def test_a_command_that_is_refused_records_nothing() -> None:
    replay, exception_id = reported("card_declined")
    before = streams(replay)
    with pytest.raises(Conflict):
        replay.person(exception_id, "ann", lambda s, w: people.resolve(s, w, "done"))
    assert streams(replay) == before


@pytest.mark.parametrize(("used", "known"), [((CONFIG,), True), ((), False)])
def test_an_exception_stays_under_its_configuration_if_that_is_known_at_all(used: Any, known: bool) -> None:
    newer = replace(CONFIG, hash="of tomorrow")
    replay = Replay(replace(TENANT, active=(newer,)), NOW, used=used)
    exception_id = replay.report(ExceptionIngested("psp", payment(code="refund_stuck")))
    replay.record(exception_id, normalized(), "agent:intake", CONFIG)
    assert replay.situation(exception_id).config is (CONFIG if known else None)
    replay.settle()
    assert replay.state(exception_id).config_hash == newer.hash, "what intake itself decides is under what is active"


# ---- whatever may happen ---------------------------------------------------------------------------------------------

MOVES = st.lists(st.integers(0, 63), min_size=8, max_size=40)
RARE = {"escalate", "resolve", "reopen", "recalculate", "pass"}
"""One move in four may be one of these too: they end what had only begun."""


@cache
def beginning(name: str) -> World:
    return begun(name)


def walked(name: str, moves: Sequence[int], before_each: Callable[[World], None] = lambda _: None) -> World:
    """One of everything that may happen, again and again; what is refused did not happen."""
    world = beginning(name).fork()
    for move in moves:
        before_each(world)
        may = list(world.moves())
        usual = [(name, act) for name, act in may if name.split()[-1] not in RARE]
        may = usual if usual and move % 4 else may
        if not may:
            break
        try:
            may[move // 4 % len(may)][1](world)
        except SentinaiError:
            continue
    return world


def read_back(events: Sequence[Event]) -> list[Event]:
    """As they come from the log: the typed body out of the stored bytes."""
    return [msgspec.structs.replace(e, body=decode(e.type, e.schema_version, e.payload)) for e in events]


@settings(max_examples=40)
@given(name=st.sampled_from(sorted(WORLDS)), moves=MOVES)
def test_whatever_happened_the_stream_alone_gives_the_state_that_was_kept(name: str, moves: list[int]) -> None:
    world = walked(name, moves)
    for exception_id, events in world.replay.events.items():
        kept = world.replay.state(exception_id)
        assert fold(events) == kept
        again = read_back(events)
        assert [e.body for e in again] == [e.body for e in events]
        assert fold(again) == kept
        assert msgspec.json.decode(msgspec.json.encode(kept), type=ExceptionState) == kept


@settings(max_examples=20)
@given(name=st.sampled_from(sorted(WORLDS)), moves=MOVES)
def test_whatever_happened_happens_again_in_the_same_way(name: str, moves: list[int]) -> None:
    assert streams(walked(name, moves).replay) == streams(walked(name, moves).replay)


@settings(max_examples=20)
@given(name=st.sampled_from(sorted(WORLDS)), moves=MOVES)
def test_whatever_happened_the_state_contradicts_itself_nowhere(name: str, moves: list[int]) -> None:
    world = walked(name, moves)
    for exception_id in world.replay.exceptions:
        state = world.replay.state(exception_id)
        assert (state.status == "MERGED") == (state.merged_into is not None)
        assert (state.status == "RESOLVED") == (state.resolved_at is not None)
        assert state.judged_at <= state.sequence
        assert state.learnt_at <= state.sequence
        assert len(set(state.involved)) == len(state.involved)
        assert state.status != "AWAITING_APPROVAL" or state.approvals
        assert all(len(set(a.votes)) == len(a.votes) < a.approvers for a in state.approvals)
        running = [s for s in state.run.steps.values() if s.status == "RUNNING"] if state.run else []
        assert len(running) <= 1
        assert not running or (state.run is not None and state.run.active)


@settings(max_examples=20)
@given(name=st.sampled_from(sorted(WORLDS)), moves=MOVES)
def test_whatever_happened_it_comes_to_rest(name: str, moves: list[int]) -> None:
    replay = walked(name, moves).replay
    replay.settle()
    assert replay.waiting == []
    for exception_id, events in replay.events.items():
        assert "DeadLettered" not in {e.type for e in events}
        assert {e.type for e in events if not e.handled} <= set(CONSUMER_OF)
        assert replay.state(exception_id).blocked == 0


KNOW_NOTHING_ELSE = {"triage", "policy", "playbook", "feedback"}
"""Stages that decide by the exception alone."""


def asked_twice(world: World) -> None:
    replay = world.replay
    for event in replay.waiting:
        stage = BY_NAME[CONSUMER_OF[event.type]]
        if stage.name not in KNOW_NOTHING_ELSE or event.correlation_id is None:
            continue
        here = replay.situation(event.correlation_id)
        before = copy.deepcopy(here.state)
        occasion = Occasion(here.state, here.tenant, here.config, here.now, event)
        said = stage.decide(occasion, None)
        assert here.state == before, f"{stage.name} changed the state when it heard of {event.type}"
        assert stage.decide(occasion, None) == said


@settings(max_examples=15)
@given(name=st.sampled_from(sorted(WORLDS)), moves=MOVES)
def test_a_stage_that_is_asked_twice_says_the_same_and_changes_nothing(name: str, moves: list[int]) -> None:
    walked(name, moves, asked_twice)
