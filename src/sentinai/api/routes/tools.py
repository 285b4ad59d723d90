"""/tools: the registry, its switches, and every call that was made."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from sentinai.api.dependencies import Admin, Operator, Paging, Services, Viewer
from sentinai.api.pages import page_of
from sentinai.models.http.administration import (
    AcceptedExecution,
    AcceptedTool,
    EnablementRequest,
    ExecuteRequest,
    ExecutionView,
    ToolRequest,
    ToolUpdateRequest,
    ToolView,
)
from sentinai.models.http.base import Page
from sentinai.queries import executions
from sentinai.queries import tools as queries
from sentinai.services import tools as commands

router = APIRouter(prefix="/tools", tags=["tools"])

ToolId = Annotated[str, Path(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,199}$")]


@router.get("", summary="List registered tools")
async def list_tools(services: Services, principal: Viewer, page: Paging) -> Page[ToolView]:
    return page_of(ToolView, *await queries.search(services.database, principal.tenant_id, page))


@router.get("/executions", summary="List tool calls, newest first")
async def list_executions(
    services: Services,
    principal: Viewer,
    page: Paging,
    status: Annotated[str | None, Query(max_length=20)] = None,
    tool: Annotated[str | None, Query(max_length=200)] = None,
    exception_id: UUID | None = None,
) -> Page[ExecutionView]:
    wanted = executions.ExecutionFilter(status, tool, exception_id)
    return page_of(ExecutionView, *await executions.search(services.database, principal.tenant_id, wanted, page))


@router.get("/executions/{execution_id}", summary="One tool call with its input, output and attempts")
async def get_execution(execution_id: UUID, services: Services, principal: Viewer) -> ExecutionView:
    return ExecutionView.model_validate(await executions.get(services.database, principal.tenant_id, execution_id))


@router.get("/{tool_id}", summary="One tool as declared")
async def get_tool(tool_id: ToolId, services: Services, principal: Viewer) -> ToolView:
    return ToolView.model_validate(await queries.get(services.database, principal.tenant_id, tool_id))


@router.post("", status_code=202, summary="Register a tool outside any pack")
async def post_tool(body: ToolRequest, services: Services, principal: Admin, response: Response) -> AcceptedTool:
    await commands.register(services.commands, services.tools, principal, body.name, body.definition)
    return _accepted(response, body.name)


@router.put("/{tool_id}", status_code=202, summary="Replace a registered tool's declaration")
async def put_tool(
    tool_id: ToolId, body: ToolUpdateRequest, services: Services, principal: Admin, response: Response
) -> AcceptedTool:
    await commands.update(services.commands, services.tools, principal, tool_id, body.definition)
    return _accepted(response, tool_id)


@router.put("/{tool_id}/enablement", status_code=202, summary="Switch a tool on or off, at once")
async def put_enablement(
    tool_id: ToolId, body: EnablementRequest, services: Services, principal: Admin, response: Response
) -> AcceptedTool:
    switch = commands.Switch(body.enabled, body.reason)
    await commands.set_enabled(services.commands, services.tools, principal, tool_id, switch)
    return _accepted(response, tool_id)


@router.post("/{tool_id}/execute", status_code=202, summary="Call a registered tool once")
async def post_execute(
    tool_id: ToolId, body: ExecuteRequest, services: Services, principal: Operator, response: Response
) -> AcceptedExecution:
    execution_id = await commands.execute(services.commands, services.tools, principal, tool_id, body.input)
    response.headers["Location"] = f"/tools/executions/{execution_id}"
    return AcceptedExecution(execution_id=execution_id)


def _accepted(response: Response, tool_id: str) -> AcceptedTool:
    response.headers["Location"] = f"/tools/{tool_id}"
    return AcceptedTool(tool_id=tool_id)
