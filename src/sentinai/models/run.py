"""How far has a playbook come for one exception, and what does it wait for?

`playbooks/machine.py` has the table of states and is the only place that moves a run on.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from sentinai.models.approval import Approval
from sentinai.models.json import Json


class StepStatus(StrEnum):
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


class RunStatus(StrEnum):
    """`READY`: policy lets it run and nothing was begun yet. `CANCELLED`: ended from outside."""

    READY = "READY"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ACTIVE = frozenset({RunStatus.READY, RunStatus.AWAITING_APPROVAL, RunStatus.RUNNING})


class WaitsFor(StrEnum):
    """The one thing that a running step waits for."""

    TOOL = "TOOL"
    APPROVAL = "APPROVAL"
    PERSON = "PERSON"


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a waiting step was told. It is there from the moment it was given, so that nobody can give a second one."""

    kind: Literal["done", "skip", "failed", "expired"]
    output: Json = None
    detail: str | None = None


class StepRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step that was begun."""

    order: int
    """Place in the playbook, from 1."""
    action: str = ""
    status: StepStatus = StepStatus.RUNNING
    waits_for: WaitsFor | None = None
    answer: Answer | None = None
    """Given, and not yet taken in."""
    execution_id: UUID | None = None
    """The call of a tool that it waits for, or waited for."""
    approval: Approval | None = None
    """Its open question to people."""
    output: Json = None
    detail: str | None = None
    done_by: str | None = None
    """The subject who did or skipped it by hand."""
    granted_plan: str | None = None
    """People said yes here, to the plan of this hash; such a step is asked again by every new run."""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Yes(msgspec.Struct, frozen=True):
    """An approval that stands for the run: for this plan and these reasons, and for nothing else."""

    plan: str
    reasons: list[str]


class PlaybookRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A playbook applied to an exception."""

    playbook: str
    version: int
    status: RunStatus = RunStatus.READY
    steps: dict[str, StepRun] = {}
    """Those that were begun, by path, in the order in which they were begun. A path is the step's name; steps inside
    of a block will be `block/item/step`."""
    approval: Approval | None = None
    """The open question whether it may run, or go on, at all."""
    refused: str | None = None
    """Why the answer to that question was no: nothing but the run's end can follow."""
    yes: Yes | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def approvals(self) -> list[Approval]:
        """Open questions: the run's own first."""
        of_steps = [step.approval for step in self.steps.values() if step.approval is not None]
        return [self.approval, *of_steps] if self.approval is not None else of_steps

    @property
    def waiting(self) -> tuple[str, StepRun] | None:
        """(path, step) of the running step."""
        for path, step in self.steps.items():
            if step.status is StepStatus.RUNNING:
                return path, step
        return None
