"""POST /exceptions and /exceptions/batch: reports come in."""

from typing import Any

from fastapi import APIRouter, Request, Response

from sentinai.api.bodies import parse_report, parse_reports, read_body, require_json
from sentinai.api.dependencies import Reporter, Services
from sentinai.models.http.exceptions import AcceptedBatch, AcceptedException, ExceptionReport

router = APIRouter(tags=["exceptions"])

NDJSON = "application/x-ndjson"
_EXAMPLE = {
    "source_system": "psp",
    "external_id": "evt-1001",
    "payload": {"id": "pay_1001", "amount": 4200, "code": "card_declined", "created": "2026-01-31T12:00:00Z"},
}


def _body(schema: dict[str, Any], example: Any, *others: str) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "example": example}}
    content |= {other: {"schema": {"type": "string"}} for other in others}
    return {"requestBody": {"required": True, "content": content}}


_REPORT = ExceptionReport.model_json_schema()


@router.post(
    "/exceptions",
    status_code=202,
    response_model=AcceptedException,
    summary="Report an exception",
    openapi_extra=_body(_REPORT, _EXAMPLE),
)
async def post_exception(request: Request, services: Services, caller: Reporter) -> Response:
    """Accepted means stored: the answer comes after the commit. Role operator."""
    require_json(request)
    body = await read_body(request, services.limits.body_bytes_max)
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
    summary="Report up to 1,000 exceptions, all or nothing",
    openapi_extra=_body({"type": "array", "items": _REPORT, "maxItems": 1000}, [_EXAMPLE], NDJSON),
)
async def post_batch(request: Request, services: Services, caller: Reporter) -> AcceptedBatch:
    """A JSON array or newline-delimited JSON (application/x-ndjson). Role operator."""
    media_type = require_json(request, NDJSON)
    body = await read_body(request, services.limits.batch_bytes_max)
    reports = parse_reports(body, media_type, services.limits.payload_depth_max)
    ids = await services.ingestion.accept(caller.principal, caller.key_hash, reports)
    return AcceptedBatch(exception_ids=ids)
