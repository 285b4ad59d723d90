"""Policy: which playbook fits, and may it run?"""

from sentinai.agents import policy as agent
from sentinai.events.closing import ExceptionEscalated
from sentinai.events.policy import PlaybookMatched
from sentinai.events.triage import TriageCompleted
from sentinai.models.decision import Evidence
from sentinai.orchestrator.fold import is_closed
from sentinai.orchestrator.judgement import Judgement, evaluated, judge, question, tightened
from sentinai.orchestrator.stages.occasion import Decided, Occasion, Stage
from sentinai.packs.effective import EffectiveConfig
from sentinai.playbooks.machine import stopped


def config_for(occasion: Occasion, _known: None) -> EffectiveConfig | None:
    """What a person asks to have decided anew is decided under what is active today."""
    if isinstance(occasion.body, TriageCompleted):
        return occasion.config
    return occasion.tenant.of_domain(occasion.state.domain)


def decide(occasion: Occasion, known: None) -> Decided:
    """A running playbook goes on unless policy is stricter now; otherwise a playbook is chosen, and perhaps asked about.

    What a person has taken over stays with that person: nothing begins by itself.
    """
    state = occasion.state
    if is_closed(state):
        return []
    if state.run is not None and state.run.active and isinstance(occasion.body, TriageCompleted):
        return [*tightened(occasion, judge(occasion, occasion.config, state.run))]
    ended = stopped(state, "decided anew")  # what began since, from events that are older than the person's word
    return [*ended, *_chosen(occasion, judge(occasion, config_for(occasion, known)))]


def _chosen(occasion: Occasion, judgement: Judgement) -> Decided:
    state = occasion.state
    if state.taken_over:
        judgement.found.decision.evidence.append(Evidence("a person has taken over", "matched"))
        return [evaluated(judgement)]
    if judgement.found.outcome == agent.BLOCKED or judgement.playbook is None:
        return [evaluated(judgement), ExceptionEscalated(judgement.found.reasons)]
    matched = PlaybookMatched(judgement.playbook.name, judgement.playbook.version)
    if judgement.found.outcome == agent.NEEDS_APPROVAL:
        return [evaluated(judgement), matched, question(occasion, judgement)]
    return [evaluated(judgement), matched]


STAGE = Stage("policy", decide, ("TriageCompleted", "PlaybookRecalculationRequested", "ExceptionReopened"), config_for)
