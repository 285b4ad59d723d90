"""GET /exceptions and what belongs to one: timeline, decisions, playbook; and people's commands on it."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import or_, select

from sentinai.api.dependencies import Operator, Paging, Services, Viewer
from sentinai.api.queries import all_of, one_of, page_of
from sentinai.errors import Missing
from sentinai.events.catalog import BY_NAME
from sentinai.infrastructure.repositories.exceptions import current_state, decode_state, is_outdated
from sentinai.infrastructure.tables.tables import event, exception
from sentinai.models.exception_record import ExceptionState, stream_of
from sentinai.models.http.base import Instant, Page
from sentinai.models.http.exceptions import (
    AcceptedCommand,
    AssignRequest,
    CommentRequest,
    DecisionRecord,
    EscalateRequest,
    ExceptionDetail,
    ExceptionSummary,
    PlaybookView,
    ReasonRequest,
    RecalculateRequest,
    StepCompletionRequest,
    StepView,
    TimelineEvent,
)
from sentinai.orchestrator.people import StepDone
from sentinai.packs.effective import Playbook
from sentinai.playbooks.matching import find_playbook
from sentinai.services import exceptions as commands

router = APIRouter(prefix="/exceptions", tags=["exceptions"])

STREAM_PAGE_MAX = 1_000
Text = Annotated[str | None, Query(max_length=200)]
StepPlace = Annotated[
    str, Path(min_length=1, max_length=500, description="The step's path, or its place in the playbook, from 1.")
]
_SHOWN = ("waits_for", "output", "detail", "execution_id", "done_by", "started_at", "ended_at")
_SUMMARY = [exception.c[name] for name in ExceptionSummary.model_fields]
_DECIDING = [e.name for e in BY_NAME.values() if "decision" in e.type.__struct_fields__]


@router.get("", summary="List exceptions, newest first")
async def list_exceptions(
    services: Services,
    principal: Viewer,
    page: Paging,
    status: Text = None,
    severity: Text = None,
    type: Text = None,
    owner: Text = None,
    source: Text = None,
    text: Annotated[str | None, Query(max_length=200, description="Part of the title, or an external id.")] = None,
    received_from: Instant | None = None,
    received_until: Instant | None = None,
    blocked: bool | None = None,
) -> Page[ExceptionSummary]:
    c = exception.c
    query = select(*_SUMMARY).where(c.tenant_id == principal.tenant_id)
    equal = {
        c.status: status,
        c.severity: severity,
        c.exception_type: type,
        c.owner: owner,
        c.source_system: source,
        c.blocked: blocked,
    }
    for column, wanted in equal.items():
        if wanted is not None:
            query = query.where(column == wanted)
    if text is not None:
        query = query.where(or_(c.title.icontains(text, autoescape=True), c.external_id == text))
    if received_from is not None:
        query = query.where(c.received_at >= received_from)
    if received_until is not None:
        query = query.where(c.received_at < received_until)
    async with services.database.reading(principal.tenant_id) as connection:
        keys = {"datetime": c.received_at, "uuid": c.exception_id}
        return await page_of(ExceptionSummary, connection, query, keys, page)


@router.get("/{exception_id}", summary="One exception with everything known about it")
async def get_exception(exception_id: UUID, services: Services, principal: Viewer) -> ExceptionDetail:
    row, state = await _load(services, principal.tenant_id, exception_id)
    known = {name: getattr(state, name) for name in ExceptionDetail.model_fields if hasattr(state, name)}
    known |= {name: row[name] for name in ExceptionSummary.model_fields}
    return ExceptionDetail(
        **known,
        approval_id=state.approvals[0].approval_id if state.approvals else None,
        resolve_by=state.sla.resolve_by if state.sla else None,
    )


@router.get("/{exception_id}/events", summary="Its timeline: every event, in order")
async def list_events(exception_id: UUID, services: Services, principal: Viewer) -> Page[TimelineEvent]:
    async with services.database.transaction(principal.tenant_id) as tx:
        events = await services.commands.store.read_stream(tx, principal.tenant_id, stream_of(exception_id))
    if not events:
        raise Missing(f"There is no exception {exception_id}.")
    items = [
        TimelineEvent(
            event_id=e.event_id,
            sequence=e.sequence,
            type=e.type,
            schema_version=e.schema_version,
            occurred_at=e.occurred_at,
            actor=e.actor,
            correlation_id=e.correlation_id,
            causation_id=e.causation_id,
            config_hash=e.config_hash,
            payload=msgspec.json.decode(e.payload),
            hash=e.hash.hex(),
        )
        for e in events
    ]
    return Page[TimelineEvent](items=items)


@router.get("/{exception_id}/decisions", summary="Every agent's decisions, with the evidence of every rule tried")
async def list_decisions(exception_id: UUID, services: Services, principal: Viewer) -> Page[DecisionRecord]:
    async with services.database.reading(principal.tenant_id) as connection:
        c = event.c
        query = (
            select(c.event_id, c.type, c.occurred_at, c.config_hash, c.payload)
            .where(c.tenant_id == principal.tenant_id, c.stream == stream_of(exception_id), c.type.in_(_DECIDING))
            .order_by(c.sequence)
            .limit(STREAM_PAGE_MAX)
        )
        rows = await all_of(connection, query)
    if not rows:
        await _load(services, principal.tenant_id, exception_id)
    items = [
        DecisionRecord(
            event_id=row["event_id"],
            event_type=row["type"],
            decided_at=row["occurred_at"],
            config_hash=row["config_hash"],
            **row["payload"]["decision"],
        )
        for row in rows
        if row["payload"].get("decision")
    ]
    return Page[DecisionRecord](items=items)


@router.get("/{exception_id}/playbook", summary="Its playbook run: steps done, waiting and to come")
async def get_playbook(exception_id: UUID, services: Services, principal: Viewer) -> PlaybookView:
    _, state = await _load(services, principal.tenant_id, exception_id)
    run = state.run
    if run is None:
        raise Missing("No playbook was chosen for this exception (yet).")
    configurations = services.commands.configurations
    async with services.database.transaction(principal.tenant_id) as tx:
        await configurations.load(tx, [principal.tenant_id], [(principal.tenant_id, state.config_hash)])
    config = configurations.by_hash(state.config_hash)
    declared = find_playbook(config, run.playbook, run.version) if config else None
    return PlaybookView(
        exception_id=exception_id,
        playbook=run.playbook,
        version=run.version,
        status=run.status,
        steps=_steps(state, declared),
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


@router.post("/{exception_id}/comments", status_code=202, summary="Add a comment")
async def post_comment(
    exception_id: UUID, body: CommentRequest, services: Services, principal: Operator, response: Response
) -> AcceptedCommand:
    event_id = await commands.comment(services.commands, principal, exception_id, body.text)
    return _accepted(response, exception_id, event_id)


@router.post("/{exception_id}/assign", status_code=202, summary="Assign an owner")
async def post_assign(
    exception_id: UUID, body: AssignRequest, services: Services, principal: Operator, response: Response
) -> AcceptedCommand:
    event_id = await commands.assign(services.commands, principal, exception_id, body.owner)
    return _accepted(response, exception_id, event_id)


@router.post("/{exception_id}/escalate", status_code=202, summary="Hand over to a person; a running playbook ends")
async def post_escalate(
    exception_id: UUID, body: EscalateRequest, services: Services, principal: Operator, response: Response
) -> AcceptedCommand:
    event_id = await commands.escalate(services.commands, principal, exception_id, body.reason, body.queue)
    return _accepted(response, exception_id, event_id)


@router.post("/{exception_id}/resolve", status_code=202, summary="Resolve by hand; a running playbook ends")
async def post_resolve(
    exception_id: UUID, body: ReasonRequest, services: Services, principal: Operator, response: Response
) -> AcceptedCommand:
    event_id = await commands.resolve(services.commands, principal, exception_id, body.reason)
    return _accepted(response, exception_id, event_id)


@router.post("/{exception_id}/reopen", status_code=202, summary="Reopen a resolved exception")
async def post_reopen(
    exception_id: UUID, body: ReasonRequest, services: Services, principal: Operator, response: Response
) -> AcceptedCommand:
    event_id = await commands.reopen(services.commands, principal, exception_id, body.reason)
    return _accepted(response, exception_id, event_id)


@router.post(
    "/{exception_id}/playbook/recalculate",
    status_code=202,
    summary="Decide policy and playbook anew, under today's packs",
)
async def post_recalculate(
    exception_id: UUID, body: RecalculateRequest, services: Services, principal: Operator, response: Response
) -> AcceptedCommand:
    event_id = await commands.recalculate(services.commands, principal, exception_id, body.reason)
    return _accepted(response, exception_id, event_id)


@router.post(
    "/{exception_id}/playbook/steps/{step:path}/complete", status_code=202, summary="Say that a waiting step was done"
)
async def post_complete(
    exception_id: UUID,
    step: StepPlace,
    body: StepCompletionRequest,
    services: Services,
    principal: Operator,
    response: Response,
) -> AcceptedCommand:
    done = StepDone(step, body.output, body.comment)
    event_id = await commands.complete_step(services.commands, principal, exception_id, done)
    return _accepted(response, exception_id, event_id)


@router.post("/{exception_id}/playbook/steps/{step:path}/skip", status_code=202, summary="Skip a waiting step")
async def post_skip(
    exception_id: UUID,
    step: StepPlace,
    body: ReasonRequest,
    services: Services,
    principal: Operator,
    response: Response,
) -> AcceptedCommand:
    event_id = await commands.skip_step(services.commands, principal, exception_id, step, body.reason)
    return _accepted(response, exception_id, event_id)


def _accepted(response: Response, exception_id: UUID, event_id: UUID) -> AcceptedCommand:
    response.headers["Location"] = f"/exceptions/{exception_id}"
    return AcceptedCommand(exception_id=exception_id, event_id=event_id)


async def _load(services: Any, tenant_id: str, exception_id: UUID) -> tuple[Any, ExceptionState]:
    c = exception.c
    query = select(*_SUMMARY, c.state).where(c.tenant_id == tenant_id, c.exception_id == exception_id)
    async with services.database.reading(tenant_id) as connection:
        row = await one_of(connection, query, f"exception {exception_id}")
    stored = msgspec.json.encode(row["state"])
    if not is_outdated(stored):
        return row, decode_state(stored)
    async with services.database.transaction(tenant_id) as tx:
        return row, (await current_state(tx, (tenant_id, exception_id), stored))[0]


def _steps(state: ExceptionState, declared: Playbook | None) -> list[StepView]:
    """Begun steps with what came of them; those to come as PENDING."""
    assert state.run is not None
    views = []
    for order, step in enumerate(declared.steps if declared else (), 1):
        known = state.run.steps.get(step.name)
        view = StepView(
            order=order, name=step.name, path=step.name, action=step.action, mode=step.mode, status="PENDING"
        )
        if known is not None:
            shown = {name: getattr(known, name) for name in _SHOWN}
            view = view.model_copy(update={**shown, "status": str(known.status)})
        views.append(view)
    return views
