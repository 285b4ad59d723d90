"""Which playbook fits an exception best?"""

from sentinai.models.decision import Evidence, tried
from sentinai.models.exception_record import ExceptionState
from sentinai.packs.effective import EffectiveConfig, Playbook, PlaybookMatch
from sentinai.packs.expressions import Verdict
from sentinai.packs.facts import DecisionFacts


def choose_playbook(
    config: EffectiveConfig, state: ExceptionState, facts: DecisionFacts
) -> tuple[Playbook | None, list[Evidence]]:
    """The first of the configuration's playbooks (best first) whose match holds, and everything tried before it."""
    evidence = []
    for playbook in config.playbooks:
        verdict = _fits(playbook.match, config, state, facts)
        evidence.append(tried(f"playbook {playbook.name}", verdict.matched, verdict.reason))
        if verdict.matched:
            return playbook, evidence
    return None, evidence


def find_playbook(config: EffectiveConfig, name: str, version: int) -> Playbook | None:
    """The playbook of a run; None when the configuration has none of that name and version."""
    return next((p for p in config.playbooks if (p.name, p.version) == (name, version)), None)


def _fits(match: PlaybookMatch, config: EffectiveConfig, state: ExceptionState, facts: DecisionFacts) -> Verdict:
    kind = config.type_of(state.exception_type)
    if kind is config.unclassified and not match.exception_types:
        return Verdict(False, None)  # only a playbook that names UNCLASSIFIED takes what nobody could classify
    if match.exception_types and not set(kind.lineage) & set(match.exception_types):
        return Verdict(False, None)
    if match.severities and state.severity not in match.severities:
        return Verdict(False, None)
    return match.when.test(facts.activation) if match.when else Verdict(True, None)
