"""What can a person do about a dead letter?"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sentinai.errors import Missing
from sentinai.events.control import DeadLetterDiscarded, DeadLetterRetried
from sentinai.messaging.parked import DEAD, Parked, parked_of
from sentinai.messaging.publisher import NOTIFY
from sentinai.security.masking import redact_pii
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, on_exception

RETRY_MAX = 1_000

_FIND = "select * from parked where tenant_id = $1 and dead_letter_id = $2 and state = 'dead'"
_RETRY = """update parked set state = 'due', due_at = $5, attempts = 0
  where tenant_id = $1 and consumer = $2 and stream = $3 and sequence = $4 and state = 'dead'"""
_MATCHING = """select dead_letter_id from parked
  where tenant_id = $1 and state = 'dead' and ($2::text is null or consumer = $2)
    and ($3::text is null or error = $3) and ($4::text is null or type = $4)
  order by parked_at limit $5"""


class Filter(NamedTuple):
    """Which dead letters; None does not restrict."""

    consumer: str | None
    error: str | None
    type: str | None


async def retry(commands: Commands, principal: Principal, dead_letter_id: UUID) -> None:
    """Have the consumer handle the event again, at once. Raises Missing when it is no dead letter (any more)."""
    entry = await _find(commands, principal, dead_letter_id)
    async with on_exception(commands, principal, _exception_of(entry)) as command:
        place = (entry.tenant_id, entry.consumer, entry.stream, entry.sequence)
        if await command.tx.execute(_RETRY, *place, command.recorder.now) == "UPDATE 0":
            raise _missing(dead_letter_id)
        command.record(DeadLetterRetried(entry.consumer, entry.sequence))
        await command.tx.execute(NOTIFY, "")


async def discard(commands: Commands, principal: Principal, dead_letter_id: UUID, reason: str) -> None:
    """Give the event up, for a reason that stays on record; later events of the exception are taken again."""
    entry = await _find(commands, principal, dead_letter_id)
    async with on_exception(commands, principal, _exception_of(entry)) as command:
        current = await command.tx.fetchval(_FIND, entry.tenant_id, dead_letter_id)
        if current is None:
            raise _missing(dead_letter_id)
        command.tracked.pending -= 1
        command.record(DeadLetterDiscarded(entry.consumer, entry.sequence, str(redact_pii(reason))))
        await commands.parked.release(command.tx, entry, command.recorder.now)
        await command.tx.execute(NOTIFY, "")


async def matching(commands: Commands, principal: Principal, wanted: Filter) -> Sequence[UUID]:
    """The ids of at most RETRY_MAX dead letters that a filter selects, oldest first: a preview of a retry."""
    async with commands.database.transaction(principal.tenant_id) as tx:
        rows = await tx.fetch(_MATCHING, principal.tenant_id, *wanted, RETRY_MAX)
    return [row["dead_letter_id"] for row in rows]


async def _find(commands: Commands, principal: Principal, dead_letter_id: UUID) -> Parked:
    async with commands.database.transaction(principal.tenant_id) as tx:
        row = await tx.fetchrow(_FIND, principal.tenant_id, dead_letter_id)
    if row is None:
        raise _missing(dead_letter_id)
    entry = parked_of(row)
    assert entry.state == DEAD
    return entry


def _exception_of(entry: Parked) -> UUID:
    return UUID(entry.stream.removeprefix("exception/"))


def _missing(dead_letter_id: UUID) -> Missing:
    return Missing(f"There is no dead letter {dead_letter_id}.", dead_letter_id=str(dead_letter_id))
