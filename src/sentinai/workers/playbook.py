"""The loop of playbooks."""

from sentinai.orchestrator.stages import playbook
from sentinai.workers.base import BaseWorker


class PlaybookWorker(BaseWorker[None]):
    stage = playbook.STAGE
