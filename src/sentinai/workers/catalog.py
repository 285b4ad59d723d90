"""Which workers are there, and on which port does each say how it is?"""

from collections.abc import Callable
from dataclasses import dataclass

from sentinai.messaging.broker import RELAY
from sentinai.workers.base import Loop, Platform
from sentinai.workers.clock import ClockLoop
from sentinai.workers.feedback import FeedbackWorker
from sentinai.workers.intake import IntakeWorker
from sentinai.workers.playbook import PlaybookWorker
from sentinai.workers.policy import PolicyWorker
from sentinai.workers.relay import RelayLoop
from sentinai.workers.tool import ToolWorker
from sentinai.workers.triage import TriageWorker


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A loop by its name; what a stage consumes is said by `orchestrator/pipeline.py`."""

    name: str
    loop: Callable[[Platform], Loop]
    health_port: int


CATALOG: tuple[WorkerEntry, ...] = (
    WorkerEntry("intake", IntakeWorker, 9001),
    WorkerEntry("triage", TriageWorker, 9002),
    WorkerEntry("policy", PolicyWorker, 9003),
    WorkerEntry("playbook", PlaybookWorker, 9004),
    WorkerEntry("tool", ToolWorker, 9005),
    WorkerEntry("feedback", FeedbackWorker, 9006),
    WorkerEntry("sla", ClockLoop, 9007),
    WorkerEntry(RELAY, RelayLoop, 9008),
)

BY_NAME: dict[str, WorkerEntry] = {entry.name: entry for entry in CATALOG}
STAGES: tuple[str, ...] = tuple(name for name in BY_NAME if name != RELAY)
"""Workers that handle events; the relay runs in a process of its own, and only with Kafka."""
