"""The loop that takes requested calls onto the work list of the executor."""

from collections.abc import Sequence

from sentinai.messaging.broker import Connection
from sentinai.orchestrator.stages import calls
from sentinai.orchestrator.stages.occasion import Occasion
from sentinai.tools.gate import refusal
from sentinai.workers.base import BaseWorker
from sentinai.workers.batch import Done


class ToolWorker(BaseWorker[calls.CallChecks]):
    def known(self, occasion: Occasion) -> calls.CallChecks:
        request = occasion.event.body
        return calls.CallChecks(None if request.channel else refusal(occasion.config, occasion.tenant, request))

    async def settle(self, tx: Connection, done: Sequence[Done]) -> None:
        taken = [(d.event.tenant_id, d.event.body.execution_id) for d in done if not d.answer]
        await self.platform.executions.accept(tx, taken, self.platform.clock())
