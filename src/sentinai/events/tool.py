"""What can happen to a tool call?"""

from datetime import datetime
from uuid import UUID

import msgspec

from sentinai.models.json import Json


class ToolExecutionRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """`key` is the idempotency key, where it is another one than `execution_id`: the same thing was asked for before.

    `channel`: `tool` is a notification channel of the tenant's policy.
    """

    execution_id: UUID
    tool: str
    input: Json
    step: str | None = None
    channel: bool = False
    key: UUID | None = None


class ToolExecutionStarted(msgspec.Struct, frozen=True):
    """An attempt begins: circuit, slots and the gate are passed."""

    execution_id: UUID
    tool: str
    attempt: int


class ToolExecutionRetryScheduled(msgspec.Struct, frozen=True):
    """An attempt that had begun failed, and another one is allowed."""

    execution_id: UUID
    tool: str
    attempt: int
    error: str
    due_at: datetime


class ToolExecutionCalledOff(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nobody waits for the call any more. One whose attempt is under way ends as it ends, and its next attempt has to pass
    the gate; any other is over."""

    execution_id: UUID
    tool: str
    reason: str
    under_way: bool = False


class ToolExecutionCompleted(msgspec.Struct, frozen=True, omit_defaults=True):
    execution_id: UUID
    tool: str
    output: Json
    attempts: int
    step: str | None = None
    duration_ms: float | None = None


class ToolExecutionFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status`: FAILED (surely not done, or the tool is idempotent) or UNKNOWN (it may have been done).

    Of an answer that could not be used, its status, media type and beginning are kept.
    """

    execution_id: UUID
    tool: str
    status: str
    error: str
    attempts: int
    step: str | None = None
    status_code: int | None = None
    media_type: str | None = None
    beginning: str | None = None
