"""What happens next when something goes wrong? One tree, sorted by the answer.

Values travel as attributes (`details`), never inside the message only; the message says how to fix it.
Two tables map these classes: `workers/batch.py` (park, retry, dead letter) and `api/problems.py` (HTTP status).
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about an input: where it is and what is wrong with it.

    `pointer` is an RFC 6901 JSON pointer; `line` and `column` count from 1 where the input was a text document.
    """

    pointer: str
    detail: str
    line: int | None = None
    column: int | None = None


class SentinaiError(Exception):
    """Base of every error this package raises on purpose."""

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.details = details


class Rejected(SentinaiError):
    """Will never succeed as it is: dead letter, HTTP 422."""


class Denied(SentinaiError):
    """Not allowed: dead letter, HTTP 403."""


class Missing(SentinaiError):
    """Not there, or another tenant's: dead letter, HTTP 404."""


class Conflict(SentinaiError):
    """The state moved on: reload and try again, HTTP 409."""


class Unavailable(SentinaiError):
    """May succeed later: retry with back-off, HTTP 503."""


class Limited(Unavailable):
    """A tenant's own limit is used up: HTTP 429. `retry_after_s` says when to try again."""
