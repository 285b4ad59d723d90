"""What does a provider get, and what does it give back?"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID

import msgspec

from sentinai.packs.effective import Tool


class ToolCall(msgspec.Struct, frozen=True):
    """One attempt of one execution; the same key goes with every attempt."""

    execution_id: UUID
    tenant_id: str
    tool: Tool
    input: Any
    attempt: int
    idempotency_key: str


class ToolResult(msgspec.Struct, frozen=True):
    output: Any
    status_code: int | None = None


class Provider(Protocol):
    """Raises Rejected (the tool said no), Denied, Missing (a secret), or Unavailable with `sent`: may it have arrived?"""

    async def call(self, call: ToolCall) -> ToolResult: ...


Invoke = Callable[[ToolCall], Awaitable[ToolResult]]
