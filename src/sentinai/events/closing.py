"""How does an exception end, or come back?"""

import msgspec


class ExceptionResolved(msgspec.Struct, frozen=True):
    reason: str


class ExceptionEscalated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person has to take over; `reasons` say why."""

    reasons: list[str]
    queue: str | None = None


class ExceptionReopened(msgspec.Struct, frozen=True):
    reason: str
