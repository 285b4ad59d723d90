"""/dead-letters: events that need a person."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from sentinai.api.dependencies import Operator, Paging, Services, Viewer
from sentinai.api.pages import page_of
from sentinai.errors import Rejected
from sentinai.models.http.administration import (
    AcceptedDeadLetter,
    DeadLetterView,
    DiscardRequest,
    RetriedDeadLetters,
    RetryFilter,
)
from sentinai.models.http.base import Page
from sentinai.queries import dead_letters as queries
from sentinai.services import dead_letters as commands

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])


@router.get("", summary="List dead letters, newest first")
async def list_dead_letters(
    services: Services,
    principal: Viewer,
    page: Paging,
    consumer: Annotated[str | None, Query(max_length=100)] = None,
    error: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[DeadLetterView]:
    wanted = queries.DeadLetterFilter(consumer, error)
    return page_of(DeadLetterView, *await queries.search(services.database, principal.tenant_id, wanted, page))


@router.get("/{dead_letter_id}", summary="One dead letter: which event, which consumer, why")
async def get_dead_letter(dead_letter_id: UUID, services: Services, principal: Viewer) -> DeadLetterView:
    return DeadLetterView.model_validate(await queries.get(services.database, principal.tenant_id, dead_letter_id))


@router.post("/retry", status_code=202, summary="Retry all that a filter selects, or preview them (dry_run)")
async def post_retry_many(body: RetryFilter, services: Services, principal: Operator) -> RetriedDeadLetters:
    wanted = commands.RetrySelection(body.consumer, body.error, body.type)
    if not any(wanted) and not body.all:
        raise Rejected("Say which dead letters: consumer, error or type, or all: true.")
    found = await commands.matching(services.commands, principal, wanted)
    if not body.dry_run:
        for dead_letter_id in found:
            await commands.retry(services.commands, principal, dead_letter_id)
    return RetriedDeadLetters(dead_letter_ids=list(found), dry_run=body.dry_run)


@router.post("/{dead_letter_id}/retry", status_code=202, summary="Have the event handled again")
async def post_retry(
    dead_letter_id: UUID, services: Services, principal: Operator, response: Response
) -> AcceptedDeadLetter:
    await commands.retry(services.commands, principal, dead_letter_id)
    response.headers["Location"] = f"/dead-letters/{dead_letter_id}"
    return AcceptedDeadLetter(dead_letter_id=dead_letter_id)


@router.post("/{dead_letter_id}/discard", status_code=202, summary="Give the event up, with a reason")
async def post_discard(
    dead_letter_id: UUID, body: DiscardRequest, services: Services, principal: Operator, response: Response
) -> AcceptedDeadLetter:
    await commands.discard(services.commands, principal, dead_letter_id, body.reason)
    response.headers["Location"] = f"/dead-letters/{dead_letter_id}"
    return AcceptedDeadLetter(dead_letter_id=dead_letter_id)
