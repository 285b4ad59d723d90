"""/tenants, /api-keys and /me: who there is, and with which keys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response

from sentinai.api.dependencies import Paging, PlatformAdmin, Services, get_principal
from sentinai.api.pages import page_of
from sentinai.errors import Denied
from sentinai.models.http.administration import (
    TENANT_ID,
    AcceptedTenant,
    CreatedKey,
    KeyRequest,
    KeyView,
    Me,
    SuspendRequest,
    TenantRequest,
    TenantView,
)
from sentinai.models.http.base import Page
from sentinai.queries import tenants as queries
from sentinai.security.roles import Principal, require
from sentinai.services import tenants as commands
from sentinai.services.recording import actor

router = APIRouter(tags=["tenants and keys"])

Anyone = Annotated[Principal, Depends(get_principal)]
TenantInPath = Annotated[str, Path(pattern=TENANT_ID)]


@router.get("/me", summary="Who am I?")
async def get_me(principal: Anyone) -> Me:
    return Me.model_validate(principal)


@router.post("/tenants", status_code=202, summary="Create a tenant")
async def post_tenant(
    body: TenantRequest, services: Services, principal: PlatformAdmin, response: Response
) -> AcceptedTenant:
    """Role platform_admin."""
    await commands.create_tenant(services.commands, actor(principal), body.tenant_id, body.name)
    response.headers["Location"] = "/tenants"
    return AcceptedTenant(tenant_id=body.tenant_id)


@router.get("/tenants", summary="List tenants")
async def list_tenants(services: Services, principal: PlatformAdmin, page: Paging) -> Page[TenantView]:
    """Role platform_admin; spans tenants, since tenants are what it is about."""
    return page_of(TenantView, *await queries.search(services.database, principal.tenant_id, page))


@router.post("/tenants/{tenant_id}/suspend", status_code=202, summary="Refuse all of a tenant's keys, at once")
async def post_suspend(
    tenant_id: TenantInPath, body: SuspendRequest, services: Services, principal: PlatformAdmin, response: Response
) -> AcceptedTenant:
    await commands.set_suspended(services.commands, actor(principal), tenant_id, True, body.reason)
    response.headers["Location"] = "/tenants"
    return AcceptedTenant(tenant_id=tenant_id)


@router.post("/tenants/{tenant_id}/resume", status_code=202, summary="Accept a suspended tenant's keys again")
async def post_resume(
    tenant_id: TenantInPath, body: SuspendRequest, services: Services, principal: PlatformAdmin, response: Response
) -> AcceptedTenant:
    await commands.set_suspended(services.commands, actor(principal), tenant_id, False, body.reason)
    response.headers["Location"] = "/tenants"
    return AcceptedTenant(tenant_id=tenant_id)


@router.post("/api-keys", status_code=202, summary="Create an API key; its secret is shown this once")
async def post_key(body: KeyRequest, services: Services, principal: Anyone, response: Response) -> CreatedKey:
    """Role admin for the own tenant; a platform_admin names the tenant."""
    tenant_id = body.tenant_id or principal.tenant_id
    if principal.role != "platform_admin":
        require(principal, "admin")
        if tenant_id != principal.tenant_id or body.role == "platform_admin":
            raise Denied("An admin creates keys of the own tenant only.")
    request = commands.KeySpecification(tenant_id, body.name, body.role, body.expires_at, body.subject)
    created = await commands.create_key(services.commands, actor(principal), request)
    response.headers["Location"] = "/api-keys"
    return CreatedKey(key_id=created.key_id, key=created.secret)


@router.get("/api-keys", summary="List the tenant's API keys, without their secrets")
async def list_keys(services: Services, principal: Anyone, page: Paging) -> Page[KeyView]:
    """Role admin or platform_admin."""
    _require_administrator(principal)
    return page_of(KeyView, *await queries.keys(services.database, principal.tenant_id, page))


@router.delete("/api-keys/{key_id}", status_code=202, summary="Revoke a key; it is refused from then on")
async def delete_key(key_id: UUID, services: Services, principal: Anyone, response: Response) -> dict[str, str]:
    """Role admin or platform_admin."""
    _require_administrator(principal)
    await commands.revoke_key(services.commands, principal, key_id)
    response.headers["Location"] = "/api-keys"
    return {"key_id": str(key_id), "status": "accepted"}


def _require_administrator(principal: Principal) -> None:
    if principal.role != "platform_admin":
        require(principal, "admin")
