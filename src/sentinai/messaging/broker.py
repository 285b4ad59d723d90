"""What does a worker need of a broker? The same of every engine."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

import asyncpg
import msgspec

from sentinai.events.envelope import Event

Connection = asyncpg.Connection
OpenTransaction = Callable[[], AbstractAsyncContextManager[Connection]]
"""Opens a transaction."""

LAG_COUNTED_MAX = 1_000
BATCH_BYTES_MAX = 16 * 1024 * 1024
"""Payloads of one claim, so that a backlog of large ones does not fill the memory; one event may be larger."""
RELAY = "relay"
"""The consumer that brings the log to Kafka."""


class KafkaOptions(NamedTuple):
    """`connection` are the client library's own settings: bootstrap servers, security."""

    connection: Mapping[str, str]
    prefix: str = "sentinai."
    """Of topics and consumer groups."""


class Place(msgspec.Struct, frozen=True, order=True):
    """A place in one topic's partition of the log: transaction id, then position."""

    xid: int
    position: int


class Delivery(msgspec.Struct, frozen=True):
    """An event for a consumer, and where the log has it."""

    event: Event
    place: Place


class LogPartition(NamedTuple):
    """One topic's partition of the log."""

    topic: str
    partition: int


Ends = dict[LogPartition, Place]
"""Up to here everything is handled, or needs no handling."""
Ahead = dict[tuple[str, int, str], Place]
"""By topic, partition and tenant: how far a tenant is that got its turn before the cursor came."""


class Cursors(NamedTuple):
    """Where a consumer stands in the partitions it holds."""

    ends: Ends
    ahead: Ahead


class Claim(msgspec.Struct):
    """Partitions that are this transaction's until it ends, and their next events in the order of the log."""

    consumer: str
    deliveries: list[Delivery]
    ends: Ends
    """Where the cursors move to."""
    ahead: Ahead = {}
    """Where those of tenants that are ahead move to."""
    reached_ahead: bool = False
    """Whether the cursors came to what a tenant had taken ahead, so that its own cursor may be over."""
    cut: bool = False
    """Whether it is as large as a claim may be, so that a partition without events in it may still have some."""
    more: bool = True
    """Whether it may have left something that was there; what comes later is news."""


class Broker(Protocol):
    """Deliveries arrive in order per exception; `advance` is part of the worker's transaction."""

    def heard(self, topics: Iterable[str]) -> None:
        """A notification said that events of these topics were appended."""

    async def news(self, begin: OpenTransaction) -> frozenset[str]:
        """Which topics are worth a claim? Asks nobody if nothing was heard.

        A notification can be lost, so everybody has to look now and then as well.
        """

    async def claim(self, tx: Connection, consumer: str, events_max: int, partition: int | None = None) -> Claim | None:
        """Claim partitions with work and read their next events; None when there is nothing to do."""

    async def lag(self, tx: Connection, consumer: str) -> int:
        """Events the consumer has yet to take, counted up to LAG_COUNTED_MAX per topic and partition."""

    async def advance(self, tx: Connection, claim: Claim) -> None:
        """Move the cursors behind the claimed events."""
