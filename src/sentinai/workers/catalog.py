"""Which workers are there, and on which port does each say how it is?"""

from dataclasses import dataclass

from sentinai.workers.base import BaseWorker
from sentinai.workers.feedback import FeedbackWorker
from sentinai.workers.intake import IntakeWorker
from sentinai.workers.playbook import PlaybookWorker
from sentinai.workers.policy import PolicyWorker
from sentinai.workers.relay import RelayWorker
from sentinai.workers.sla import SlaWorker
from sentinai.workers.tool import ToolWorker
from sentinai.workers.triage import TriageWorker


@dataclass(frozen=True, slots=True)
class Entry:
    """A worker; what it consumes is said by `orchestrator/pipeline.py`."""

    worker: type[BaseWorker]
    health_port: int

    @property
    def name(self) -> str:
        return self.worker.name


CATALOG: tuple[Entry, ...] = (
    Entry(IntakeWorker, 9001),
    Entry(TriageWorker, 9002),
    Entry(PolicyWorker, 9003),
    Entry(PlaybookWorker, 9004),
    Entry(ToolWorker, 9005),
    Entry(FeedbackWorker, 9006),
    Entry(SlaWorker, 9007),
    Entry(RelayWorker, 9008),
)

BY_NAME: dict[str, Entry] = {entry.name: entry for entry in CATALOG}
STAGES: tuple[str, ...] = tuple(name for name in BY_NAME if name != RelayWorker.name)
"""Workers that handle events; the relay runs in a process of its own, and only with Kafka."""
