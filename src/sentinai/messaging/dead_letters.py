"""How is a dead letter found, and handed to its consumer again? Listing them is `infrastructure/repositories/dead_letters.py`."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sentinai.messaging.broker import Connection
from sentinai.messaging.parked import DEAD, Parked, parked_of

_FIND = "select * from parked where tenant_id = $1 and dead_letter_id = $2 and state = 'dead'"
_RETRY = """update parked set state = 'due', due_at = $5, attempts = 0
  where tenant_id = $1 and consumer = $2 and stream = $3 and sequence = $4 and state = 'dead'"""
_MATCHING = """select dead_letter_id from parked
  where tenant_id = $1 and state = 'dead' and ($2::text is null or consumer = $2)
    and ($3::text is null or error = $3) and ($4::text is null or type = $4)
  order by parked_at limit $5"""


class RetrySelection(NamedTuple):
    """Which dead letters; None does not restrict."""

    consumer: str | None
    error: str | None
    type: str | None


async def find_dead_letter(tx: Connection, tenant_id: str, dead_letter_id: UUID) -> Parked | None:
    """None when it is no dead letter (any more)."""
    row = await tx.fetchrow(_FIND, tenant_id, dead_letter_id)
    if row is None:
        return None
    entry = parked_of(row)
    assert entry.state == DEAD
    return entry


async def make_due(tx: Connection, entry: Parked, now: datetime) -> bool:
    """Its consumer takes it again, with all its attempts before it; whether it was still dead."""
    place = (entry.tenant_id, entry.consumer, entry.stream, entry.sequence)
    return str(await tx.execute(_RETRY, *place, now)) != "UPDATE 0"


async def matching_dead_letters(tx: Connection, tenant_id: str, wanted: RetrySelection, limit: int) -> list[UUID]:
    """Their ids, oldest first."""
    return [row["dead_letter_id"] for row in await tx.fetch(_MATCHING, tenant_id, *wanted, limit)]
