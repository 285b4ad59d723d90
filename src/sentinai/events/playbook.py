"""What can happen while a playbook runs, and what can a person ask of it?"""

from typing import Any

import msgspec

from sentinai.models.decision import Decision, Evidence


class PlaybookRecalculationRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person wants policy and playbook decided anew under the active configuration."""

    reason: str | None = None


class PlaybookStepCompletionRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person did the waiting step; `order` counts from 1."""

    order: int
    output: Any = None
    comment: str | None = None


class PlaybookStepSkipRequested(msgspec.Struct, frozen=True):
    order: int
    reason: str


class PlaybookStarted(msgspec.Struct, frozen=True):
    playbook: str
    version: int
    steps: list[str]
    """Names of all steps, in order."""
    decision: Decision


class PlaybookStepStarted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that takes time began; instant steps are recorded as completed at once."""

    step: str
    order: int
    action: str
    mode: str = "auto"
    evidence: list[Evidence] = []


class PlaybookStepCompleted(msgspec.Struct, frozen=True, omit_defaults=True):
    step: str
    order: int
    action: str
    output: Any = None
    evidence: list[Evidence] = []


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
    playbook: str
    reason: str
    decision: Decision | None = None
    """None when a person or a stricter policy ended the run."""


class OwnerAssigned(msgspec.Struct, frozen=True):
    owner: str


class StatusChanged(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of status that is neither a resolution nor an escalation."""

    status: str
    reason: str | None = None


class CommentAdded(msgspec.Struct, frozen=True):
    text: str
