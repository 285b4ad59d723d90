"""What belongs into one transaction? Events, the exceptions they fold into, and every other projection of them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from sentinai.events.envelope import Event
from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.approvals import project_approvals
from sentinai.infrastructure.repositories.exceptions import ExceptionRepository
from sentinai.infrastructure.repositories.executions import project_executions
from sentinai.observability.metrics import EVENTS_APPENDED
from sentinai.orchestrator.recording import Tracked

Publish = Callable[[Connection, Sequence[Event], Mapping[tuple[str, str], int]], Awaitable[None]]


class UnitOfWork:
    """Writes what was recorded: events first (they are the truth), then what is derived from them."""

    def __init__(self, publish: Publish, exceptions: ExceptionRepository) -> None:
        self._publish = publish
        self._exceptions = exceptions

    async def write(self, tx: Connection, events: Sequence[Event], touched: Iterable[Tracked]) -> None:
        """Part of the caller's transaction; `touched` are the exceptions among whose streams the events are."""
        everyone = list(touched)
        after = {(t.state.tenant_id, t.stream): t.after for t in everyone if t.after}
        await self._publish(tx, events, after)
        await self._exceptions.insert(tx, [t for t in everyone if t.stored is None])
        await self._exceptions.update(tx, [t for t in everyone if t.stored is not None])
        await project_approvals(tx, events)
        await project_executions(tx, events)
        EVENTS_APPENDED.inc(len(events))
