"""Does a yes that was given, or a question that is open, cover what policy asks for now?"""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from sample_packs import DOMAIN, policy_for
from story import CONFIG, DECIDED, NOW, By, Story, compiled, given, ingested, names, normalized, only, payment, triaged

from sentinai.agents.policy import APPROVED, BLOCKED, NEEDS_APPROVAL
from sentinai.events import closing, intake, playbook, policy, tool
from sentinai.models.run import RunStatus
from sentinai.orchestrator.judgement import evaluated, judge, question, tightened
from sentinai.orchestrator.stages.occasion import Situation
from sentinai.packs.effective import EffectiveConfig
from sentinai.playbooks.plan import plan_of

ASKED, OTHER, CALL = UUID(int=60), UUID(int=61), UUID(int=50)
CRITICAL = "CRITICAL without autoActionOnCritical"
UNSURE = "confidence 0.10 below threshold 0.60"
HUGE = "approval rule huge"
RULES = policy_for("acme").replace(
    "humanApprovalRules:\n",
    "humanApprovalRules:\n  - {id: crit, severity: CRITICAL, approvers: 2, expiresAfter: 1h, onExpiry: REJECT}\n",
)
FORBIDDEN = frozenset({"payments.refundAgain"})


def situation(story: Story, **world: Any) -> Situation:
    tenant = replace(story.tenant, **world) if world else story.tenant
    return Situation(story.state, tenant, story.own, story.now)


def refund(severity: str = "HIGH", confidence: float = 1.0, context: Any = None, **more: Any) -> Story:
    """A stuck refund, as far as triage."""
    return given(
        ingested(payment(code="refund_stuck")),
        normalized(context),
        triaged("REFUND_STUCK", severity, confidence),
        **more,
    )


def run_of(story: Story, *reasons: str, plan: str | None = None) -> Story:
    """Its playbook is matched; with reasons, there is a question about it for this plan (today's, if none is named)."""
    story.given(policy.PolicyEvaluated(DECIDED, NEEDS_APPROVAL if reasons else APPROVED, list(reasons)))
    story.given(policy.PlaybookMatched("refund", 1))
    if reasons:
        story.given(policy.ApprovalRequested(ASKED, "why", plan=plan or plan_now(story), reasons=list(reasons)))
    return story


def plan_now(story: Story) -> str:
    assert story.own is not None
    return plan_of(story.own, next(p for p in story.own.playbooks if p.name == "refund"), story.state)


def granted(story: Story) -> Story:
    return story.given(By("user:ann", policy.ApprovalGranted(ASKED)))


def now(story: Story, config: EffectiveConfig | None = None, **world: Any) -> list[Any]:
    """What follows for the run, if policy is asked again now."""
    here = situation(story, **world)
    return tightened(here, judge(here, config or story.own, story.state.run))


# ---- judge -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("triage", "outcome", "reasons"),
    [
        ({}, APPROVED, []),
        ({"severity": "CRITICAL"}, NEEDS_APPROVAL, [CRITICAL]),
        ({"severity": "CRITICAL", "confidence": 0.1}, NEEDS_APPROVAL, [CRITICAL, UNSURE]),
        ({"context": {"amountMinor": 6_000_000}}, NEEDS_APPROVAL, [HUGE]),
    ],
)
def test_without_a_run_the_playbook_that_would_be_chosen_is_judged(
    triage: Any, outcome: str, reasons: list[str]
) -> None:
    story = refund(**triage)
    found = judge(situation(story), story.own)
    assert found.playbook is not None
    assert (found.playbook.name, found.found.outcome, found.found.reasons) == ("refund", outcome, reasons)
    assert found.config is story.own


def test_a_run_is_judged_by_its_own_playbook_though_another_fits_better_now() -> None:
    story = given(ingested(payment(retry=True)), normalized(), triaged())
    chosen = judge(situation(story), story.own)
    story.given(policy.PolicyEvaluated(DECIDED, APPROVED), policy.PlaybookMatched("note-and-close", 1))
    running = judge(situation(story), story.own, story.state.run)
    assert chosen.playbook is not None
    assert running.playbook is not None
    assert (chosen.playbook.name, running.playbook.name) == ("charge-again", "note-and-close")


def test_a_run_whose_playbook_is_gone_is_judged_by_the_one_that_fits() -> None:
    story = run_of(refund())
    assert story.state.run is not None
    newer = msgspec.structs.replace(story.state.run, version=9)
    found = judge(situation(story), story.own, newer)
    assert found.playbook is not None
    assert (found.playbook.name, found.playbook.version) == ("refund", 1)


def test_a_run_whose_exception_no_playbook_takes_any_more_is_blocked() -> None:
    story = run_of(refund()).given(triaged("UNCLASSIFIED", "HIGH", 1.0))
    found = judge(situation(story), story.own, story.state.run)
    assert (found.playbook, found.found.outcome) == (None, BLOCKED)
    assert found.found.reasons == ["no playbook for UNCLASSIFIED of severity HIGH"]


