"""What did an agent decide, how sure was it, and why?"""

from typing import Literal

import msgspec

Outcome = Literal["matched", "not_matched", "not_evaluable", "applied"]


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One rule that was tried: `applied` is a rule that needs no condition (a default, a tenant's list)."""

    rule: str
    outcome: Outcome
    detail: str | None = None


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The explanation that every agent gives with its result."""

    stage: str
    decision: str
    confidence: float
    """0 to 1."""
    evidence: list[Evidence]
    """Every rule tried, in the order tried."""
    next_step: str


def tried(rule: str, matched: bool, reason: str | None) -> Evidence:
    """The evidence of one evaluated rule; a reason means it could not be evaluated."""
    if reason is not None:
        return Evidence(rule, "not_evaluable", reason)
    return Evidence(rule, "matched" if matched else "not_matched")
