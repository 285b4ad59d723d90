"""The loop of the clock: what has come to be true by now is recorded. It consumes no events, so it parks none."""

from sentinai.messaging.broker import Connection
from sentinai.orchestrator.recording import Cause, Recorder
from sentinai.orchestrator.stages.timers import due
from sentinai.workers.base import BatchSize, Platform

WHO = "system:sla"


class ClockLoop:
    """Takes exceptions whose earliest time has come."""

    name = "sla"

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.handled = 0
        self.more = True
        self._size = BatchSize(platform.batch_max)

    async def process(self) -> int:
        platform = self.platform
        async with platform.database.transaction() as tx:
            late = await platform.exceptions.lock_due(tx, platform.clock(), self._size.events)
            if not late:
                return 0
            self._size.regulate(len(late), late.values())
            recorder = Recorder(platform.new_id, platform.clock())
            for tracked in late.values():
                cause = Cause(WHO, None, tracked.state.config_hash)
                for body in due(tracked.state, recorder.now):
                    recorder.record(tracked, body, cause)
            await platform.unit_of_work.write(tx, recorder.events, late.values())
        self.handled += len(late)
        return len(late)

    async def process_parked(self) -> int:
        return 0

    async def lag(self, tx: Connection) -> int:  # noqa: ARG002 - the signature is every loop's
        return 0
