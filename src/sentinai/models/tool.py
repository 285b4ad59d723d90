"""How far has a call of a tool come?"""

from enum import StrEnum


class ExecutionStatus(StrEnum):
    """`UNKNOWN`: a call that may have reached the tool and is not idempotent; a person has to look."""

    REQUESTED = "REQUESTED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
