"""What is known of a call that ended without a usable answer: was it sent, was it done, and whose fault was it?"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec

from sentinai.errors import Problem, Rejected, Unavailable

BEGINNING_CHARS_MAX = 500
_KEY = "fate"
Error = TypeVar("Error", bound=BaseException)


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """Of one attempt. The line between failed and unknown is the first byte sent."""

    sent: bool
    """The first byte of the request left us, or nobody could see whether it did."""
    started: bool = True
    """False: the attempt never began, since it waited in vain or was called off."""
    ours: bool = False
    """The tool has nothing to do with it: our own error, a secret that is missing, a pool that is busy."""
    refused: bool = False
    """The tool itself said that it did not do it."""
    retry_after_s: float | None = None
    """Seconds the tool, or what the call waited for, asks us to wait at least."""

    @property
    def may_be_done(self) -> bool:
        return self.sent and not self.refused


NOBODY_KNOWS = Fate(sent=True)
UNSENT = Fate(sent=False, ours=True)
NEVER_BEGAN = Fate(sent=False, started=False, ours=True)


class Why(StrEnum):
    """What a call that did not begin waits for."""

    APPROVAL = "approval"
    CIRCUIT_OPEN = "circuit_open"
    TOOL_BUSY = "tool_busy"
    TENANT_BUSY = "tenant_busy"


class Said(msgspec.Struct, frozen=True):
    """What came as an answer, as far as it may be kept: secrets are cut out, personal data is masked."""

    status_code: int | None
    media_type: str | None
    beginning: str
    """At most BEGINNING_CHARS_MAX characters."""


class NotBegun(Unavailable):
    """The call still waits: the tool is given a rest, or too many calls are under way."""

    fate: Fate

    def __init__(self, message: str, why: Why, retry_after_s: float) -> None:
        super().__init__(message)
        self.why = why
        self.retry_after_s = retry_after_s
        carry(self, Fate(sent=False, started=False, ours=True, retry_after_s=retry_after_s))


class Unanswered(Unavailable):
    """No answer came, or one that says that it may work later."""

    fate: Fate

    def __init__(self, message: str, fate: Fate, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        carry(self, fate)


class Refused(Rejected):
    """The tool said no; it has not been done."""

    fate: Fate

    def __init__(self, message: str, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        carry(self, Fate(sent=True, refused=True))


class Unsendable(Rejected):
    """Nothing was sent, because this request cannot be made from this input, pack or secret; the message says what to fix."""

    fate: Fate

    def __init__(self, message: str) -> None:
        super().__init__(message)
        carry(self, UNSENT)


class AnswerUnusable(Rejected):
    """The tool answered, perhaps after doing it, with what is no output: not JSON, too large, packed, against the schema."""

    fate: Fate

    def __init__(self, message: str, said: Said, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, problems=problems)
        self.said = said
        carry(self, Fate(sent=True))


def carry(error: Error, fate: Fate) -> Error:
    """The same error with its fate on it. Any error can carry one: a Denied of the guard, a bug, a cancellation."""
    error.__dict__[_KEY] = fate
    return error


def fate_of(error: BaseException) -> Fate:
    """What the error carries; NOBODY_KNOWS for one that carries nothing, which then counts as sent."""
    fate = error.__dict__.get(_KEY)
    return fate if isinstance(fate, Fate) else NOBODY_KNOWS


def has_fate(error: BaseException) -> bool:
    return isinstance(error.__dict__.get(_KEY), Fate)
