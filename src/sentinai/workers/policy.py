"""Policy: which playbook fits, and may it run?"""

from datetime import timedelta
from typing import ClassVar
from uuid import uuid5

from sentinai.agents import policy as agent
from sentinai.agents.facts import DecisionFacts
from sentinai.events.closing import ExceptionEscalated
from sentinai.events.playbook import PlaybookFailed
from sentinai.events.policy import ApprovalRequested, ApprovalWithdrawn, PlaybookMatched, PolicyEvaluated
from sentinai.models.decision import Evidence
from sentinai.models.exception_record import Status
from sentinai.orchestrator.fold import is_closed
from sentinai.packs.effective import Playbook
from sentinai.playbooks.matching import choose_playbook
from sentinai.workers.base import BaseWorker
from sentinai.workers.work import Answer, Work

STRICTER = frozenset({agent.NEEDS_APPROVAL, agent.BLOCKED})


class PolicyWorker(BaseWorker):
    name: ClassVar[str] = "policy"

    def handle(self, work: Work) -> Answer:
        if is_closed(work.state):
            return
        if work.event.type != "TriageCompleted":
            work.config = work.tenant.of_domain(work.state.domain)
        playbook, found = _evaluate(work)
        if work.event.type == "TriageCompleted" and work.state.run and work.state.run.active:
            yield from _tighten(work, found)
            return
        yield from _evaluated(work, found)
        if found.outcome == agent.BLOCKED:
            yield ExceptionEscalated(found.reasons)
            return
        assert playbook is not None
        yield PlaybookMatched(playbook.name, playbook.version)
        if found.outcome == agent.NEEDS_APPROVAL:
            yield _approval(work, found)


def _evaluate(work: Work) -> tuple[Playbook | None, agent.PolicyDecision]:
    playbook: Playbook | None = None
    matching: list[Evidence] = []
    known: DecisionFacts | None = None
    if work.config is not None:
        known = DecisionFacts(work.state, work.config, work.now)
        playbook, matching = choose_playbook(work.config, work.state, lambda: known.activation)
    disabled = work.tenant.disabled_tools
    facts = agent.PolicyFacts(work.state, work.config, playbook, matching, disabled, work.now, known)
    return playbook, agent.decide(facts)


def _evaluated(work: Work, found: agent.PolicyDecision) -> Answer:
    if work.state.approval is not None:
        yield ApprovalWithdrawn(work.state.approval.approval_id, "policy was evaluated anew")
    tags = list(work.config.policy_tags) if work.config else []
    yield PolicyEvaluated(found.decision, found.outcome, found.reasons, tags)


def _tighten(work: Work, found: agent.PolicyDecision) -> Answer:
    """A running playbook goes on, unless what was learnt meanwhile makes the policy stricter."""
    run = work.state.run
    assert run is not None
    if found.outcome not in STRICTER or (
        found.outcome == agent.NEEDS_APPROVAL and (run.approved or work.state.approval)
    ):
        return
    yield from _evaluated(work, found)
    if found.outcome == agent.NEEDS_APPROVAL:
        yield _approval(work, found)
        return
    yield PlaybookFailed(run.playbook, "; ".join(found.reasons))
    if work.state.status is not Status.ESCALATED:
        yield ExceptionEscalated(found.reasons)


def _approval(work: Work, found: agent.PolicyDecision) -> ApprovalRequested:
    after = found.expires_after_s
    return ApprovalRequested(
        uuid5(work.event.event_id, "approval"),
        "; ".join(found.reasons),
        None,
        work.now + timedelta(seconds=after) if after else None,
        found.on_expiry,
    )
