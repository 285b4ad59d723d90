"""What can happen to a tool call?"""

from typing import Any
from uuid import UUID

import msgspec


class ToolExecutionRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """`execution_id` is the idempotency key. `channel` is set instead of a registered tool for notifications."""

    execution_id: UUID
    tool: str
    input: Any
    step: str | None = None
    channel: bool = False


class ToolExecutionStarted(msgspec.Struct, frozen=True):
    execution_id: UUID
    tool: str
    attempt: int


class ToolExecutionCompleted(msgspec.Struct, frozen=True, omit_defaults=True):
    execution_id: UUID
    tool: str
    output: Any
    attempts: int
    step: str | None = None
    duration_ms: float | None = None


class ToolExecutionFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status`: FAILED (it was not done) or UNKNOWN (it may have been done)."""

    execution_id: UUID
    tool: str
    status: str
    error: str
    attempts: int
    step: str | None = None
