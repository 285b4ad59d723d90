"""How does a batch of events run through the stages of a process, one exception at a time?

Chaining: an event whose consumer is hosted here, of an exception for which nothing else is pending, is handled at once
in the same transaction. A stage that raises loses only its own step: the event is parked for it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid5

import msgspec
import structlog

from sentinai.errors import SentinaiError, Unavailable
from sentinai.events.control import DeadLettered
from sentinai.events.envelope import Event
from sentinai.infrastructure.repositories.configurations import Configurations
from sentinai.infrastructure.repositories.exceptions import ExceptionKey, decode_state
from sentinai.messaging.broker import Connection
from sentinai.messaging.parked import BEHIND, DEAD, DUE, Parked
from sentinai.orchestrator.fold import apply, blank
from sentinai.orchestrator.pipeline import CONSUMER_OF
from sentinai.orchestrator.recording import Cause, Recorder, Tracked, new_exception
from sentinai.orchestrator.stages.occasion import Decided, Occasion, On, Stage
from sentinai.packs.effective import TenantConfiguration
from sentinai.security.masking import redact_pii
from sentinai.tools.invoke import backoff_s

CHAIN_EVENTS_MAX = 5_000
"""Events that one claimed event may lead to in its transaction; what is left is delivered like any other."""
ATTEMPTS_MAX = 8
"""Tries of an event whose consumer says `Unavailable`, before it is a dead letter."""
FIRST_DELAY_S = 0.5
MESSAGE_CHARS_MAX = 2_000

log = structlog.get_logger()


class StageLoop(Protocol):
    """What a batch needs of a worker."""

    @property
    def name(self) -> str: ...

    @property
    def stage(self) -> Stage[Any]: ...

    def known(self, occasion: Occasion) -> Any: ...

    def recorded(self, occasion: Occasion, answer: Decided) -> None: ...

    async def settle(self, tx: Connection, done: "Sequence[Done]") -> None: ...


class Work(NamedTuple):
    """A claimed event and its exception."""

    event: Event
    tracked: Tracked


class Done(NamedTuple):
    """An event that was handled, and what the stage answered."""

    event: Event
    answer: Decided


class Claimed(msgspec.Struct):
    """A claimed event; `parked` when it comes back from being parked."""

    event: Event
    parked: Parked | None = None


class Batch:
    """The works of one transaction and what came of them."""

    def __init__(
        self, stages: Mapping[str, StageLoop], configurations: Configurations, recorder: Recorder, *, chaining: bool
    ) -> None:
        self.states: dict[ExceptionKey, Tracked] = {}
        self.done: dict[str, list[Done]] = {name: [] for name in stages}
        self.parked: list[Parked] = []
        self.released: list[Parked] = []
        self.failed: set[tuple[str, str, str]] = set()
        """(consumer, tenant, stream) whose later events in this batch have to wait."""
        self.recorder = recorder
        self._stages = stages
        self._configurations = configurations
        self._chaining = chaining
        self._queue: deque[Work] = deque()

    @property
    def now(self) -> datetime:
        return self.recorder.now

    def tenant(self, tenant_id: str) -> TenantConfiguration:
        return self._configurations.tenant(tenant_id)

    def run(self, stage: StageLoop, work: Work, source: Claimed) -> None:
        """Handle a claimed event and everything it leads to here."""
        if (stage.name, work.event.tenant_id, work.event.stream) in self.failed:
            self.park_behind(source, stage.name)
            return
        work.tracked.pending -= 1
        if source.parked is not None:
            self.released.append(source.parked)
        self._hop(stage, work, source.parked.attempts if source.parked else 0)
        for _ in range(CHAIN_EVENTS_MAX):
            if not self._queue:
                break
            chained = self._queue.popleft()
            self._hop(self._stages[CONSUMER_OF[chained.event.type]], chained, 0)
        for chained in self._queue:
            chained.event.handled = False
            chained.tracked.pending += 1
        self._queue.clear()

    def park_behind(self, source: Claimed, consumer: str) -> None:
        """An earlier event of this exception is parked for the consumer: wait for it."""
        self.parked.append(self._entry(source.event, consumer, BEHIND, 0, None))

    def park_dead(self, source: Claimed, tracked: Tracked, consumer: str, error: BaseException) -> None:
        """Do not handle the event: it alone keeps a batch from being written."""
        tracked.pending -= 1
        self._fail(consumer, source.event, tracked, error, ATTEMPTS_MAX)

    def _hop(self, stage: StageLoop, work: Work, attempts: int) -> None:
        mark = len(self.recorder.events)
        touched: dict[int, tuple[Tracked, int]] = {id(work.tracked): (work.tracked, work.tracked.pending)}
        try:
            answer = self._ask(stage, work, touched)
        except Exception as error:  # the outer edge of a worker: this event alone is parked
            self._restore(mark, touched)
            self._fail(stage.name, work.event, work.tracked, error, attempts + 1)
            return
        self.done[stage.name].append(Done(work.event, answer))
        self._chain(mark, touched)

    def _ask(self, stage: StageLoop, work: Work, touched: dict[int, tuple[Tracked, int]]) -> Decided:
        """Have the stage decide, then record everything that it said."""
        event, state = work.event, work.tracked.state
        config = self._configurations.by_hash(state.config_hash)
        occasion = Occasion(state, self.tenant(event.tenant_id), config, self.now, event)
        known = stage.known(occasion)
        answer = stage.stage.decide(occasion, known)
        under = stage.stage.config(occasion, known)
        cause = Cause(f"agent:{stage.name}", event.event_id, under.hash if under else None)
        for said in answer:
            if isinstance(said, On):
                tracked, body = self._tracked((event.tenant_id, said.exception_id)), said.body
                touched.setdefault(id(tracked), (tracked, tracked.pending))
            else:
                tracked, body = work.tracked, said
            self.recorder.record(tracked, body, cause)
        stage.recorded(occasion, answer)
        return answer

    def _tracked(self, key: ExceptionKey) -> Tracked:
        """The exception that was locked, or one that begins here."""
        if key not in self.states:
            self.states[key] = new_exception(*key)
        return self.states[key]

    def _chain(self, mark: int, touched: Mapping[int, tuple[Tracked, int]]) -> None:
        if not self._chaining:
            return
        free = {t.stream: t for t, pending in touched.values() if pending == 0}
        for event in self.recorder.events[mark:]:
            tracked = free.get(event.stream)
            if event.handled or tracked is None:
                continue
            if CONSUMER_OF[event.type] not in self._stages:
                del free[event.stream]
                continue
            event.handled = True
            tracked.pending -= 1
            self._queue.append(Work(event, tracked))

    def _restore(self, mark: int, touched: Mapping[int, tuple[Tracked, int]]) -> None:
        """Forget what a failed step recorded, and fold its exceptions anew without it."""
        del self.recorder.events[mark:]
        for tracked, pending in touched.values():
            tenant_id, stream = tracked.state.tenant_id, tracked.stream
            tracked.state = (
                decode_state(tracked.stored) if tracked.stored else blank(tenant_id, tracked.state.exception_id)
            )
            for event in self.recorder.events:
                if event.stream == stream and event.tenant_id == tenant_id:
                    apply(tracked.state, event)
            tracked.pending = pending

    def _fail(self, consumer: str, event: Event, tracked: Tracked, error: BaseException, attempts: int) -> None:
        final = not isinstance(error, Unavailable) or attempts >= ATTEMPTS_MAX
        entry = self._entry(event, consumer, DEAD if final else DUE, attempts, error)
        self.released = [p for p in self.released if (p.stream, p.sequence) != (event.stream, event.sequence)]
        self.parked.append(entry)
        self.failed.add((consumer, event.tenant_id, event.stream))
        tracked.pending += 1
        if final:
            body = DeadLettered(consumer, event.sequence, entry.error or "", entry.message or "", attempts)
            self.recorder.record(tracked, body, Cause("system:worker", event.event_id, event.config_hash))
        log.warning(
            "event_parked",
            consumer=consumer,
            tenant_id=event.tenant_id,
            stream=event.stream,
            sequence=event.sequence,
            state=entry.state,
            attempts=attempts,
            error=entry.error,
            message=entry.message,
            exc_info=not isinstance(error, SentinaiError),
        )

    def _entry(self, event: Event, consumer: str, state: str, attempts: int, error: BaseException | None) -> Parked:
        due_at = self.now + timedelta(seconds=backoff_s(attempts, FIRST_DELAY_S)) if state == DUE else None
        return Parked(
            event.tenant_id,
            consumer,
            event.stream,
            event.sequence,
            dead_letter_id(event, consumer),
            event.type,
            state,
            attempts,
            due_at,
            type(error).__name__ if error else None,
            str(redact_pii(str(error)))[:MESSAGE_CHARS_MAX] if error else None,
            self.now,
        )


def dead_letter_id(event: Event, consumer: str) -> UUID:
    """The same id every time the same event is parked for the same consumer."""
    return uuid5(event.event_id, consumer)
