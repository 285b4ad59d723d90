"""Which approvals were asked for, and how were they answered? Written from the events that say so."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from sentinai.events.envelope import Event
from sentinai.events.policy import (
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalVoted,
    ApprovalWithdrawn,
)
from sentinai.models.approval import ApprovalStatus

Connection = asyncpg.Connection

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


async def project_approvals(tx: Connection, events: Sequence[Event]) -> None:
    """Apply a transaction's events to the `approval` table, in their order; no statement when none concerns it."""
    changes = [_change(event) for event in events if type(event.body) in _PROJECTED]
    for statement, rows in _runs(changes):
        await tx.execute(statement, *map(list, zip(*rows, strict=True)))


def _change(event: Event) -> tuple[str, tuple[Any, ...]]:
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


def _runs(changes: Sequence[tuple[str, tuple[Any, ...]]]) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Neighbouring changes by the same statement, so that each run is one statement and order is kept."""
    runs: list[tuple[str, list[tuple[Any, ...]]]] = []
    for statement, row in changes:
        if not runs or runs[-1][0] != statement:
            runs.append((statement, []))
        runs[-1][1].append(row)
    return runs
