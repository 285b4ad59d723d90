"""Which calls of tools has an exception caused, and what became of each?

The ledger of calls outlives runs: what was done, or may have been done, is not done again because a playbook begins anew.
"""

from enum import StrEnum
from uuid import UUID

import msgspec

from sentinai.models.json import Json


class ExecutionStatus(StrEnum):
    """`REQUESTED`: no attempt is under way. `FAILED`: surely not done, or a tool for which
    doing it again under the same key does no harm. `UNKNOWN`: it may have been done, and a person has
    to look. `CANCELLED`: its step ended before an attempt was made, and none will be."""

    REQUESTED = "REQUESTED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    CANCELLED = "CANCELLED"


OPEN = frozenset({ExecutionStatus.REQUESTED, ExecutionStatus.RUNNING})


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One execution of a tool for an exception."""

    tool: str
    effect: UUID
    """Names what is to be done: the tool and its input, whatever playbook, step and time ask for it."""
    key: UUID
    """The idempotency key: executions with the same key are the same thing to the tool."""
    status: ExecutionStatus = ExecutionStatus.REQUESTED
    settled: bool = False
    """A person said that it was done, whatever the tool still says."""
    output: Json = None
    """Of a call whose step ended before its answer came; otherwise the step has it."""
