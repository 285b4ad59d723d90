"""What does a provider get, and what does it give back?"""

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

import msgspec

from sentinai.models.json import Json
from sentinai.packs.effective import Tool


class ToolCall(msgspec.Struct, frozen=True):
    """One attempt of one execution; the same key goes with every attempt."""

    execution_id: UUID
    tenant_id: str
    tool: Tool
    input: Json
    attempt: int
    idempotency_key: str


class ToolResult(msgspec.Struct, frozen=True):
    """A usable answer; whether it fits the tool's schema is judged later."""

    output: Json
    status_code: int | None = None
    media_type: str | None = None


class Provider(Protocol):
    @property
    def watched(self) -> bool:
        """Whether all it sends goes through the watched client (`outbound.send`), or it sends nothing at all.

        Of a provider that is not watched nobody sees the first byte: its errors count as sent unless they carry a fate.
        """
        ...

    async def call(self, call: ToolCall) -> ToolResult:
        """Raises Unsendable or Missing (a secret) before anything is sent, Denied by the guard, Refused by the tool,
        AnswerUnusable, and Unanswered for what may succeed later."""
        ...


Begin = Callable[[], Awaitable[None]]
"""Awaited when an attempt begins: records that it did. If it raises, nothing is sent."""
