"""`log`: write a structured line; a tool or channel for trying things out."""

import structlog

from sentinai.tools.provider import ToolCall, ToolResult

log = structlog.get_logger()


class LogProvider:
    watched = True
    """It sends nothing."""

    async def call(self, call: ToolCall) -> ToolResult:
        log.info("tool_log", tenant_id=call.tenant_id, tool=call.tool.name, content=call.input)
        return ToolResult({"logged": True})
