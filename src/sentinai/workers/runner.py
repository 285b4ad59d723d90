"""How does a process run its workers: what wakes them, how they stop, and how they say how they are?"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime

import asyncpg
import structlog

from sentinai.errors import Conflict, Unavailable
from sentinai.events.catalog import TOPICS
from sentinai.messaging.broker import RELAY
from sentinai.messaging.heartbeat import Process, beat, bury
from sentinai.messaging.lag import held_back_s
from sentinai.messaging.publisher import CHANNEL
from sentinai.observability.metrics import CONSUMER_LAG, LOG_HELD_BACK_SECONDS, WORKER_READY
from sentinai.orchestrator.pipeline import CONSUMES, topics_of
from sentinai.workers.base import BaseWorker, Loop, Platform
from sentinai.workers.executor import ToolExecutor

POLL_MIN_S, POLL_MAX_S = 0.004, 0.5
"""An idle worker looks again after a delay that doubles between these; a wake-up starts it anew."""
PARKED_EVERY_S = 0.25
EXECUTIONS_EVERY_S = 0.1
SWEEP_EVERY_S = 0.5
"""Also how often timers are looked at: the clock (the loop `sla`) is part of every sweep."""
HEARTBEAT_EVERY_S = 5.0
RECONNECT_MAX_S = 2.0
PASSING = (Unavailable, Conflict, asyncpg.PostgresError, OSError)
"""What a round may end with: the next one, after a while, tries again."""

log = structlog.get_logger()


class Runner:
    """Runs the hosted workers in turn until `stop` is called; a batch under way is always finished."""

    def __init__(
        self,
        platform: Platform,
        workers: Sequence[Loop],
        executor: ToolExecutor | None,
        health_port: int | None = None,
        drain_s: float = 0.0,
    ) -> None:
        self.platform = platform
        self.workers = workers
        self._ready = False
        self.health_port = health_port
        self.executor = executor
        self._drain_s = drain_s
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._started_at = platform.clock()
        self._due: dict[str, float] = {}
        self._busy: set[str] = set()
        self._topics = {w.name: frozenset(topics_of(w.name)) for w in workers if w.name in CONSUMES}
        self._wants = self._topics | {w.name: frozenset(TOPICS) for w in workers if w.name == RELAY}
        stages = [w for w in workers if isinstance(w, BaseWorker)]
        for worker in stages:
            worker.hosted = {w.name: w for w in stages}

    @property
    def worker_id(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}"

    @property
    def ready(self) -> bool:
        """Whether the last round that needed the database reached it; every sweep does."""
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready
        WORKER_READY.set(ready)

    def make_due(self) -> None:
        """Forget when sweeps, timers and parked events were looked at last: the next round looks at all of them."""
        self._due.clear()

    def stop(self) -> None:
        """Finish the batch under way, then end."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Until stopped. A database that is away is waited for, with back-off; the runner never gives up silently."""
        async with self.listening():
            await self._run()
        await self._end()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Notifications say which topics have news; without them only sweeps find events."""
        listener = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            listener.cancel()

    async def _run(self) -> None:
        delay, outage = POLL_MIN_S, POLL_MIN_S
        while not self._stopping.is_set():
            try:
                taken = await self.round()
                outage = POLL_MIN_S
                self.ready = True
            except PASSING as error:
                self.ready = False
                outage = min(outage * 2, RECONNECT_MAX_S)
                log.warning("worker_waits", error=type(error).__name__, message=str(error)[:500], delay_s=outage)
                with suppress(*PASSING):
                    await self._tell()  # a relay without Kafka still reaches the database
                await self._sleep(outage)
                continue
            woken = False
            if not taken:
                woken = await self._sleep(delay)
            delay = POLL_MIN_S if taken or woken else min(delay * 2, POLL_MAX_S)

    async def round(self) -> int:
        """Every worker that may have work one batch; now and then also timers and parked events. How much was taken?"""
        taken = 0
        await self._look()
        for worker in self.workers:
            if worker.name in self._busy:
                count = await worker.process()
                taken += count
                if not count or not worker.more:
                    self._busy.discard(worker.name)
        if self.executor is not None and (taken or self._is_due("executions", EXECUTIONS_EVERY_S)):
            taken += await self.executor.take()
        if self._is_due("parked", PARKED_EVERY_S):
            freed = [await worker.process_parked() for worker in self.workers]
            if any(freed):
                del self._due["parked"]  # there may be many more
            taken += sum(freed)
        await self._tell()
        return taken

    async def _look(self) -> None:
        """Whose topics got events? A sweep over everybody, now and then, finds what a crashed process left behind."""
        if self._is_due("sweep", SWEEP_EVERY_S):
            self._busy = {worker.name for worker in self.workers}
        news = await self.platform.broker.news(self.platform.database.transaction)
        self._busy |= {name for name, topics in self._wants.items() if topics & news}

    async def _sleep(self, delay_s: float) -> bool:
        """Until woken (True) or the delay is over; never longer than the next sweep."""
        try:
            await asyncio.wait_for(self._wake.wait(), min(delay_s, SWEEP_EVERY_S))
        except TimeoutError:
            return False
        if not self._stopping.is_set():
            self._wake.clear()
        return True

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True

    async def _tell(self) -> None:
        """Now and then: that this process is alive, and how far behind its workers are."""
        if self._is_due("heartbeat", HEARTBEAT_EVERY_S):
            await self._beat()
            await self._measure()

    async def _beat(self) -> None:
        names = [worker.name for worker in self.workers]
        handled = sum(worker.handled for worker in self.workers)
        now: datetime = self.platform.clock()
        async with self.platform.database.transaction() as tx:
            identity = (self.worker_id, names, socket.gethostname(), os.getpid(), self.health_port)
            await beat(tx, Process(*identity, self._started_at), now, handled)

    async def _measure(self) -> None:
        """Only reads: in the heartbeat's transaction, a writer, it would hold the log back for as long as it counts."""
        async with self.platform.database.transaction() as tx:
            for worker in self.workers:
                if worker.name in self._wants:
                    CONSUMER_LAG.labels(consumer=worker.name).set(await worker.lag(tx))
            LOG_HELD_BACK_SECONDS.set(await held_back_s(tx))

    async def _listen(self) -> None:
        """Keep a LISTEN connection; without one the workers poll."""
        while True:
            try:
                connection = await self.platform.database.dedicated()
                await connection.add_listener(CHANNEL, self._woken)
                self._wake.set()
                while not connection.is_closed():  # noqa: ASYNC110 - the driver tells nobody
                    await asyncio.sleep(RECONNECT_MAX_S)
            except (Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await asyncio.sleep(RECONNECT_MAX_S / 4)

    def _woken(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self.platform.broker.heard(filter(None, str(payload).split(",")))
        self._wake.set()

    async def _end(self) -> None:
        self.ready = False
        if self.executor is not None:
            await self.executor.drain(self._drain_s)
        try:
            async with self.platform.database.transaction() as tx:
                await bury(tx, self.worker_id, self.platform.clock())
        except Unavailable:
            log.warning("heartbeat_left_behind", worker_id=self.worker_id)
