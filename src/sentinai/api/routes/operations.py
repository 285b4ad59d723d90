"""/audit/events, /stats and /ops: what happened, how well it goes, and what holds it up."""

from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from sentinai.api.dependencies import Admin, Paging, Services, Viewer
from sentinai.api.pages import page_of
from sentinai.models.http.base import Instant, Page
from sentinai.models.http.exceptions import AuditEvent
from sentinai.models.json import Json
from sentinai.queries import audit, operations
from sentinai.queries.statistics import Rated, statistics_since

router = APIRouter(tags=["operations"])

STATS_DAYS_MAX = 366


@router.get("/audit/events", summary="All events of the tenant, newest first")
async def list_audit(
    services: Services,
    principal: Viewer,
    page: Paging,
    type: Annotated[str | None, Query(max_length=100)] = None,
    actor: Annotated[str | None, Query(max_length=200)] = None,
    occurred_from: Instant | None = None,
    occurred_until: Instant | None = None,
) -> Page[AuditEvent]:
    wanted = audit.AuditFilter(type, actor, occurred_from, occurred_until)
    return page_of(AuditEvent, *await audit.search(services.database, principal.tenant_id, wanted, page))


@router.get("/stats", summary="Counts, rates and times, by type and by day")
async def get_stats(
    services: Services, principal: Viewer, days: Annotated[int, Query(ge=1, le=STATS_DAYS_MAX)] = 30
) -> dict[str, Json]:
    """`automation_rate`: resolved without a person, of all resolved; `override_rate` is the rest of them."""
    since = services.commands.clock() - timedelta(days=days)
    found = await statistics_since(services.database, principal.tenant_id, since)
    return {
        "since": found.since,
        "total": _rates(found.total),
        "by_status": found.by_status,
        "by_type": [{"exception_type": of.exception_type, **_rates(of.rated)} for of in found.by_type],
        "by_day": [{"day": of.day, **_rates(of.rated)} for of in found.by_day],
    }


@router.get("/ops/workers", summary="Which worker processes there are, and when each was last seen")
async def list_workers(services: Services, principal: Viewer) -> dict[str, Json]:
    found = await operations.workers(services.database, principal.tenant_id)
    return {"items": [msgspec.structs.asdict(process) for process in found]}


@router.get("/ops/consumers", summary="Lag per consumer and partition, parked events, and who holds the log back")
async def list_consumers(services: Services, principal: Admin) -> dict[str, Json]:
    """Lag of the caller's tenant. Role admin."""
    found = await operations.delivery(services.database, principal.tenant_id)
    return {
        "lag": [msgspec.structs.asdict(behind) for behind in found.lag],
        "parked": [msgspec.structs.asdict(count) for count in found.parked],
        "held_back_by": msgspec.structs.asdict(found.held_back_by) if found.held_back_by else None,
    }


def _rates(rated: Rated) -> dict[str, Json]:
    figures = msgspec.structs.asdict(rated.figures)
    return {**figures, "automation_rate": rated.automation_rate, "override_rate": rated.override_rate}
