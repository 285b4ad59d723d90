"""How many exceptions came and went, and how fast? Counted from their rows."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.infrastructure.repositories.rows import all_of
from sentinai.infrastructure.tables.tables import exception


class Figures(msgspec.Struct, frozen=True):
    """Of a set of exceptions. Times are None where none came so far."""

    received: int
    resolved: int
    escalated: int
    automated: int
    """Resolved without a person."""
    to_triage_p50_s: float | None
    to_resolve_p50_s: float | None
    to_resolve_p99_s: float | None


class TypeFigures(Figures, frozen=True):
    exception_type: str | None


class DayFigures(Figures, frozen=True):
    day: datetime


class StatusCount(msgspec.Struct, frozen=True):
    status: str
    exceptions: int


class Counted(msgspec.Struct, frozen=True):
    """All figures of one tenant's exceptions since a time."""

    total: Figures
    by_status: list[StatusCount]
    by_type: list[TypeFigures]
    by_day: list[DayFigures]
    """In order."""


async def count_exceptions(connection: AsyncConnection, tenant_id: str, since: datetime) -> Counted:
    """Of those that were received since then."""
    c = exception.c
    mine = (c.tenant_id == tenant_id, c.received_at >= since)
    day = func.date_trunc("day", c.received_at).label("day")
    figures, by_type, by_status = _figures(), c.exception_type, c.status
    (total,) = await all_of(connection, Figures, select(*figures).where(*mine))
    types = select(by_type, *figures).where(*mine).group_by(by_type)
    days = select(day, *figures).where(*mine).group_by(day).order_by(day)
    statuses = select(by_status, func.count().label("exceptions")).where(*mine).group_by(by_status)
    of_types = await all_of(connection, TypeFigures, types)
    of_days = await all_of(connection, DayFigures, days)
    return Counted(total, await all_of(connection, StatusCount, statuses), of_types, of_days)


def _figures() -> list[ColumnElement[Any]]:
    c = exception.c

    def seconds(until: ColumnElement[Any], quantile: float) -> ColumnElement[Any]:
        elapsed = func.extract("epoch", until - c.received_at)
        return func.percentile_cont(quantile).within_group(elapsed)

    return [
        func.count().label("received"),
        func.count().filter(c.status == "RESOLVED").label("resolved"),
        func.count().filter(c.status == "ESCALATED").label("escalated"),
        func.count().filter(c.automated).label("automated"),
        seconds(c.triaged_at, 0.5).label("to_triage_p50_s"),
        seconds(c.resolved_at, 0.5).label("to_resolve_p50_s"),
        seconds(c.resolved_at, 0.99).label("to_resolve_p99_s"),
    ]
