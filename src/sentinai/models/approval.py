"""What is a person asked to approve, and what did they say?"""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

OnExpiry = Literal["ESCALATE", "REJECT"]


class ApprovalStatus(StrEnum):
    PENDING = "PENDING"
    GRANTED = "GRANTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    WITHDRAWN = "WITHDRAWN"


class Approval(msgspec.Struct, omit_defaults=True):
    """An open question to a person. `step` is None when the whole playbook needs a yes."""

    approval_id: UUID
    reason: str
    requested_by: str
    """Actor that asked (`agent:policy`, `user:<key id>`); that person may not answer."""
    step: str | None = None
    expires_at: datetime | None = None
    on_expiry: OnExpiry = "ESCALATE"
