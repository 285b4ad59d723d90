"""The loop of feedback."""

from sentinai.orchestrator.stages import feedback
from sentinai.workers.base import BaseWorker


class FeedbackWorker(BaseWorker[None]):
    stage = feedback.STAGE
