"""Playbook: a run goes on as far as it may."""

from sentinai.errors import Rejected
from sentinai.events.sla import SLAExpired
from sentinai.orchestrator.judgement import judge, tightened
from sentinai.orchestrator.lifecycle import may_become
from sentinai.orchestrator.stages.occasion import Decided, Occasion, Stage
from sentinai.orchestrator.stages.timers import overdue
from sentinai.playbooks.machine import Env, advance
from sentinai.playbooks.matching import find_playbook


def decide(occasion: Occasion, _known: None) -> Decided:
    """What the event says is folded into the run already; the run says what follows.

    Where something was learnt since policy was last asked, policy is asked first: no step begins on an older yes.
    """
    state, body = occasion.state, occasion.body
    if isinstance(body, SLAExpired):  # recorded by an older version, which left what follows to this stage
        return [*overdue(state, body.resolve_by)]
    if state.run is None or not state.run.active:
        return []
    assert occasion.config is not None
    playbook = find_playbook(occasion.config, state.run.playbook, state.run.version)
    if playbook is None:
        name = f"{state.run.playbook!r} version {state.run.version}"
        raise Rejected(f"The configuration has no playbook {name}; have it decided anew: recalculate.")
    if state.learnt_at > state.judged_at and (said := tightened(occasion, judge(occasion, occasion.config, state.run))):
        return [*said]
    return [*advance(Env(state, occasion.config, playbook, occasion.now, may_become))]


STAGE = Stage(
    "playbook",
    decide,
    (
        "PlaybookMatched",
        "ApprovalGranted",
        "ApprovalRejected",
        "ApprovalExpired",
        "PlaybookStepCompletionRequested",
        "PlaybookStepSkipRequested",
        "ToolExecutionCompleted",
        "ToolExecutionFailed",
        "SLAExpired",
    ),
)
