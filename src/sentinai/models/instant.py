"""Which instants can be kept, compared and shown in every part of the system?

PostgreSQL's driver writes the first and the last day that Python knows as minus and plus infinity, and an instant whose
UTC form is outside of years 1 to 9999 cannot be written at all.
"""

from datetime import UTC, datetime

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
BOUNDS = "has to be between 0001-01-02 and 9999-12-30 in UTC"


def is_keepable(instant: datetime) -> bool:
    """Whether an instant with a time zone is inside the bounds."""
    return EARLIEST <= instant <= LATEST
