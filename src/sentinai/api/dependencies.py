"""What does a route need: the caller, the tenant, the services, a page request?"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from sentinai.api.auth import Authenticator, Caller
from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories.pages import LIMIT_MAX, PageRequest
from sentinai.infrastructure.repositories.tools import ToolRepository
from sentinai.security.roles import Principal, require
from sentinai.services.ingestion import IngestionService
from sentinai.services.recording import Commands


@dataclass(frozen=True, slots=True)
class BodyLimits:
    body_bytes_max: int
    batch_bytes_max: int
    payload_depth_max: int


@dataclass(frozen=True, slots=True)
class ApiServices:
    """What the application is built from (see bootstrap)."""

    database: Database
    commands: Commands
    ingestion: IngestionService
    tools: ToolRepository
    authenticator: Authenticator
    limits: BodyLimits


async def get_services(request: Request) -> ApiServices:
    """A coroutine like every dependency here: the framework runs plain functions in threads, which costs more."""
    return services_of(request)


def services_of(request: Request) -> ApiServices:
    services: ApiServices = request.app.state.services
    return services


def get_secret(request: Request) -> str | None:
    """The key in X-API-Key, or the bearer token."""
    key = request.headers.get("x-api-key")
    if key is not None:
        return key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def get_principal(request: Request) -> Principal:
    """The caller, looked up now: a revoked key is refused at once. Raises NotAuthenticated."""
    caller = await services_of(request).authenticator.current(get_secret(request))
    return caller.principal


async def get_reporter(request: Request) -> Caller:
    """The caller of an ingesting route; the commit checks the key again."""
    caller = await services_of(request).authenticator.recent(get_secret(request))
    require(caller.principal, "operator")
    return caller


async def get_tenant_id(principal: Annotated[Principal, Depends(get_principal)]) -> str:
    """The caller's tenant: the only tenant a request is about."""
    return principal.tenant_id


def with_role(role: str) -> Callable[[Principal], Coroutine[Any, Any, Principal]]:
    """A dependency that gives the caller if it has at least this role; raises Denied otherwise."""

    async def check(principal: Annotated[Principal, Depends(get_principal)]) -> Principal:
        require(principal, role)
        return principal

    return check


async def get_page(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Items per page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=1_000, description="From the page before.")] = None,
) -> PageRequest:
    return PageRequest(limit, cursor)


Services = Annotated[ApiServices, Depends(get_services)]
Viewer = Annotated[Principal, Depends(with_role("viewer"))]
Operator = Annotated[Principal, Depends(with_role("operator"))]
Approver = Annotated[Principal, Depends(with_role("approver"))]
Admin = Annotated[Principal, Depends(with_role("admin"))]
PlatformAdmin = Annotated[Principal, Depends(with_role("platform_admin"))]
Paging = Annotated[PageRequest, Depends(get_page)]
