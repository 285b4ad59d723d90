"""How does a command record what it decided, in one transaction?"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from sentinai.errors import Missing
from sentinai.events.envelope import Body
from sentinai.infrastructure.database import Connection, Database
from sentinai.infrastructure.repositories.configurations import Configurations
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.infrastructure.repositories.exceptions import ExceptionRepository
from sentinai.infrastructure.unit_of_work import UnitOfWork
from sentinai.messaging.parked import ParkedEvents
from sentinai.models.actor import user
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator.recording import Cause, Recorder, StreamKey, Tracked
from sentinai.security.roles import Principal


@dataclass(frozen=True, slots=True)
class Commands:
    """What every command is built from (see bootstrap). `database` is under row-level security."""

    database: Database
    store: EventStore
    exceptions: ExceptionRepository
    configurations: Configurations
    parked: ParkedEvents
    unit_of_work: UnitOfWork
    clock: Callable[[], datetime]
    new_id: Callable[[], UUID]

    def recorder(self) -> Recorder:
        return Recorder(self.new_id, self.clock())


def actor(principal: Principal) -> str:
    """How a caller is named in events: the subject, and the key that was used."""
    return user(principal.subject, principal.key_id)


class ExceptionCommand(msgspec.Struct):
    """A command on one exception: its state is locked until the transaction ends."""

    tx: Connection
    tracked: Tracked
    recorder: Recorder
    cause: Cause

    @property
    def state(self) -> ExceptionState:
        return self.tracked.state

    def record(self, body: Body) -> UUID:
        """Record an event of the exception; returns the event's id."""
        return self.recorder.record(self.tracked, body, self.cause).event_id


@asynccontextmanager
async def on_exception(commands: Commands, principal: Principal, exception_id: UUID) -> AsyncIterator[ExceptionCommand]:
    """Lock the exception, let the caller check and record, then write everything. Raises Missing for another tenant's."""
    async with commands.database.transaction(principal.tenant_id) as tx:
        key = (principal.tenant_id, exception_id)
        found = await commands.exceptions.lock(tx, [key])
        if key not in found:
            raise Missing(f"There is no exception {exception_id}.", exception_id=str(exception_id))
        tracked, recorder = found[key], commands.recorder()
        cause = Cause(actor(principal), None, tracked.state.config_hash)
        yield ExceptionCommand(tx, tracked, recorder, cause)
        await commands.unit_of_work.write(tx, recorder.events, [tracked])


async def record_configuration(commands: Commands, tx: Connection, key: StreamKey, who: str, body: Body) -> UUID:
    """Append an event of configuration or administration to its stream; returns its id."""
    recorder = commands.recorder()
    end = await commands.store.stream_end(tx, *key)
    event = recorder.record_on(end, body, Cause(who, None, None))
    await commands.unit_of_work.write(tx, recorder.events, ())
    return event.event_id
