"""What does policy say of an exception now, and does a yes that was given cover it?

Asked in three places with one answer: by the policy stage, by a run that learnt something since policy was last asked, and
at the gate before each attempt of a call.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple
from uuid import uuid5

from sentinai.agents import policy as agent
from sentinai.events.closing import ExceptionEscalated
from sentinai.events.envelope import Body
from sentinai.events.policy import ApprovalRequested, PolicyEvaluated
from sentinai.models.decision import Evidence
from sentinai.models.exception_record import Status
from sentinai.models.run import PlaybookRun
from sentinai.orchestrator.lifecycle import may_become
from sentinai.orchestrator.stages.occasion import Situation
from sentinai.packs.effective import EffectiveConfig, Playbook
from sentinai.packs.facts import DecisionFacts
from sentinai.playbooks.machine import asked, stopped
from sentinai.playbooks.matching import choose_playbook, find_playbook
from sentinai.playbooks.plan import plan_of


class Judgement(NamedTuple):
    """Policy's decision about a playbook under a configuration."""

    config: EffectiveConfig | None
    playbook: Playbook | None
    found: agent.PolicyDecision


def judge(situation: Situation, config: EffectiveConfig | None, run: PlaybookRun | None = None) -> Judgement:
    """About the playbook of a run that is going on, or else the one that would be chosen. A run whose exception no playbook
    takes any more is judged as one without a playbook."""
    state = situation.state
    playbook: Playbook | None = None
    matching: list[Evidence] = []
    known: DecisionFacts | None = None
    if config is not None:
        known = DecisionFacts(state, config, situation.now)
        playbook, matching = choose_playbook(config, state, known)
        if playbook is not None and run is not None:
            playbook = find_playbook(config, run.playbook, run.version) or playbook
    facts = agent.PolicyFacts(state, config, playbook, matching, situation.tenant.disabled_tools, situation.now, known)
    found = agent.decide(facts)
    granted = {} if run is None else {p: s.granted_plan for p, s in run.steps.items() if s.granted_plan is not None}
    if granted and config is not None and playbook is not None and found.outcome != agent.BLOCKED:
        found = _with_changed_plans(found, granted, plan_of(config, playbook, state))
    return Judgement(config, playbook, found)


def _with_changed_plans(found: agent.PolicyDecision, granted: Mapping[str, str], plan: str) -> agent.PolicyDecision:
    """A yes that people gave at a step holds for the plan that they were shown; for another one they are asked again."""
    changed = [f"what was approved at step {path} has changed" for path, shown in granted.items() if shown != plan]
    if not changed:
        return found
    return found._replace(outcome=agent.NEEDS_APPROVAL, reasons=[*found.reasons, *changed])


def evaluated(judgement: Judgement) -> PolicyEvaluated:
    found = judgement.found
    tags = list(judgement.config.policy_tags) if judgement.config else []
    return PolicyEvaluated(found.decision, found.outcome, found.reasons, tags)


def question(situation: Situation, judgement: Judgement) -> ApprovalRequested:
    """For the whole playbook; the yes will hold for this plan and these reasons."""
    found = judgement.found
    assert judgement.config is not None
    assert judgement.playbook is not None
    after = found.expires_after_s
    return ApprovalRequested(
        uuid5(situation.state.exception_id, f"approval:{situation.state.sequence}"),
        "; ".join(found.reasons),
        None,
        situation.now + timedelta(seconds=after) if after else None,
        found.on_expiry,
        found.approvers,
        plan_of(judgement.config, judgement.playbook, situation.state),
        found.reasons,
    )


def tightened(situation: Situation, judgement: Judgement) -> list[Body]:
    """What follows for an active run, if policy is stricter now than what the run was allowed: else nothing.

    Blocked: the run ends. A yes is needed that was neither given nor asked for: it waits for it, wherever it is.
    """
    state = situation.state
    match judgement.found.outcome:
        case agent.BLOCKED:
            reasons = judgement.found.reasons
            ended = [evaluated(judgement), *stopped(state, "; ".join(reasons))]
            return [*ended, ExceptionEscalated(reasons)] if may_become(state.status, Status.ESCALATED) else ended
        case agent.NEEDS_APPROVAL if not _covered(situation, judgement):
            return [evaluated(judgement), *asked(state, question(situation, judgement))]
    return []


def _covered(situation: Situation, judgement: Judgement) -> bool:
    """Is there a yes, or an open question, for this plan and at least these reasons?"""
    run = situation.state.run
    assert run is not None
    assert judgement.config is not None
    assert judgement.playbook is not None
    bound = run.yes or run.approval
    if bound is None or not set(judgement.found.reasons) <= set(bound.reasons):
        return False
    return bound.plan == plan_of(judgement.config, judgement.playbook, situation.state)