def test_without_a_configuration_nothing_may_run() -> None:
    found = judge(situation(run_of(refund())), None)
    assert (found.config, found.playbook, found.found.outcome) == (None, None, BLOCKED)


def test_to_judge_changes_nothing() -> None:
    story = granted(run_of(refund("CRITICAL"), CRITICAL))
    before = copy.deepcopy(story.state)
    for _ in range(2):
        now(story)
        now(story, disabled_tools=FORBIDDEN)
    assert story.state == before


@pytest.mark.parametrize(("config", "tags"), [(CONFIG, ["eu"]), (None, [])])
def test_what_was_evaluated_carries_the_tenants_tags(config: Any, tags: list[str]) -> None:
    story = refund()
    judgement = judge(situation(story), config)
    said = evaluated(judgement)
    assert (said.policy_tags, said.outcome, said.reasons) == (tags, judgement.found.outcome, judgement.found.reasons)
    assert said.decision is judgement.found.decision


# ---- the question ----------------------------------------------------------------------------------------------------


def ask(story: Story) -> policy.ApprovalRequested:
    here = situation(story)
    return question(here, judge(here, story.own))


def test_a_question_names_every_reason_and_the_plan_it_is_about() -> None:
    story = refund("CRITICAL", 0.1)
    said = ask(story)
    assert (said.step, said.reasons, said.reason) == (None, [CRITICAL, UNSURE], f"{CRITICAL}; {UNSURE}")
    assert said.plan == plan_now(story)
    assert (said.approvers, said.expires_at, said.on_expiry) == (1, None, "ESCALATE")


def test_a_question_takes_what_the_rules_say_of_people_and_time() -> None:
    said = ask(refund("CRITICAL", config=compiled(policy=RULES)))
    assert (said.approvers, said.expires_at, said.on_expiry) == (2, NOW + timedelta(hours=1), "REJECT")


def test_the_same_question_at_the_same_place_has_the_same_id_and_a_later_one_another() -> None:
    story = refund("CRITICAL")
    first = ask(story)
    assert (
        first.approval_id
        == ask(story).approval_id
        == uuid5(story.state.exception_id, f"approval:{story.state.sequence}")
    )
    story.given(playbook.CommentAdded("later"))
    assert ask(story).approval_id != first.approval_id


# ---- covered or not --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", [False, True], ids=["open question", "yes"])
@pytest.mark.parametrize(
    ("bound", "asks"),
    [
        ([CRITICAL, UNSURE], False),
        ([UNSURE, CRITICAL], False),
        ([CRITICAL, UNSURE, HUGE], False),
        ([CRITICAL], True),
        ([UNSURE], True),
        ([HUGE], True),
        ([CRITICAL, "confidence 0.20 below threshold 0.60"], True),
    ],
)
def test_a_yes_or_a_question_covers_a_subset_of_its_reasons(answered: bool, bound: list[str], asks: bool) -> None:
    story = run_of(refund("CRITICAL", 0.1), *bound)
    said = now(granted(story) if answered else story)
    if not asks:
        assert said == []
        return
    withdrawn = [] if answered else ["ApprovalWithdrawn"]
    assert names(said) == ["PolicyEvaluated", *withdrawn, "ApprovalRequested"]
    assert only(said, policy.ApprovalRequested).reasons == [CRITICAL, UNSURE]


def test_less_reasons_than_before_need_no_new_yes() -> None:
    story = granted(run_of(refund("CRITICAL", 0.1), CRITICAL, UNSURE))
    story.given(triaged("REFUND_STUCK", "CRITICAL", 1.0))
    assert now(story) == []


@pytest.mark.parametrize("answered", [False, True], ids=["open question", "yes"])
def test_a_yes_for_another_plan_covers_nothing(answered: bool) -> None:
    story = run_of(refund("CRITICAL"), CRITICAL, plan="of another day")
    said = now(granted(story) if answered else story)
    asked = only(said, policy.ApprovalRequested)
    assert (asked.plan, asked.reasons) == (plan_now(story), [CRITICAL])


@pytest.mark.parametrize(
    ("change", "asks"),
    [
        (normalized({"paymentId": "p2", "amountMinor": 500}), True),
        (normalized({"paymentId": "p1", "amountMinor": 501}), False),
        (intake.ExceptionRecurred(2, OTHER, "psp"), False),
        (playbook.OwnerAssigned("desk"), False),
        (timedelta(hours=3), False),
        (triaged("REFUND_STUCK", "CRITICAL", 0.7), False),
        (triaged("CHARGEBACK", "CRITICAL", 1.0), True),
    ],
)  # fmt: skip
def test_the_plan_changes_with_what_its_tools_would_be_given_and_with_nothing_else(change: Any, asks: bool) -> None:
    story = granted(run_of(refund("CRITICAL"), CRITICAL)).given(change)
    assert ("ApprovalRequested" in names(now(story))) is asks


