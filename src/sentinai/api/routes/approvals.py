"""/approvals: what waits for a person's yes or no."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy import select

from sentinai.api.dependencies import Approver, Paging, Services, Viewer
from sentinai.api.queries import one_of, page_of
from sentinai.infrastructure.tables.tables import approval
from sentinai.models.http.administration import AcceptedAnswer, AnswerRequest, ApprovalView
from sentinai.models.http.base import Page
from sentinai.services import approvals as commands

router = APIRouter(prefix="/approvals", tags=["approvals"])

_VIEW = [approval.c[name] for name in ApprovalView.model_fields]


@router.get("", summary="List approvals, newest first")
async def list_approvals(
    services: Services,
    principal: Viewer,
    page: Paging,
    status: Annotated[str | None, Query(max_length=20)] = None,
    exception_id: UUID | None = None,
) -> Page[ApprovalView]:
    c = approval.c
    query = select(*_VIEW).where(c.tenant_id == principal.tenant_id)
    if status is not None:
        query = query.where(c.status == status)
    if exception_id is not None:
        query = query.where(c.exception_id == exception_id)
    async with services.database.reading(principal.tenant_id) as connection:
        return await page_of(ApprovalView, connection, query, {"datetime": c.requested_at, "uuid": c.approval_id}, page)


@router.get("/{approval_id}", summary="One approval")
async def get_approval(approval_id: UUID, services: Services, principal: Viewer) -> ApprovalView:
    c = approval.c
    query = select(*_VIEW).where(c.tenant_id == principal.tenant_id, c.approval_id == approval_id)
    async with services.database.reading(principal.tenant_id) as connection:
        return ApprovalView(**await one_of(connection, query, f"approval {approval_id}"))


@router.post("/{approval_id}/approve", status_code=202, summary="Say yes")
async def post_approve(
    approval_id: UUID, body: AnswerRequest, services: Services, principal: Approver, response: Response
) -> AcceptedAnswer:
    """Role approver, and never the person who asked."""
    event_id = await commands.approve(services.commands, principal, approval_id, body.comment)
    response.headers["Location"] = f"/approvals/{approval_id}"
    return AcceptedAnswer(approval_id=approval_id, event_id=event_id)


@router.post("/{approval_id}/reject", status_code=202, summary="Say no")
async def post_reject(
    approval_id: UUID, body: AnswerRequest, services: Services, principal: Approver, response: Response
) -> AcceptedAnswer:
    """Role approver, and never the person who asked."""
    event_id = await commands.reject(services.commands, principal, approval_id, body.comment)
    response.headers["Location"] = f"/approvals/{approval_id}"
    return AcceptedAnswer(approval_id=approval_id, event_id=event_id)
