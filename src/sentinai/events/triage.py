"""What is known after triage?"""

from datetime import datetime

import msgspec

from sentinai.models.decision import Decision


class TriageCompleted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Type and severity are decided; times are absolute."""

    decision: Decision
    exception_type: str
    severity: str
    confidence: float
    priority_score: int | None = None
    title: str | None = None
    tags: list[str] = []
    queue: str | None = None
    resolve_by: datetime | None = None
    warn_at: datetime | None = None
