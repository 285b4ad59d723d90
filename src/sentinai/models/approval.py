"""What is a person asked to approve, and what did people say so far?"""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

OnExpiry = Literal["ESCALATE", "REJECT"]
"""What an expired question means: people take over, or the answer is no."""


class ApprovalStatus(StrEnum):
    PENDING = "PENDING"
    GRANTED = "GRANTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    WITHDRAWN = "WITHDRAWN"


class Approval(msgspec.Struct, frozen=True, omit_defaults=True):
    """An open question to people. `step` is None when it is about the whole playbook."""

    approval_id: UUID
    reason: str
    requested_by: str
    """Actor that asked."""
    step: str | None = None
    expires_at: datetime | None = None
    on_expiry: OnExpiry = "ESCALATE"
    approvers: int = 1
    """How many different people have to say yes."""
    votes: list[str] = []
    """Subjects who said yes so far."""
    plan: str = ""
    """What a yes would be bound to, beside the reasons (`playbooks/plan.py`)."""
    reasons: list[str] = []
