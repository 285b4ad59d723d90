"""SLA: turn times that have come (warnings, deadlines, approval expiries) into events. Nothing waits in memory."""

from datetime import datetime
from typing import ClassVar

from sentinai.events.policy import ApprovalExpired
from sentinai.events.sla import SLAExpired, SLAImminent
from sentinai.orchestrator.recording import Cause, Recorder, Tracked
from sentinai.workers.base import BaseWorker
from sentinai.workers.work import Answer, Work

CAUSE = Cause("system:sla", None, None)


class SlaWorker(BaseWorker):
    """Consumes no events: its stream is the clock."""

    name: ClassVar[str] = "sla"

    def handle(self, work: Work) -> Answer:  # noqa: ARG002 - the signature is every worker's
        raise AssertionError("the SLA worker consumes no events")

    async def process(self) -> int:
        """Take exceptions whose earliest time has come; returns how many."""
        platform = self.platform
        async with platform.database.transaction() as tx:
            due = await platform.exceptions.lock_due(tx, platform.clock(), self.events_max)
            if not due:
                return 0
            self.regulate(len(due), due.values())
            recorder = Recorder(platform.new_id, platform.clock())
            for tracked in due.values():
                _record_due(recorder, tracked, recorder.now)
            await platform.unit_of_work.write(tx, recorder.events, due.values())
        self.handled += len(due)
        return len(due)

    async def process_parked(self) -> int:
        return 0


def _record_due(recorder: Recorder, tracked: Tracked, now: datetime) -> None:
    state = tracked.state
    sla, approval = state.sla, state.approval
    cause = CAUSE._replace(config_hash=state.config_hash)
    if sla is not None and sla.warn_at is not None and sla.warn_at <= now:
        recorder.record(tracked, SLAImminent(sla.resolve_by), cause)
    if sla is not None and sla.expires_at is not None and sla.expires_at <= now:
        recorder.record(tracked, SLAExpired(sla.resolve_by), cause)
    if approval is not None and approval.expires_at is not None and approval.expires_at <= now:
        recorder.record(tracked, ApprovalExpired(approval.approval_id, approval.on_expiry, approval.step), cause)
