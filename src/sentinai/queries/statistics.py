"""How well does it go: how many exceptions, how fast, and how many without a person?"""

from datetime import datetime
from typing import NamedTuple

import msgspec

from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories.statistics import Figures, count_exceptions


class Rated(NamedTuple):
    """Figures of a set of exceptions; None where nothing is resolved."""

    figures: Figures
    automation_rate: float | None
    """Resolved without a person, of all resolved."""
    override_rate: float | None
    """The rest of them."""


class OfType(NamedTuple):
    exception_type: str | None
    rated: Rated


class OfDay(NamedTuple):
    day: datetime
    rated: Rated


class Statistics(msgspec.Struct, frozen=True):
    since: datetime
    total: Rated
    by_status: dict[str, int]
    by_type: list[OfType]
    by_day: list[OfDay]


async def statistics_since(database: Database, tenant_id: str, since: datetime) -> Statistics:
    """Of the exceptions that were received since then."""
    async with database.reading(tenant_id) as connection:
        counted = await count_exceptions(connection, tenant_id, since)
    return Statistics(
        since=since,
        total=_rated(counted.total),
        by_status={found.status: found.exceptions for found in counted.by_status},
        by_type=[OfType(figures.exception_type, _rated(figures)) for figures in counted.by_type],
        by_day=[OfDay(figures.day, _rated(figures)) for figures in counted.by_day],
    )


def _rated(figures: Figures) -> Rated:
    automated = figures.automated / figures.resolved if figures.resolved else None
    return Rated(figures, automated, None if automated is None else 1 - automated)
