"""How do events reach their consumers? Appending them is publishing them; a wake-up only saves the wait."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from sentinai.events.envelope import Event
from sentinai.messaging.broker import Connection

CHANNEL = "sentinai_events"
"""NOTIFY channel; the payload are the topics that got events, separated by commas, or nothing: look at all else."""
NOTIFY = f"select pg_notify('{CHANNEL}', $1)"


class EventLog(Protocol):
    """Where events are appended: the EventStore."""

    async def append(self, tx: Connection, events: Sequence[Event], after: Mapping[tuple[str, str], int]) -> None: ...


class EventPublisherService:
    """Publishes in the writer's transaction: there is no moment between stored and published."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def publish(self, tx: Connection, events: Sequence[Event], after: Mapping[tuple[str, str], int]) -> None:
        """Append the events; if a consumer has to handle any of them, wake it when the transaction commits."""
        await self._log.append(tx, events, after)
        if topics := {event.topic for event in events if not event.handled}:
            await wake(tx, topics)


async def wake(tx: Connection, topics: Iterable[str] = ()) -> None:
    """Tell consumers, when the transaction commits, that these topics got events; without any, that parked or due work is there."""
    await tx.execute(NOTIFY, ",".join(sorted(topics)))
