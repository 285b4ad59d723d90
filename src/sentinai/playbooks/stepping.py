"""Which step of a run comes next, and what do its expressions see?"""

from collections.abc import Mapping
from typing import Any

from sentinai.models.playbook import PlaybookRun, StepState, StepStatus
from sentinai.packs.effective import Playbook, Step
from sentinai.packs.expressions import Activation, Scope, activation

FINAL = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED})


def next_step(playbook: Playbook, run: PlaybookRun) -> tuple[int, Step] | None:
    """(order from 1, step) of the first step that is not final; None at the end. A completed step never comes again."""
    done = {s.name for s in run.steps if s.status in FINAL}
    for order, step in enumerate(playbook.steps, 1):
        if step.name not in done:
            return order, step
    return None


def running_step(run: PlaybookRun) -> StepState | None:
    """The step that was started and waits for a tool or a person."""
    for step in run.steps:
        if step.status is StepStatus.RUNNING:
            return step
    return None


def playbook_activation(values: Mapping[str, Any], run: PlaybookRun) -> Activation:
    """The decision variables and the outcome of the steps so far."""
    steps = {s.name: {"output": s.output, "status": str(s.status)} for s in run.steps}
    return activation(Scope.PLAYBOOK, {**values, "steps": steps})
