"""To what is a yes bound? To the plan that was shown, and to the reasons for which it was asked."""

from sentinai.errors import Rejected
from sentinai.models.exception_record import ExceptionState
from sentinai.models.json import Json
from sentinai.models.run import PlaybookRun
from sentinai.packs.content_hash import content_hash
from sentinai.packs.effective import EffectiveConfig, Playbook, Step
from sentinai.packs.expressions import Activation
from sentinai.packs.facts import playbook_activation


def plan_of(config: EffectiveConfig, playbook: Playbook, state: ExceptionState) -> str:
    """Hash of playbook, type, severity, configuration and the inputs of its tools as far as they are known before it begins.

    It does not change while the run goes on: expressions see no step's outcome, and the time of triage as the present.
    """
    assert state.triaged_at is not None
    facts = playbook_activation(state, config, state.triaged_at, PlaybookRun(playbook.name, playbook.version))
    return content_hash(
        {
            "playbook": [playbook.name, playbook.version],
            "configuration": config.hash,
            "type": state.exception_type,
            "severity": state.severity,
            "inputs": [_known(step, facts) for step in playbook.steps if step.action == "call_tool"],
        }
    )


def _known(step: Step, facts: Activation) -> Json:
    """None for an input that depends on what other steps will find out."""
    try:
        return step.params.render(facts)
    except Rejected:
        return None
