"""What happens next in a playbook run, and why?"""

from dataclasses import dataclass

from sentinai.models.decision import Decision, Evidence
from sentinai.models.exception_record import CLOSED, ExceptionState, Status
from sentinai.models.playbook import RunStatus

START, CONTINUE, WAIT, COMPLETE, ESCALATE, STOP = "START", "CONTINUE", "WAIT", "COMPLETE", "ESCALATE", "STOP"


@dataclass(frozen=True, slots=True)
class ResolutionFacts:
    """`pending` is the name of the next step that is not final, `waiting` that of a step that awaits an answer."""

    state: ExceptionState
    pending: str | None
    waiting: str | None
    failure: str | None = None
    """Why a step with `onFailure: ESCALATE`, or an approval, ended the run."""


def decide(facts: ResolutionFacts) -> Decision:
    """One of START, CONTINUE, WAIT, COMPLETE, ESCALATE, STOP; the first check that applies says which."""
    state = facts.state
    checks = [
        ("there is an active run", state.run is None or not state.run.active, STOP),
        ("something is left to do", state.status in CLOSED and facts.pending is None, COMPLETE),
        ("no failure ends the run", facts.failure is not None, ESCALATE),
        ("no approval is open", state.approval is not None, WAIT),
        ("no step awaits an answer", facts.waiting is not None, WAIT),
        ("a step is left", facts.pending is None, ESCALATE if state.status is not Status.ESCALATED else COMPLETE),
    ]
    evidence: list[Evidence] = []
    for rule, broken, decision in checks:
        evidence.append(Evidence(rule, "not_matched" if broken else "matched"))
        if broken:
            return Decision("resolution", decision, 1.0, evidence, "none" if decision != WAIT else "answer")
    starting = state.run is not None and state.run.status is RunStatus.MATCHED
    return Decision("resolution", START if starting else CONTINUE, 1.0, evidence, f"step {facts.pending}")
