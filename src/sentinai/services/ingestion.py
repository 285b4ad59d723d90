"""How are reported exceptions accepted: checked, masked, and stored with many others in one commit?

Requests that arrive while a commit is under way share the next one; each is answered only after its commit.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from sentinai.errors import Denied, SentinaiError, Unavailable
from sentinai.events.intake import ExceptionIngested
from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories.api_keys import still_held
from sentinai.infrastructure.unit_of_work import UnitOfWork
from sentinai.models.json import Json
from sentinai.observability.metrics import INGEST_GROUP_SIZE
from sentinai.orchestrator.recording import Cause, Recorder, Tracked, new_exception
from sentinai.packs.effective import EffectiveConfig
from sentinai.packs.sourcing import Report, choose_source
from sentinai.security.masking import mask_paths, may_hold_pii, redact_pii
from sentinai.security.roles import Principal
from sentinai.security.sensitive import mask_values, values_at
from sentinai.services.admission import Admission
from sentinai.services.recording import Commands, actor

CONFIGURATION_AGE_S = 1.0
"""How old the ingesting process's view of active packs (for masking) may be."""

log = structlog.get_logger()


class Accepted(msgspec.Struct):
    """A report ready to be stored."""

    principal: Principal
    key_hash: bytes
    exception_id: UUID
    body: ExceptionIngested


Group = list[tuple[list[Accepted], asyncio.Future[None]]]
"""Requests that share a commit, and who waits for its end."""


class IngestionService:
    """Accepts reports. Its own database role can only INSERT events and exceptions."""

    def __init__(
        self, commands: Commands, ingest: Database, unit_of_work: UnitOfWork, group_max: int, admission: Admission
    ) -> None:
        self._commands = commands
        self._ingest = ingest
        self._unit_of_work = unit_of_work
        self._group_max = group_max
        self.admission = admission
        self._waiting: Group = []
        self._flushing: asyncio.Task[None] | None = None
        self._loaded: dict[str, float] = {}

    async def accept(self, principal: Principal, key_hash: bytes, reports: Sequence[ExceptionIngested]) -> list[UUID]:
        """Store reports, all or none; returns their exception ids once they are committed.

        Raises Denied when the key was revoked meanwhile, Unavailable when the database is away or too much waits for it
        already, Limited when the tenant sends too much (nothing is stored then).
        """
        configs = await self._configurations(principal.tenant_id)
        loop = asyncio.get_running_loop()
        self.admission.enter(principal.tenant_id, len(reports), loop.time())
        try:
            return await self._accept(principal, key_hash, configs, reports)
        finally:
            self.admission.leave(principal.tenant_id, len(reports))

    async def _accept(
        self,
        principal: Principal,
        key_hash: bytes,
        configs: Sequence[EffectiveConfig],
        reports: Sequence[ExceptionIngested],
    ) -> list[UUID]:
        now = self._commands.clock()
        new_id = self._commands.new_id
        accepted = [Accepted(principal, key_hash, new_id(), _masked(principal, configs, r, now)) for r in reports]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((accepted, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done
        return [a.exception_id for a in accepted]

    async def _configurations(self, tenant_id: str) -> Sequence[EffectiveConfig]:
        """The tenant's active configurations, at most CONFIGURATION_AGE_S old."""
        now = asyncio.get_running_loop().time()
        configurations = self._commands.configurations
        if now - self._loaded.get(tenant_id, -CONFIGURATION_AGE_S) >= CONFIGURATION_AGE_S:
            async with self._commands.database.transaction(tenant_id) as tx:
                await configurations.load(tx, [tenant_id])
            if len(self._loaded) > self._group_max * 10:
                self._loaded.clear()
            self._loaded[tenant_id] = now
        return configurations.tenant(tenant_id).active

    async def _flush(self) -> None:
        while self._waiting:
            group = self._next_group()
            try:
                await self._answer_all(group)
            except Exception as error:  # whatever one report does to the commit, every request of it gets an answer
                await self._answer_each(group, error)

    async def _answer_all(self, group: Group) -> None:
        try:
            denied = await self._store(group)
        except SentinaiError as error:
            _fail(group, error)
        else:
            for accepted, done in group:
                _answer(done, accepted[0].key_hash in denied if accepted else False)

    async def _answer_each(self, group: Group, error: Exception) -> None:
        """One request alone is the guilty one; of many, each is stored by itself, so that the others are not refused."""
        if len(group) == 1:
            log.error("report_not_stored", error=type(error).__name__, exc_info=error)
            message = f"The database could not store it ({type(error).__name__}); send it again."
            _fail(group, Unavailable(message))
            return
        for request in group:
            try:
                await self._answer_all([request])
            except Exception as alone:  # as above
                await self._answer_each([request], alone)

    def _next_group(self) -> Group:
        """At most `group_max` reports, but at least one request."""
        size, count = 0, 0
        for accepted, _ in self._waiting:
            if count and size + len(accepted) > self._group_max:
                break
            size, count = size + len(accepted), count + 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        INGEST_GROUP_SIZE.observe(size)
        return group

    async def _store(self, group: Group) -> set[bytes]:
        """One commit; returns the keys that are not valid any more, whose reports were left out.

        Spans tenants: every row names its own, taken from the key that sent it.
        """
        hashes = {a.key_hash for accepted, _ in group for a in accepted}
        recorder = Recorder(self._commands.new_id, self._commands.clock())
        async with self._ingest.transaction() as tx:
            held = await still_held(tx, hashes)
            tracked = [_record(recorder, a) for accepted, _ in group for a in accepted if a.key_hash in held]
            await self._unit_of_work.write(tx, recorder.events, tracked)
        return hashes - held


def _record(recorder: Recorder, accepted: Accepted) -> Tracked:
    tracked = new_exception(accepted.principal.tenant_id, accepted.exception_id)
    recorder.record(tracked, accepted.body, Cause(actor(accepted.principal), None, None))
    return tracked


def _masked(
    principal: Principal, configs: Sequence[EffectiveConfig], body: ExceptionIngested, now: datetime
) -> ExceptionIngested:
    """What the source's pack calls sensitive is masked, and what the built-in patterns recognise, before storage."""
    payload = body.payload
    if any(source.sensitive for config in configs for source in config.sources):
        report = Report(principal.tenant_id, body.source_system, body.domain, payload, body.occurred_at, now)
        payload = _without_sensitive(configs, report)
    if may_hold_pii(msgspec.json.encode(payload)):
        payload = redact_pii(payload)
    return msgspec.structs.replace(body, payload=payload) if payload is not body.payload else body


def _without_sensitive(configs: Sequence[EffectiveConfig], report: Report) -> Json:
    source, facts = choose_source(configs, report)[1:3]
    if source is None or facts is None or not source.sensitive:
        return report.payload
    if source.items is None:
        return mask_paths(report.payload, source.sensitive)
    items = source.items.render(facts)
    return mask_values(report.payload, values_at(items, source.sensitive))


def _answer(done: asyncio.Future[None], denied: bool) -> None:
    if done.done():
        return
    if denied:
        done.set_exception(Denied("This API key is no longer valid."))
    else:
        done.set_result(None)


def _fail(group: Group, error: SentinaiError) -> None:
    for _, done in group:
        if not done.done():
            done.set_exception(error)
