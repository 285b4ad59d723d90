"""What may be done about an exception, and who has to agree?"""

from datetime import datetime
from uuid import UUID

import msgspec

from sentinai.models.approval import OnExpiry
from sentinai.models.decision import Decision


class PolicyEvaluated(msgspec.Struct, frozen=True, omit_defaults=True):
    """`outcome`: APPROVED, NEEDS_APPROVAL or BLOCKED, with the reasons of the strictest rules."""

    decision: Decision
    outcome: str
    reasons: list[str] = []
    policy_tags: list[str] = []


class PlaybookMatched(msgspec.Struct, frozen=True):
    playbook: str
    version: int


class ApprovalRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """People have to say yes. `step` is None when it is about the whole playbook; the yes then holds for `plan` and
    `reasons` only. `approvers` is how many different people have to say it."""

    approval_id: UUID
    reason: str
    step: str | None = None
    expires_at: datetime | None = None
    on_expiry: OnExpiry = "ESCALATE"
    approvers: int = 1
    plan: str = ""
    reasons: list[str] = []


class ApprovalVoted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A yes that is not enough yet: others have to say it too."""

    approval_id: UUID
    step: str | None = None
    comment: str | None = None


class ApprovalGranted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last yes that was needed. `step` as it was asked for, here and in the answers below."""

    approval_id: UUID
    step: str | None = None
    comment: str | None = None


class ApprovalRejected(msgspec.Struct, frozen=True, omit_defaults=True):
    approval_id: UUID
    step: str | None = None
    comment: str | None = None


class ApprovalExpired(msgspec.Struct, frozen=True, omit_defaults=True):
    approval_id: UUID
    on_expiry: OnExpiry
    step: str | None = None


class ApprovalWithdrawn(msgspec.Struct, frozen=True):
    """The question no longer matters: the run ended, or policy asks about something else now."""

    approval_id: UUID
    reason: str
