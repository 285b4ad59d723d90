"""How are exception rows locked, written and found? Batches only: one statement, many rows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.errors import Unavailable
from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.infrastructure.repositories.pages import Listed, PageRequest, read_page
from sentinai.infrastructure.repositories.rows import columns_of, one_of
from sentinai.infrastructure.tables.tables import exception
from sentinai.models.exception_record import FOLD, ExceptionState, Status, stream_of
from sentinai.models.json import Json
from sentinai.orchestrator.fold import fold
from sentinai.orchestrator.recording import Tracked, track

ExceptionKey = tuple[str, UUID]
"""(tenant, exception id)"""

COLUMNS = (
    "tenant_id",
    "exception_id",
    "status",
    "severity",
    "exception_type",
    "domain",
    "source_system",
    "external_id",
    "title",
    "owner",
    "queue",
    "occurrences",
    "blocked",
    "automated",
    "occurred_at",
    "received_at",
    "updated_at",
    "triaged_at",
    "resolved_at",
    "due_at",
    "pending",
    "state",
)
"""Of a row as it is written; the type `exception_row` has the same."""
_FIXED = frozenset({"tenant_id", "exception_id", "source_system", "external_id", "received_at"})
"""Columns that never change after the insert."""
_CHANGING = tuple(name for name in COLUMNS if name not in _FIXED)

_AFTER = "case when e.log_xid > pg_current_xact_id() then e.log_xid end as after"
_LOCK = f"""select e.tenant_id, e.exception_id, e.pending, e.state, {_AFTER}
  from exception e join unnest($1::text[], $2::uuid[]) u(t, x) on e.tenant_id = u.t and e.exception_id = u.x
  order by e.exception_id, e.tenant_id for no key update of e"""
_UPDATE = f"""update exception e set {", ".join(f"{name} = u.{name}" for name in _CHANGING)},
    log_xid = greatest(e.log_xid, pg_current_xact_id())
  from unnest($1::exception_row[]) u where e.tenant_id = u.tenant_id and e.exception_id = u.exception_id"""
_CONFIG = "select state->>'config_hash' as config_hash from exception where tenant_id = $1 and exception_id = $2"
_CLAIM_KEYS = """insert into dedup (tenant_id, dedup_key, exception_id, seen_at)
  select * from unnest($1::text[], $2::text[], $3::uuid[], $4::timestamptz[]) order by 1, 2
  on conflict (tenant_id, dedup_key) do update set seen_at = dedup.seen_at
  returning tenant_id, dedup_key, exception_id"""
_TAKE_KEYS = """update dedup d set exception_id = u.x, seen_at = u.s
  from unnest($1::text[], $2::text[], $3::uuid[], $4::timestamptz[]) u(t, k, x, s)
  where d.tenant_id = u.t and d.dedup_key = u.k"""
_DUE = f"""select tenant_id, exception_id, pending, state, {_AFTER} from exception e where due_at <= $1
  order by due_at limit $2 for no key update skip locked"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ExceptionState).decode
TODAY = f'{{"fold":{FOLD},'
"""How a stored state begins that this version of the fold made."""
_TODAY = TODAY.encode()


_VERSION = re.compile(rb'\{"fold":(\d+),')


def is_outdated(stored: bytes) -> bool:
    """Was this state made by an older version of the fold? It is folded anew from its events then, never decoded.

    Raises Unavailable for one of a newer version: this process cannot know what it means, so newer ones have to go on.
    """
    if stored.startswith(_TODAY):
        return False
    version = _VERSION.match(stored)
    if version is not None and int(version[1]) > FOLD:
        raise Unavailable(
            f"An exception is kept by a newer version of this program (fold {int(version[1])}). Replace this one."
        )
    return True


def decode_state(stored: bytes) -> ExceptionState:
    """The state of a row that is not outdated."""
    return _decode(stored)


class ExceptionFilter(msgspec.Struct, frozen=True):
    """Which exceptions; None does not restrict."""

    status: str | None = None
    severity: str | None = None
    exception_type: str | None = None
    owner: str | None = None
    source_system: str | None = None
    blocked: bool | None = None
    text: str | None = None
    """Part of the title, or an external id."""
    received_from: datetime | None = None
    received_until: datetime | None = None
    """Not included."""


class ExceptionRow(msgspec.Struct, frozen=True):
    """An exception as people list it."""

    exception_id: UUID
    status: str
    severity: str | None
    exception_type: str | None
    domain: str | None
    source_system: str
    external_id: str | None
    title: str | None
    owner: str | None
    queue: str | None
    occurrences: int
    blocked: bool
    occurred_at: datetime
    received_at: datetime
    updated_at: datetime
    resolved_at: datetime | None


class _WithState(ExceptionRow, frozen=True):
    state: Json


class StoredException(NamedTuple):
    """An exception's row, and its state as it is stored (`current_state` reads it)."""

    row: ExceptionRow
    stored: bytes


