"""Which events could not be handled, and what did a person do about them?"""

import msgspec


class DeadLettered(msgspec.Struct, frozen=True):
    """Consumer `consumer` cannot handle event `sequence` of this stream without a person's help."""

    consumer: str
    sequence: int
    error: str
    message: str
    attempts: int


class DeadLetterRetried(msgspec.Struct, frozen=True):
    consumer: str
    sequence: int


class DeadLetterDiscarded(msgspec.Struct, frozen=True):
    consumer: str
    sequence: int
    reason: str
