"""What can a person do about a dead letter?"""

from collections.abc import Sequence
from uuid import UUID

from sentinai.errors import Missing
from sentinai.events.control import DeadLetterDiscarded, DeadLetterRetried
from sentinai.messaging.dead_letters import RetrySelection, find_dead_letter, make_due, matching_dead_letters
from sentinai.messaging.parked import Parked
from sentinai.messaging.publisher import wake
from sentinai.security.masking import redact_pii
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, on_exception

__all__ = ["RETRY_MAX", "RetrySelection", "discard", "matching", "retry"]

RETRY_MAX = 1_000


async def retry(commands: Commands, principal: Principal, dead_letter_id: UUID) -> None:
    """Have the consumer handle the event again, at once. Raises Missing when it is no dead letter (any more)."""
    entry = await _find(commands, principal, dead_letter_id)
    async with on_exception(commands, principal, _exception_of(entry)) as command:
        if not await make_due(command.tx, entry, command.recorder.now):
            raise _missing(dead_letter_id)
        command.record(DeadLetterRetried(entry.consumer, entry.sequence))
        await wake(command.tx)


async def discard(commands: Commands, principal: Principal, dead_letter_id: UUID, reason: str) -> None:
    """Give the event up, for a reason that stays on record; later events of the exception are taken again."""
    entry = await _find(commands, principal, dead_letter_id)
    async with on_exception(commands, principal, _exception_of(entry)) as command:
        if await find_dead_letter(command.tx, entry.tenant_id, dead_letter_id) is None:
            raise _missing(dead_letter_id)
        command.tracked.pending -= 1
        command.record(DeadLetterDiscarded(entry.consumer, entry.sequence, str(redact_pii(reason))))
        await commands.parked.release(command.tx, entry, command.recorder.now)
        await wake(command.tx)


async def matching(commands: Commands, principal: Principal, wanted: RetrySelection) -> Sequence[UUID]:
    """The ids of at most RETRY_MAX dead letters that a filter selects, oldest first: a preview of a retry."""
    async with commands.database.transaction(principal.tenant_id) as tx:
        return await matching_dead_letters(tx, principal.tenant_id, wanted, RETRY_MAX)


async def _find(commands: Commands, principal: Principal, dead_letter_id: UUID) -> Parked:
    async with commands.database.transaction(principal.tenant_id) as tx:
        entry = await find_dead_letter(tx, principal.tenant_id, dead_letter_id)
    if entry is None:
        raise _missing(dead_letter_id)
    return entry


def _exception_of(entry: Parked) -> UUID:
    return UUID(entry.stream.removeprefix("exception/"))


def _missing(dead_letter_id: UUID) -> Missing:
    return Missing(f"There is no dead letter {dead_letter_id}.", dead_letter_id=str(dead_letter_id))
