"""What can happen while a playbook runs, and what can a person ask of it?"""

from uuid import UUID

import msgspec

from sentinai.models.decision import Decision, Evidence
from sentinai.models.json import Json
from sentinai.models.run import WaitsFor


class PlaybookRecalculationRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person wants policy and playbook decided anew under the active configuration."""

    reason: str | None = None


class PlaybookStepCompletionRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person did the waiting step. `step` is its path; events of older versions have its place in the playbook only."""

    order: int
    output: Json = None
    comment: str | None = None
    step: str | None = None


class PlaybookStepSkipRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    order: int
    reason: str
    step: str | None = None


class PlaybookStarted(msgspec.Struct, frozen=True):
    playbook: str
    version: int
    steps: list[str]
    """Names of all steps, in order."""
    decision: Decision


class PlaybookStepStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that takes time began; instant steps are recorded as completed at once.

    `execution_id` names a call that was asked for before, by a run that ended: the step waits for that one.
    """

    step: str
    order: int
    action: str
    mode: str = "auto"
    evidence: list[Evidence] = []
    waits_for: WaitsFor | None = None
    execution_id: UUID | None = None


class PlaybookStepCompleted(msgspec.Struct, frozen=True, omit_defaults=True):
    step: str
    order: int
    action: str
    output: Json = None
    evidence: list[Evidence] = []
    execution_id: UUID | None = None
    """The earlier call whose answer was taken instead of a new one."""


class PlaybookStepSkipped(msgspec.Struct, frozen=True, omit_defaults=True):
    step: str
    order: int
    reason: str
    evidence: list[Evidence] = []


class PlaybookStepFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    step: str
    order: int
    error: str
    on_failure: str
    evidence: list[Evidence] = []


class PlaybookCompleted(msgspec.Struct, frozen=True):
    playbook: str
    decision: Decision


class PlaybookFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step, or the answer to its question, ended the run."""

    playbook: str
    reason: str
    decision: Decision | None = None
    """None in events of older versions, where a person or a stricter policy ended the run."""


class PlaybookCancelled(msgspec.Struct, frozen=True):
    """The run was ended from outside: by a person, a deadline or a stricter policy."""

    playbook: str
    reason: str


class OwnerAssigned(msgspec.Struct, frozen=True):
    owner: str


class StatusChanged(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of status that is neither a resolution nor an escalation."""

    status: str
    reason: str | None = None


class CommentAdded(msgspec.Struct, frozen=True):
    text: str