class ExceptionRepository:
    """The `exception` table: the fold of every exception's stream, written with its events."""

    async def lock(self, tx: Connection, keys: Iterable[ExceptionKey]) -> dict[ExceptionKey, Tracked]:
        """The exceptions that exist among these, locked in order of id (so batches never deadlock)."""
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return {}
        return await _tracked(tx, await tx.fetch(_LOCK, [t for t, _ in wanted], [x for _, x in wanted]))

    async def lock_due(self, tx: Connection, now: datetime, limit: int) -> dict[ExceptionKey, Tracked]:
        """Exceptions of any tenant (timers are the system's own) whose earliest time has come and nobody holds."""
        return await _tracked(tx, await tx.fetch(_DUE, now, limit))

    async def config_of(self, tx: Connection, key: ExceptionKey) -> str | None:
        """The configuration that the exception is under now."""
        found: str | None = await tx.fetchval(_CONFIG, *key)
        return found

    async def insert(self, tx: Connection, tracked: Sequence[Tracked]) -> None:
        if tracked:
            await tx.copy_records_to_table("exception", records=[row_of(t) for t in tracked], columns=COLUMNS)

    async def update(self, tx: Connection, tracked: Sequence[Tracked]) -> None:
        if tracked:
            await tx.execute(_UPDATE, [row_of(t) for t in tracked])

    async def claim_dedup_keys(
        self, tx: Connection, claims: Mapping[tuple[str, str], UUID], now: datetime
    ) -> dict[tuple[str, str], UUID]:
        """Lock the dedup keys (in order) and say whose each is: this exception's if it was free, else the first one's."""
        if not claims:
            return {}
        tenants, keys = zip(*claims, strict=True)
        rows = await tx.fetch(_CLAIM_KEYS, list(tenants), list(keys), list(claims.values()), [now] * len(claims))
        return {(r["tenant_id"], r["dedup_key"]): r["exception_id"] for r in rows}

    async def take_dedup_keys(self, tx: Connection, taken: Mapping[tuple[str, str], UUID], now: datetime) -> None:
        """Hand keys (locked by `claim_dedup_keys`) over to new exceptions."""
        if taken:
            tenants, keys = zip(*taken, strict=True)
            await tx.execute(_TAKE_KEYS, list(tenants), list(keys), list(taken.values()), [now] * len(taken))


def row_of(tracked: Tracked) -> tuple[object, ...]:
    """The row of an exception, in the order of COLUMNS."""
    state = tracked.state
    return (
        state.tenant_id,
        state.exception_id,
        str(state.status),
        state.severity,
        state.exception_type,
        state.domain,
        state.source_system,
        state.external_id,
        state.title,
        state.owner,
        state.queue,
        state.occurrences,
        state.blocked > 0,
        state.status is Status.RESOLVED and not state.human_touched,
        state.occurred_at,
        state.received_at,
        state.updated_at,
        state.triaged_at,
        state.resolved_at,
        state.due_at,
        tracked.pending,
        _encode(state),
    )


async def current_state(tx: Connection, key: ExceptionKey, stored: bytes) -> tuple[ExceptionState, bytes]:
    """The state of a row as today's fold makes it, and its stored form; an outdated one is folded anew."""
    if not is_outdated(stored):
        return decode_state(stored), stored
    state = fold(await EventStore(copy=False).read_stream(tx, key[0], stream_of(key[1])))
    return state, _encode(state)


async def _tracked(tx: Connection, rows: Sequence[asyncpg.Record]) -> dict[ExceptionKey, Tracked]:
    found = {}
    for row in rows:
        key = row["tenant_id"], UUID(bytes=row["exception_id"].bytes)
        state, stored = await current_state(tx, key, row["state"])
        found[key] = track(state, row["pending"], stored, row["after"] or 0)
    return found


async def list_exceptions(
    connection: AsyncConnection, tenant_id: str, wanted: ExceptionFilter, page: PageRequest
) -> Listed[ExceptionRow]:
    """The newest first."""
    c = exception.c
    query = select(*columns_of(exception, ExceptionRow)).where(c.tenant_id == tenant_id)
    equal = {
        c.status: wanted.status,
        c.severity: wanted.severity,
        c.exception_type: wanted.exception_type,
        c.owner: wanted.owner,
        c.source_system: wanted.source_system,
        c.blocked: wanted.blocked,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.text is not None:
        query = query.where(or_(c.title.icontains(wanted.text, autoescape=True), c.external_id == wanted.text))
    if wanted.received_from is not None:
        query = query.where(c.received_at >= wanted.received_from)
    if wanted.received_until is not None:
        query = query.where(c.received_at < wanted.received_until)
    keys = {"datetime": c.received_at, "uuid": c.exception_id}
    return await read_page(connection, ExceptionRow, query, keys, page)


async def find_exception(connection: AsyncConnection, tenant_id: str, exception_id: UUID) -> StoredException:
    """Raises Missing."""
    c = exception.c
    query = select(*columns_of(exception, _WithState)).where(c.tenant_id == tenant_id, c.exception_id == exception_id)
    found = await one_of(connection, _WithState, query, f"exception {exception_id}")
    return StoredException(found, _encode(found.state))
