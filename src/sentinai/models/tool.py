"""What is one call of a tool, from request to result?"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class ExecutionStatus(StrEnum):
    """`UNKNOWN`: a call that may have reached the tool and is not idempotent; a person has to look."""

    REQUESTED = "REQUESTED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class ToolExecution(msgspec.Struct):
    """A durable work item; its id is the idempotency key sent to the tool."""

    execution_id: UUID
    tenant_id: str
    exception_id: UUID | None
    tool: str
    input: Any
    config_hash: str | None
    requested_by: str
    requested_at: datetime
    attempts: int = 0
