"""The loop of triage."""

from sentinai.orchestrator.stages import triage
from sentinai.workers.base import BaseWorker


class TriageWorker(BaseWorker[None]):
    stage = triage.STAGE
