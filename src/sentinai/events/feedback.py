"""What was learnt from the way an exception went?"""

import msgspec

from sentinai.models.decision import Decision


class FeedbackCaptured(msgspec.Struct, frozen=True, omit_defaults=True):
    """Durations are milliseconds from reception; None where the stage was not reached."""

    decision: Decision
    outcome: str
    automated: bool
    occurrences: int
    playbook: str | None = None
    to_triage_ms: float | None = None
    to_close_ms: float | None = None
    step_ms: dict[str, float] = {}
