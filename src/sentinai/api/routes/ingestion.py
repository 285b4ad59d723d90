"""POST /exceptions and /exceptions/batch: reports come in."""

import json

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from sentinai.api.bodies import parse_report, parse_reports, read_body, require_json
from sentinai.api.dependencies import get_reporter, services_of
from sentinai.api.problems import documented
from sentinai.models.http.exceptions import AcceptedBatch, AcceptedException, ExceptionReport
from sentinai.models.json import Json


class DirectRoute(APIRoute):
    """Documented like every route, but its endpoint gets the request as it came.

    The framework's solving of dependencies and serialising of answers took half of the time of a report.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response: Response = await self.endpoint(Request(scope, receive))
        await response(scope, receive, send)


router = APIRouter(tags=["exceptions"], route_class=DirectRoute)

NDJSON = "application/x-ndjson"
_EXAMPLE = {
    "source_system": "psp",
    "external_id": "evt-1001",
    "payload": {"id": "pay_1001", "amount": 4200, "code": "card_declined", "created": "2026-01-31T12:00:00Z"},
}


def _body(schema: dict[str, Json], example: Json, *others: str) -> dict[str, Json]:
    content = {"application/json": {"schema": schema, "example": example}}
    lines = "\n".join(json.dumps(report) for report in example) if others else None
    content |= {other: {"schema": {"type": "string"}, "example": lines} for other in others}
    return {"requestBody": {"required": True, "content": content}}


_LIMITED: dict[int | str, dict[str, Json]] = {429: documented("The tenant sends too much; Retry-After says when")}
_REPORT = ExceptionReport.model_json_schema()


@router.post(
    "/exceptions",
    status_code=202,
    response_model=AcceptedException,
    responses=_LIMITED,
    summary="Report an exception",
    openapi_extra=_body(_REPORT, _EXAMPLE),
)
async def post_exception(request: Request) -> Response:
    """Accepted means stored: the answer comes after the commit. Role operator."""
    services, caller = services_of(request), await get_reporter(request)
    require_json(request)
    with services.ingestion.admission.body(caller.principal.tenant_id) as hold:
        body = await read_body(request, services.limits.body_bytes_max, hold)
        report = parse_report(body, services.limits.payload_depth_max)
        (exception_id,) = await services.ingestion.accept(caller.principal, caller.key_hash, [report])
    return Response(
        f'{{"exception_id":"{exception_id}","status":"accepted"}}',
        202,
        {"Location": f"/exceptions/{exception_id}"},
        "application/json",
    )


@router.post(
    "/exceptions/batch",
    status_code=202,
    response_model=AcceptedBatch,
    responses=_LIMITED,
    summary="Report up to 1,000 exceptions, all or nothing",
    openapi_extra=_body({"type": "array", "items": _REPORT, "maxItems": 1000}, [_EXAMPLE], NDJSON),
)
async def post_batch(request: Request) -> Response:
    """A JSON array or newline-delimited JSON (application/x-ndjson). Role operator."""
    services, caller = services_of(request), await get_reporter(request)
    media_type = require_json(request, NDJSON)
    limits = services.limits
    with services.ingestion.admission.body(caller.principal.tenant_id) as hold:
        body = await read_body(request, limits.batch_bytes_max, hold)
        reports = parse_reports(body, media_type, limits.payload_depth_max, limits.body_bytes_max)
        ids = await services.ingestion.accept(caller.principal, caller.key_hash, reports)
    accepted = AcceptedBatch(exception_ids=ids)
    return Response(accepted.model_dump_json(), 202, media_type="application/json")
