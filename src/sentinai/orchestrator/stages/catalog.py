"""Which stages are there? In the order in which an exception goes through them."""

from typing import Any

from sentinai.orchestrator.stages import calls, feedback, intake, playbook, policy, triage
from sentinai.orchestrator.stages.occasion import Stage

CATALOG: tuple[Stage[Any], ...] = (
    intake.STAGE,
    triage.STAGE,
    policy.STAGE,
    playbook.STAGE,
    calls.STAGE,
    feedback.STAGE,
)

BY_NAME: dict[str, Stage[Any]] = {stage.name: stage for stage in CATALOG}
