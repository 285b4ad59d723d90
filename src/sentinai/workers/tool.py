"""Tool: take requested tool calls onto the work list, if they may run at all."""

from collections.abc import Sequence
from typing import ClassVar

from sentinai.errors import Denied, Missing, Rejected
from sentinai.events.tool import ToolExecutionFailed, ToolExecutionRequested
from sentinai.messaging.broker import Connection
from sentinai.models.tool import ExecutionStatus
from sentinai.tools.gate import check_allowed, check_input
from sentinai.workers.base import BaseWorker
from sentinai.workers.work import Answer, Work


class ToolWorker(BaseWorker):
    name: ClassVar[str] = "tool"

    def handle(self, work: Work) -> Answer:
        body: ToolExecutionRequested = work.body
        work.facts = True
        try:
            _require_callable(work, body)
        except (Denied, Missing, Rejected) as error:
            work.facts = False
            reason = "; ".join([error.message, *(f"{p.pointer}: {p.detail}" for p in error.problems)])
            yield ToolExecutionFailed(body.execution_id, body.tool, ExecutionStatus.FAILED, reason, 0, body.step)

    async def settle(self, tx: Connection, works: Sequence[Work]) -> None:
        accepted = [(w.event.tenant_id, w.body.execution_id) for w in works if w.facts]
        await self.platform.executions.accept(tx, accepted, self.platform.clock())


def _require_callable(work: Work, body: ToolExecutionRequested) -> None:
    """Registered, approved, enabled, and the input fits its schema; the executor looks again before it calls."""
    if body.channel:
        return
    config = work.config
    if config is None or body.tool not in config.tools:
        raise Missing(f"no tool {body.tool!r} in the exception's configuration", tool=body.tool)
    enabled = f"{config.domain}.{body.tool}" not in work.tenant.disabled_tools
    check_allowed(body.tool, config.approved_tools, enabled)
    check_input(config.tools[body.tool], body.input)
