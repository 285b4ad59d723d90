"""Which workers are there, and on which port does each say how it is?"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from sentinai.messaging.broker import RELAY
from sentinai.orchestrator.stages.catalog import CATALOG as PIPELINE
from sentinai.workers.base import BaseWorker, Loop, Platform
from sentinai.workers.clock import ClockLoop
from sentinai.workers.intake import IntakeWorker
from sentinai.workers.relay import RelayLoop
from sentinai.workers.tool import ToolWorker


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A loop by its name; what it consumes is said by its stage."""

    name: str
    loop: Callable[[Platform], Loop]
    health_port: int


OWN_LOOPS: dict[str, type[BaseWorker[Any]]] = {"intake": IntakeWorker, "tool": ToolWorker}
"""Stages that need to know more than the exception itself; every other stage has the plain loop."""

CLOCK_PORT, RELAY_PORT = 9007, 9008
SAMPLE_TOOLS_PORT = 9009
"""Where the sample tools listen (`cli/ports.py`); no worker takes it."""
_free_ports = (port for port in count(9001) if port not in {CLOCK_PORT, RELAY_PORT, SAMPLE_TOOLS_PORT})

CATALOG: tuple[WorkerEntry, ...] = (
    *(
        WorkerEntry(stage.name, partial(OWN_LOOPS.get(stage.name, BaseWorker), stage=stage), port)
        for stage, port in zip(PIPELINE, _free_ports, strict=False)
    ),
    WorkerEntry("sla", ClockLoop, CLOCK_PORT),
    WorkerEntry(RELAY, RelayLoop, RELAY_PORT),
)

BY_NAME: dict[str, WorkerEntry] = {entry.name: entry for entry in CATALOG}
STAGES: tuple[str, ...] = tuple(name for name in BY_NAME if name != RELAY)
"""Workers that handle events; the relay runs in a process of its own, and only with Kafka."""