def test_another_configuration_is_another_plan() -> None:
    story = granted(run_of(refund("CRITICAL"), CRITICAL))
    assert now(story) == []
    assert "ApprovalRequested" in names(now(story, replace(CONFIG, hash="of tomorrow")))


def test_a_run_that_policy_let_through_alone_is_asked_about_when_it_gets_worse() -> None:
    story = run_of(refund())
    assert now(story) == []
    story.given(triaged("REFUND_STUCK", "CRITICAL", 1.0))
    assert names(now(story)) == ["PolicyEvaluated", "ApprovalRequested"]


def test_a_yes_that_is_no_longer_needed_is_not_asked_for() -> None:
    story = run_of(refund("CRITICAL"), CRITICAL).given(triaged("REFUND_STUCK", "HIGH", 1.0))
    assert now(story) == []


def test_a_new_question_voids_the_yes_and_the_run_waits_wherever_it_was() -> None:
    story = granted(run_of(refund("CRITICAL"), CRITICAL))
    story.given(
        playbook.PlaybookStarted("refund", 1, ["again", "close"], DECIDED), triaged("REFUND_STUCK", "CRITICAL", 0.1)
    )
    for body in now(story):
        story.record(body, "agent:policy")
    run = story.state.run
    assert run is not None
    assert (run.status, run.yes, story.state.status) == (RunStatus.AWAITING_APPROVAL, None, "AWAITING_APPROVAL")
    assert now(story) == [], "its own question covers it"


# ---- blocked ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "withdrawn"),
    [
        (lambda: run_of(refund()), []),
        (lambda: run_of(refund("CRITICAL"), CRITICAL), ["ApprovalWithdrawn"]),
        (lambda: granted(run_of(refund("CRITICAL"), CRITICAL)), []),
    ],
    ids=["let through", "asked about", "yes"],
)
def test_blocked_ends_the_run_whatever_was_said_before(story: Callable[[], Story], withdrawn: list[str]) -> None:
    said = now(story(), disabled_tools=FORBIDDEN)
    assert names(said) == ["PolicyEvaluated", *withdrawn, "PlaybookCancelled", "ExceptionEscalated"]
    wanted = ["step again: tool refundAgain enabled does not hold"]
    assert (said[0].outcome, said[-1].reasons, said[-2].reason) == (BLOCKED, wanted, wanted[0])


def test_blocked_calls_off_what_is_under_way() -> None:
    story = run_of(refund()).given(
        playbook.PlaybookStarted("refund", 1, ["again", "close"], DECIDED),
        playbook.PlaybookStepStarted("again", 1, "call_tool"),
        tool.ToolExecutionRequested(CALL, "refundAgain", {"id": "p1"}, "again"),
    )
    said = only(now(story, disabled_tools=FORBIDDEN), tool.ToolExecutionCalledOff)
    assert (said.execution_id, said.under_way) == (CALL, False)


@pytest.mark.parametrize("end", [closing.ExceptionEscalated(["before"]), closing.ExceptionResolved("done")])
def test_blocked_escalates_only_what_may_be_escalated(end: Any) -> None:
    story = run_of(refund()).given(end)
    assert names(now(story, disabled_tools=FORBIDDEN)) == ["PolicyEvaluated", "PlaybookCancelled"]


def test_a_configuration_that_does_not_allow_the_tool_any_more_ends_the_run() -> None:
    stricter = compiled(DOMAIN.replace("guardrails:\n", "guardrails:\n  blockLists: {tools: [refundAgain]}\n"))
    said = now(run_of(refund()), stricter)
    assert said[0].reasons == ["step again: tool refundAgain not block-listed does not hold"]


# ---- stale -----------------------------------------------------------------------------------------------------------


def ready_and(said: Any) -> list[str]:
    """What the playbook stage does when it hears of the match only after this."""
    story = run_of(refund()).given(said)
    match = next(e for e in story.events if e.type == "PlaybookMatched")
    return names(story.handle(match))


@pytest.mark.parametrize(
    ("said", "first"),
    [
        (playbook.CommentAdded("nothing new"), "PlaybookStarted"),
        (intake.ExceptionRecurred(2, OTHER, "psp"), "PlaybookStarted"),
        (triaged("REFUND_STUCK", "HIGH", 1.0), "PlaybookStarted"),
        (triaged("REFUND_STUCK", "CRITICAL", 1.0), "PolicyEvaluated"),
        (triaged("REFUND_STUCK", "HIGH", 0.1), "PolicyEvaluated"),
        (triaged("LOST", "HIGH", 1.0), "PlaybookStarted"),
        (triaged("UNCLASSIFIED", "HIGH", 1.0), "PolicyEvaluated"),
    ],
)
def test_no_step_begins_on_an_answer_that_is_older_than_what_is_known(said: Any, first: str) -> None:
    assert ready_and(said)[0] == first
