"""/audit/events, /stats and /ops: what happened, how well it goes, and what holds it up."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import func, select, text

from sentinai.api.dependencies import Admin, Paging, Services, Viewer
from sentinai.api.queries import all_of
from sentinai.infrastructure.repositories.pages import read_page
from sentinai.infrastructure.tables.tables import event, exception
from sentinai.models.http.base import Instant, Page
from sentinai.models.http.exceptions import AuditEvent

router = APIRouter(tags=["operations"])

STATS_DAYS_MAX = 366
_AUDIT = [event.c[n] for n in AuditEvent.model_fields if n != "hash"]

_WORKERS = text("""select worker_id, consumers, host, pid, health_port, started_at, seen_at, handled,
  seen_at > now() - interval '15 seconds' as alive from worker_heartbeat order by started_at""")
_CONSUMERS = text("""select k.consumer, k.topic, k.partition, count(e.*) as lag,
    extract(epoch from now() - min(e.occurred_at))::float8 as oldest_s
  from consumer_cursor k join event e on e.topic = k.topic and e.partition = k.partition and not e.handled
    and (e.xid, e.position) > (k.xid, k.position) and e.tenant_id = :tenant
  where k.consumer <> 'relay' group by k.consumer, k.topic, k.partition
  union all select k.consumer, k.topic, k.partition, e.lag, e.oldest_s from consumer_cursor k cross join lateral (
    select count(*) as lag, extract(epoch from now() - min(occurred_at))::float8 as oldest_s from event
    where topic = k.topic and partition = k.partition and (xid, position) > (k.xid, k.position) and tenant_id = :tenant) e
  where k.consumer = 'relay' and e.lag > 0 order by 1, 2, 3""")
_HOLDER = text("select pid, application_name, state, seconds from log_holder()")
_PARKED = text("""select consumer, state, count(*) as events from parked where tenant_id = :tenant
  group by consumer, state order by consumer, state""")


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
    c = event.c
    hashed = func.encode(text("event.hash"), "hex").label("hash")
    query = select(*_AUDIT, hashed, c.position).where(c.tenant_id == principal.tenant_id)
    if type is not None:
        query = query.where(c.type == type)
    if actor is not None:
        query = query.where(c.actor == actor)
    if occurred_from is not None:
        query = query.where(c.occurred_at >= occurred_from)
    if occurred_until is not None:
        query = query.where(c.occurred_at < occurred_until)
    async with services.database.reading(principal.tenant_id) as connection:
        rows, cursor = await read_page(connection, query, {"int": c.position}, page)
    return Page[AuditEvent](items=[AuditEvent(**row) for row in rows], next_cursor=cursor)


@router.get("/stats", summary="Counts, rates and times, by type and by day")
async def get_stats(
    services: Services, principal: Viewer, days: Annotated[int, Query(ge=1, le=STATS_DAYS_MAX)] = 30
) -> dict[str, Any]:
    """`automation_rate`: resolved without a person, of all resolved; `override_rate` is the rest of them."""
    c = exception.c
    since = services.commands.clock() - timedelta(days=days)
    mine = (c.tenant_id == principal.tenant_id, c.received_at >= since)
    day = func.date_trunc("day", c.received_at).label("day")
    async with services.database.reading(principal.tenant_id) as connection:
        totals = await all_of(connection, select(*_figures()).where(*mine))
        by_type = await all_of(
            connection, select(c.exception_type, *_figures()).where(*mine).group_by(c.exception_type)
        )
        by_day = await all_of(connection, select(day, *_figures()).where(*mine).group_by(day).order_by(day))
        by_status = await all_of(connection, select(c.status, func.count().label("n")).where(*mine).group_by(c.status))
    return {
        "since": since,
        "total": _rates(totals[0]),
        "by_status": {row["status"]: row["n"] for row in by_status},
        "by_type": [_rates(row) for row in by_type],
        "by_day": [_rates(row) for row in by_day],
    }


@router.get("/ops/workers", summary="Which worker processes there are, and when each was last seen")
async def list_workers(services: Services, principal: Viewer) -> dict[str, Any]:
    async with services.database.reading(principal.tenant_id) as connection:
        rows = [dict(r) for r in (await connection.execute(_WORKERS)).mappings()]
    return {"items": rows}


@router.get("/ops/consumers", summary="Lag per consumer and partition, parked events, and who holds the log back")
async def list_consumers(services: Services, principal: Admin) -> dict[str, Any]:
    """Lag of the caller's tenant. Role admin."""
    tenant = {"tenant": principal.tenant_id}
    async with services.database.reading(principal.tenant_id) as connection:
        lags = [dict(r) for r in (await connection.execute(_CONSUMERS, tenant)).mappings()]
        parked = [dict(r) for r in (await connection.execute(_PARKED, tenant)).mappings()]
        holder = (await connection.execute(_HOLDER)).mappings().first()
    return {"lag": lags, "parked": parked, "held_back_by": dict(holder) if holder else None}


def _figures() -> list[Any]:
    c = exception.c

    def seconds(until: Any, quantile: float) -> Any:
        elapsed = func.extract("epoch", until - c.received_at)
        return func.percentile_cont(quantile).within_group(elapsed)

    resolved = func.count().filter(c.status == "RESOLVED")
    return [
        func.count().label("received"),
        resolved.label("resolved"),
        func.count().filter(c.status == "ESCALATED").label("escalated"),
        func.count().filter(c.automated).label("automated"),
        seconds(c.triaged_at, 0.5).label("to_triage_p50_s"),
        seconds(c.resolved_at, 0.5).label("to_resolve_p50_s"),
        seconds(c.resolved_at, 0.99).label("to_resolve_p99_s"),
    ]


def _rates(row: Any) -> dict[str, Any]:
    resolved = row["resolved"]
    automated = row["automated"] / resolved if resolved else None
    return {**row, "automation_rate": automated, "override_rate": None if automated is None else 1 - automated}
