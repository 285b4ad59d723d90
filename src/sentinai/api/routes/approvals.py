"""/approvals: what waits for a person's yes or no."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from sentinai.api.dependencies import Approver, Paging, Services, Viewer
from sentinai.api.pages import page_of
from sentinai.models.http.administration import AcceptedAnswer, AnswerRequest, ApprovalView
from sentinai.models.http.base import Page
from sentinai.queries import approvals as queries
from sentinai.services import approvals as commands

router = APIRouter(prefix="/approvals", tags=["approvals"])


@router.get("", summary="List approvals, newest first")
async def list_approvals(
    services: Services,
    principal: Viewer,
    page: Paging,
    status: Annotated[str | None, Query(max_length=20)] = None,
    exception_id: UUID | None = None,
) -> Page[ApprovalView]:
    wanted = queries.ApprovalFilter(status, exception_id)
    return page_of(ApprovalView, *await queries.search(services.database, principal.tenant_id, wanted, page))


@router.get("/{approval_id}", summary="One approval")
async def get_approval(approval_id: UUID, services: Services, principal: Viewer) -> ApprovalView:
    return ApprovalView.model_validate(await queries.get(services.database, principal.tenant_id, approval_id))


@router.post("/{approval_id}/approve", status_code=202, summary="Say yes")
async def post_approve(
    approval_id: UUID, body: AnswerRequest, services: Services, principal: Approver, response: Response
) -> AcceptedAnswer:
    """Role approver, and nobody who reported it, had it decided anew, did a step of it by hand, or has voted already."""
    event_id = await commands.approve(services.commands, principal, approval_id, body.comment)
    response.headers["Location"] = f"/approvals/{approval_id}"
    return AcceptedAnswer(approval_id=approval_id, event_id=event_id)


@router.post("/{approval_id}/reject", status_code=202, summary="Say no")
async def post_reject(
    approval_id: UUID, body: AnswerRequest, services: Services, principal: Approver, response: Response
) -> AcceptedAnswer:
    """Role approver, and nobody who reported it, had it decided anew, did a step of it by hand, or has voted already."""
    event_id = await commands.reject(services.commands, principal, approval_id, body.comment)
    response.headers["Location"] = f"/approvals/{approval_id}"
    return AcceptedAnswer(approval_id=approval_id, event_id=event_id)
