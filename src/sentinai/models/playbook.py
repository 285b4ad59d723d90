"""How far has a playbook come for one exception?"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class StepStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


class RunStatus(StrEnum):
    MATCHED = "MATCHED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class StepState(msgspec.Struct, omit_defaults=True):
    """One step of a run, by name; a completed step is never run again."""

    name: str
    order: int
    """Place in the playbook, from 1."""
    status: StepStatus = StepStatus.PENDING
    output: Any = None
    detail: str | None = None
    execution_id: UUID | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class PlaybookRun(msgspec.Struct, omit_defaults=True):
    """A playbook applied to an exception; `steps` holds those that were begun, in order."""

    playbook: str
    version: int
    status: RunStatus = RunStatus.MATCHED
    steps: list[StepState] = []
    approved: bool = False
    """A person said yes to the whole playbook."""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def active(self) -> bool:
        return self.status in (RunStatus.MATCHED, RunStatus.RUNNING)

    def step(self, name: str) -> StepState | None:
        for step in self.steps:
            if step.name == name:
                return step
        return None
