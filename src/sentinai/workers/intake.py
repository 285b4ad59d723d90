"""The loop of intake: it reads all reports of a batch first, to lock the dedup keys and whoever is first under them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sentinai.events.intake import ExceptionNormalized
from sentinai.infrastructure.repositories.exceptions import ExceptionKey
from sentinai.messaging.broker import Connection
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator.recording import Tracked
from sentinai.orchestrator.stages import intake
from sentinai.orchestrator.stages.occasion import Decided, Occasion, On
from sentinai.workers.base import BaseWorker
from sentinai.workers.batch import Batch, Done, Work

DedupKey = tuple[str, str]
"""(tenant, key)"""


@dataclass(slots=True)
class _Keys:
    """Whose each dedup key of a batch is; the second report of a batch finds the first."""

    states: dict[ExceptionKey, Tracked]
    holders: dict[DedupKey, UUID] = field(default_factory=dict)
    taken: dict[DedupKey, UUID] = field(default_factory=dict)

    def first_under(self, tenant_id: str, key: str) -> ExceptionState | None:
        """None where the key was free: whoever claimed it has yet to be normalised under it."""
        tracked = self.states.get((tenant_id, self.holders[tenant_id, key]))
        return tracked.state if tracked is not None and tracked.state.dedup_key == key else None

    def take(self, key: DedupKey, exception_id: UUID) -> None:
        if self.holders[key] != exception_id:
            self.holders[key] = self.taken[key] = exception_id


class IntakeWorker(BaseWorker[intake.IntakeKnown]):
    async def gather(self, tx: Connection, batch: Batch, works: Sequence[Work]) -> None:
        self._keys = _Keys(batch.states)
        self._readings: dict[UUID, intake.ReadAttempt] = {}
        claims: dict[DedupKey, UUID] = {}
        for work in works:
            reading = intake.read(work.event, batch.tenant(work.event.tenant_id).active)
            self._readings[work.event.event_id] = reading
            for key in reading.keys:
                claims.setdefault((work.event.tenant_id, key), work.tracked.state.exception_id)
        self._keys.holders |= await self.platform.exceptions.claim_dedup_keys(tx, claims, batch.now)
        unknown = {(tenant_id, first) for (tenant_id, _), first in self._keys.holders.items()} - batch.states.keys()
        found = await self.platform.exceptions.lock(tx, unknown)
        batch.states |= found
        if found:
            used = ((tenant_id, t.state.config_hash) for (tenant_id, _), t in found.items())
            await self.platform.configurations.load(tx, {tenant_id for tenant_id, _ in found}, used)

    def known(self, occasion: Occasion) -> intake.IntakeKnown:
        tenant_id, keys = occasion.event.tenant_id, self._keys
        return intake.IntakeKnown(self._readings[occasion.event.event_id], lambda key: keys.first_under(tenant_id, key))

    def recorded(self, occasion: Occasion, answer: Decided) -> None:
        for said in answer:
            body = said.body if isinstance(said, On) else said
            if isinstance(body, ExceptionNormalized) and body.dedup_key is not None:
                exception_id = said.exception_id if isinstance(said, On) else occasion.state.exception_id
                self._keys.take((occasion.event.tenant_id, body.dedup_key), exception_id)

    async def settle(self, tx: Connection, done: Sequence[Done]) -> None:  # noqa: ARG002 - the signature is every loop's
        await self.platform.exceptions.take_dedup_keys(tx, self._keys.taken, self.platform.clock())
