"""/packs and /playbooks: what decides, and which of it is active."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter

from sentinai.api.bodies import read_body
from sentinai.api.dependencies import Admin, ApiServices, Operator, Services, Viewer
from sentinai.api.pages import page_of
from sentinai.errors import Rejected
from sentinai.models.http.administration import (
    AcceptedActivation,
    AcceptedPack,
    ActivateRequest,
    ActiveConfiguration,
    PackProblems,
    PackView,
    PlaybookListItem,
)
from sentinai.models.http.base import IDENTIFIER, Page
from sentinai.models.json import Json
from sentinai.packs.check import load
from sentinai.packs.schema import published_schemas
from sentinai.queries import packs as queries
from sentinai.queries import playbooks
from sentinai.security.roles import Principal
from sentinai.services import packs as commands
from sentinai.services.vocabulary import VOCABULARY

router = APIRouter(tags=["packs"])

Identifier = Annotated[str, PathParameter(pattern=IDENTIFIER)]
_KINDS = {"domain": commands.DOMAIN, "policy": commands.POLICY}
_EXAMPLE = {
    "kind": "TenantPolicyPack",
    "schemaVersion": 1,
    "tenantId": "acme",
    "domainName": "card-payments",
    "version": "1.0.0",
    "approvedTools": ["retryPayment"],
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {
                "schema": {"type": "string"},
                "example": "\n".join(f"{name}: {value}" for name, value in _EXAMPLE.items()),
            },
            "application/json": {"schema": {"type": "object"}, "example": _EXAMPLE},
        },
    }
}


@router.post("/packs/domain", status_code=202, summary="Import a Domain Pack (YAML or JSON)", openapi_extra=_BODY)
async def post_domain(request: Request, services: Services, principal: Admin, response: Response) -> AcceptedPack:
    """Checked as a whole: every problem is reported at once, with line and column. Role admin."""
    return await _import(request, services, principal, response, commands.DOMAIN)


@router.post("/packs/policy", status_code=202, summary="Import a Tenant Policy Pack", openapi_extra=_BODY)
async def post_policy(request: Request, services: Services, principal: Admin, response: Response) -> AcceptedPack:
    return await _import(request, services, principal, response, commands.POLICY)


@router.post("/packs/validate", summary="Check a pack without storing anything", openapi_extra=_BODY)
async def post_validate(request: Request, services: Services, _: Operator) -> PackProblems:
    text = await read_body(request, services.limits.body_bytes_max)
    try:
        load(text, VOCABULARY)
    except Rejected as error:
        places = [
            {"pointer": p.pointer, "detail": p.detail, "line": p.line, "column": p.column} for p in error.problems
        ]
        return PackProblems(valid=False, errors=places or [{"pointer": "", "detail": error.message}])
    return PackProblems(valid=True, errors=[])


@router.post("/packs/activate", status_code=202, summary="Make a pair of packs the active one of its domain")
async def post_activate(
    body: ActivateRequest, services: Services, principal: Admin, response: Response
) -> AcceptedActivation:
    config = await commands.activate(
        services.commands, principal, body.domain, body.domain_version, body.policy_version
    )
    response.headers["Location"] = "/packs/active"
    return AcceptedActivation(domain=body.domain, config_hash=config.hash)


@router.get("/packs", summary="List imported packs")
async def list_packs(services: Services, principal: Viewer) -> Page[PackView]:
    return page_of(PackView, await queries.imported(services.database, principal.tenant_id))


@router.get("/packs/active", summary="Which pair is active per domain, and which were before")
async def list_active(services: Services, principal: Viewer) -> Page[ActiveConfiguration]:
    return page_of(ActiveConfiguration, await queries.active(services.database, principal.tenant_id))


@router.get("/packs/schemas", summary="The JSON Schemas of packs")
async def list_schemas(_: Viewer) -> dict[str, Json]:
    return published_schemas(VOCABULARY)


@router.get("/packs/{kind}/{domain}/{version}", summary="One imported pack as stored")
async def get_pack(
    kind: Annotated[str, PathParameter(pattern="^(domain|policy)$")],
    domain: Identifier,
    version: Identifier,
    services: Services,
    principal: Viewer,
) -> dict[str, Json]:
    place = queries.PackPlace(_KINDS[kind], principal.tenant_id, domain, version)
    return await queries.content(services.database, place)


@router.get("/playbooks", summary="List the active playbooks, best candidate first")
async def list_playbooks(services: Services, principal: Viewer) -> Page[PlaybookListItem]:
    found = await playbooks.active(services.database, services.commands.configurations, principal.tenant_id)
    items = [
        PlaybookListItem(
            domain=domain,
            name=p.name,
            version=p.version,
            owner=p.owner,
            description=p.description,
            priority=p.priority,
            exception_types=list(p.match.exception_types),
            severities=list(p.match.severities),
            steps=[{"name": s.name, "action": s.action, "mode": s.mode, "params": s.literal_params} for s in p.steps],
        )
        for domain, p in found
    ]
    return Page[PlaybookListItem](items=items)


async def _import(
    request: Request, services: ApiServices, principal: Principal, response: Response, kind: str
) -> AcceptedPack:
    document = load(await read_body(request, services.limits.body_bytes_max), VOCABULARY)
    if document.kind != kind:
        raise Rejected(f"This is a {document.kind}; this route imports a {kind}.")
    await commands.import_pack(services.commands, principal, document)
    path = "domain" if kind == commands.DOMAIN else "policy"
    response.headers["Location"] = f"/packs/{path}/{document.name}/{document.version}"
    return AcceptedPack(kind=kind, domain=document.name, version=document.version, content_hash=document.content_hash)
