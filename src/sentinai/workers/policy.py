"""The loop of policy."""

from sentinai.orchestrator.stages import policy
from sentinai.workers.base import BaseWorker


class PolicyWorker(BaseWorker[None]):
    stage = policy.STAGE
