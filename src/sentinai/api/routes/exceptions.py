"""GET /exceptions and what belongs to one: timeline, decisions, playbook; and people's commands on it."""

from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Path, Query, Response

from sentinai.api.dependencies import Operator, Paging, Services, Viewer
from sentinai.api.pages import page_of
from sentinai.events.envelope import Event
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
    TimelineEvent,
)
from sentinai.orchestrator.people import StepDone
from sentinai.queries import exceptions as queries
from sentinai.queries import playbooks
from sentinai.services import exceptions as commands

router = APIRouter(prefix="/exceptions", tags=["exceptions"])

SearchText = Annotated[str | None, Query(max_length=200)]
StepPlace = Annotated[
    str, Path(min_length=1, max_length=500, description="The step's path, or its place in the playbook, from 1.")
]


@router.get("", summary="List exceptions, newest first")
async def list_exceptions(
    services: Services,
    principal: Viewer,
    page: Paging,
    status: SearchText = None,
    severity: SearchText = None,
    type: SearchText = None,
    owner: SearchText = None,
    source: SearchText = None,
    text: Annotated[str | None, Query(max_length=200, description="Part of the title, or an external id.")] = None,
    received_from: Instant | None = None,
    received_until: Instant | None = None,
    blocked: bool | None = None,
) -> Page[ExceptionSummary]:
    wanted = queries.ExceptionFilter(
        status=status,
        severity=severity,
        exception_type=type,
        owner=owner,
        source_system=source,
        blocked=blocked,
        text=text,
        received_from=received_from,
        received_until=received_until,
    )
    return page_of(ExceptionSummary, *await queries.search(services.database, principal.tenant_id, wanted, page))


@router.get("/{exception_id}", summary="One exception with everything known about it")
async def get_exception(exception_id: UUID, services: Services, principal: Viewer) -> ExceptionDetail:
    row, state = await queries.get(services.database, principal.tenant_id, exception_id)
    known = {name: getattr(state, name) for name in ExceptionDetail.model_fields if hasattr(state, name)}
    known |= {name: getattr(row, name) for name in ExceptionSummary.model_fields}
    return ExceptionDetail(
        **known,
        approval_id=state.approvals[0].approval_id if state.approvals else None,
        resolve_by=state.sla.resolve_by if state.sla else None,
    )


@router.get("/{exception_id}/events", summary="Its timeline: every event, in order")
async def list_events(exception_id: UUID, services: Services, principal: Viewer) -> Page[TimelineEvent]:
    store = services.commands.store
    events = await queries.timeline(services.database, store, principal.tenant_id, exception_id)
    return Page[TimelineEvent](items=[_timeline_event(event) for event in events])


@router.get("/{exception_id}/decisions", summary="Every agent's decisions, with the evidence of every rule tried")
async def list_decisions(exception_id: UUID, services: Services, principal: Viewer) -> Page[DecisionRecord]:
    found = await queries.decisions_on(services.database, principal.tenant_id, exception_id)
    items = [
        DecisionRecord(
            event_id=recorded.event_id,
            event_type=recorded.event_type,
            decided_at=recorded.decided_at,
            config_hash=recorded.config_hash,
            **recorded.decision,
        )
        for recorded in found
    ]
    return Page[DecisionRecord](items=items)


@router.get("/{exception_id}/playbook", summary="Its playbook run: steps done, waiting and to come")
async def get_playbook(exception_id: UUID, services: Services, principal: Viewer) -> PlaybookView:
    configurations = services.commands.configurations
    run = await playbooks.run_of(services.database, configurations, principal.tenant_id, exception_id)
    return PlaybookView.model_validate(run)


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


def _timeline_event(event: Event) -> TimelineEvent:
    return TimelineEvent(
        event_id=event.event_id,
        sequence=event.sequence,
        type=event.type,
        schema_version=event.schema_version,
        occurred_at=event.occurred_at,
        actor=event.actor,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        config_hash=event.config_hash,
        payload=msgspec.json.decode(event.payload),
        hash=event.hash.hex(),
    )
