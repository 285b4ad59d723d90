"""How does something that happened become an event of a stream and part of its state?"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from sentinai.events.catalog import BY_TYPE
from sentinai.events.envelope import Body, Event, chain_hash, partition_of
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator.fold import apply, blank
from sentinai.orchestrator.pipeline import CONSUMER_OF

_encode = msgspec.json.Encoder().encode


class Tracked(msgspec.Struct):
    """An exception in the hands of one transaction."""

    state: ExceptionState
    stream: str
    partition: int
    pending: int = 0
    """Recorded events that a consumer inside has yet to handle, parked ones included; chaining needs none but its own."""
    stored: bytes | None = None
    """The state as it was read; None for an exception that this transaction creates."""
    after: int = 0
    """Where the last event came from a transaction with a higher id than this one: that id, else 0."""


def track(state: ExceptionState, pending: int = 0, stored: bytes | None = None, after: int = 0) -> Tracked:
    """A state with the name and the partition of its stream, which every event of it repeats."""
    stream = state.stream
    return Tracked(state, stream, partition_of(state.tenant_id, stream), pending, stored, after)


class Cause(NamedTuple):
    """Who made it happen, what led to it, and under which configuration."""

    actor: str
    causation_id: UUID | None
    config_hash: str | None


class StreamKey(NamedTuple):
    """Names one stream of events: each tenant has its own."""

    tenant_id: str
    stream: str


class StreamEnd(NamedTuple):
    """Where a stream stands: the next event gets `sequence + 1` and is chained to `hash`."""

    tenant_id: str
    stream: str
    sequence: int
    hash: bytes


def new_exception(tenant_id: str, exception_id: UUID) -> Tracked:
    return track(blank(tenant_id, exception_id))


class Recorder:
    """Collects the events of one transaction; states follow at once."""

    def __init__(self, new_id: Callable[[], UUID], now: datetime) -> None:
        self.now = now
        self.events: list[Event] = []
        self._new_id = new_id

    def record(self, tracked: Tracked, body: Body, cause: Cause, *, handled: bool = False) -> Event:
        """Append to an exception's stream and fold; `handled` when this transaction also does its consumer's work."""
        state = tracked.state
        end = StreamEnd(state.tenant_id, tracked.stream, state.sequence, state.hash)
        event = self._append(end, tracked.partition, body, cause, state.exception_id)
        if not handled and event.type in CONSUMER_OF:
            event.handled = False
            tracked.pending += 1
        apply(state, event)
        return event

    def record_on(self, end: StreamEnd, body: Body, cause: Cause) -> Event:
        """Append to a stream of configuration or administration, which has no state to fold."""
        return self._append(end, partition_of(end.tenant_id, end.stream), body, cause, None)

    def _append(
        self,
        end: StreamEnd,
        partition: int,
        body: Body,
        cause: Cause,
        correlation_id: UUID | None,
    ) -> Event:
        tenant_id, stream, sequence, previous = end
        kind = BY_TYPE[type(body)]
        event = Event(
            tenant_id,
            stream,
            sequence + 1,
            self._new_id(),
            kind.name,
            kind.version,
            kind.topic,
            partition,
            self.now,
            cause.actor,
            correlation_id,
            cause.causation_id,
            cause.config_hash,
            _encode(body),
            b"",
            True,
            body,
        )
        event.hash = chain_hash(previous, event)
        self.events.append(event)
        return event
