"""Which approvals were asked for, and how were they answered? Written from the events that say so."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.events.envelope import Event
from sentinai.events.policy import (
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalVoted,
    ApprovalWithdrawn,
)
from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.pages import Listed, PageRequest, read_page
from sentinai.infrastructure.repositories.rows import columns_of, one_of
from sentinai.infrastructure.tables.tables import approval
from sentinai.models.approval import ApprovalStatus

_EXCEPTION_OF = "select exception_id, status from approval where tenant_id = $1 and approval_id = $2"
"""Of which exception is an approval asked for?"""
_INSERT = """insert into approval (tenant_id, approval_id, exception_id, status, reason, step, requested_by,
    requested_at, expires_at, approvers)
  select * from unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::timestamptz[], $9::timestamptz[], $10::int[])"""
_VOTE = """update approval a set votes = a.votes || u.actor
  from unnest($1::text[], $2::uuid[], $3::text[]) u(tenant_id, approval_id, actor)
  where a.tenant_id = u.tenant_id and a.approval_id = u.approval_id"""
_CLOSE = """update approval a set status = u.status, decided_by = u.actor, decided_at = u.at, comment = u.comment
  from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
    u(tenant_id, approval_id, status, actor, at, comment)
  where a.tenant_id = u.tenant_id and a.approval_id = u.approval_id"""
_ANSWERS: dict[type[Any], ApprovalStatus] = {
    ApprovalGranted: ApprovalStatus.GRANTED,
    ApprovalRejected: ApprovalStatus.REJECTED,
    ApprovalExpired: ApprovalStatus.EXPIRED,
    ApprovalWithdrawn: ApprovalStatus.WITHDRAWN,
}
_PROJECTED = frozenset({ApprovalRequested, ApprovalVoted, *_ANSWERS})


class ApprovalFilter(msgspec.Struct, frozen=True):
    """Which approvals; None does not restrict."""

    status: str | None = None
    exception_id: UUID | None = None


class ApprovalRow(msgspec.Struct, frozen=True):
    """An approval as people see it."""

    approval_id: UUID
    exception_id: UUID
    status: str
    reason: str
    step: str | None
    requested_by: str
    requested_at: datetime
    expires_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    comment: str | None
    approvers: int
    votes: list[str]


async def project_approvals(tx: Connection, events: Sequence[Event]) -> None:
    """Apply a transaction's events to the `approval` table, in their order; no statement when none concerns it."""
    changes = [_change(event) for event in events if type(event.body) in _PROJECTED]
    for statement, rows in _runs(changes):
        await tx.execute(statement, *map(list, zip(*rows, strict=True)))


async def exception_of(tx: Connection, tenant_id: str, approval_id: UUID) -> UUID | None:
    """The exception that an approval is about; None for another tenant's, or none."""
    row: asyncpg.Record | None = await tx.fetchrow(_EXCEPTION_OF, tenant_id, approval_id)
    return row["exception_id"] if row is not None else None


def _change(event: Event) -> tuple[str, tuple[object, ...]]:
    body = event.body
    if isinstance(body, ApprovalRequested):
        return _INSERT, (
            event.tenant_id,
            body.approval_id,
            event.correlation_id,
            "PENDING",
            body.reason,
            body.step,
            event.actor,
            event.occurred_at,
            body.expires_at,
            body.approvers,
        )
    if isinstance(body, ApprovalVoted):
        return _VOTE, (event.tenant_id, body.approval_id, event.actor)
    status = _ANSWERS[type(body)]
    comment = getattr(body, "comment", None)
    return _CLOSE, (event.tenant_id, body.approval_id, str(status), event.actor, event.occurred_at, comment)


def _runs(changes: Sequence[tuple[str, tuple[object, ...]]]) -> list[tuple[str, list[tuple[object, ...]]]]:
    """Neighbouring changes by the same statement, so that each run is one statement and order is kept."""
    runs: list[tuple[str, list[tuple[object, ...]]]] = []
    for statement, row in changes:
        if not runs or runs[-1][0] != statement:
            runs.append((statement, []))
        runs[-1][1].append(row)
    return runs


async def list_approvals(
    connection: AsyncConnection, tenant_id: str, wanted: ApprovalFilter, page: PageRequest
) -> Listed[ApprovalRow]:
    """The newest first."""
    c = approval.c
    query = select(*columns_of(approval, ApprovalRow)).where(c.tenant_id == tenant_id)
    if wanted.status is not None:
        query = query.where(c.status == wanted.status)
    if wanted.exception_id is not None:
        query = query.where(c.exception_id == wanted.exception_id)
    keys = {"datetime": c.requested_at, "uuid": c.approval_id}
    return await read_page(connection, ApprovalRow, query, keys, page)


async def find_approval(connection: AsyncConnection, tenant_id: str, approval_id: UUID) -> ApprovalRow:
    """Raises Missing."""
    c = approval.c
    query = select(*columns_of(approval, ApprovalRow))
    query = query.where(c.tenant_id == tenant_id, c.approval_id == approval_id)
    return await one_of(connection, ApprovalRow, query, f"approval {approval_id}")
