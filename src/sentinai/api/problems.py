"""How does an error become an HTTP answer? One table; nothing else decides, and never by words in a message."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from sentinai.errors import Conflict, Denied, Limited, Missing, Problem, Rejected, SentinaiError, Unavailable
from sentinai.models.http.base import ProblemResponse
from sentinai.models.json import Json
from sentinai.security.masking import redact_pii


class ProblemKind(NamedTuple):
    """What an answer is called, for machines and for people."""

    status: int
    title: str


STATUS: Mapping[type[SentinaiError], ProblemKind] = {
    Rejected: ProblemKind(422, "Rejected"),
    Denied: ProblemKind(403, "Denied"),
    Missing: ProblemKind(404, "Missing"),
    Conflict: ProblemKind(409, "Conflict"),
    Unavailable: ProblemKind(503, "Unavailable"),
}
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
ERRORS_MAX = 100

log = structlog.get_logger()


class NotAuthenticated(Denied):
    """No valid key: 401, not 403."""


class Malformed(Rejected):
    """The body is not what its content type says: 400."""


class TooLarge(Rejected):
    """The body is larger than its bound: 413."""


class UnsupportedMedia(Rejected):
    """The content type is not one this route reads: 415."""


EXACT: Mapping[type[SentinaiError], ProblemKind] = {
    NotAuthenticated: ProblemKind(401, "Not authenticated"),
    Malformed: ProblemKind(400, "Malformed"),
    TooLarge: ProblemKind(413, "Too large"),
    UnsupportedMedia: ProblemKind(415, "Unsupported media type"),
    Limited: ProblemKind(429, "Too many requests"),
}


def documented(title: str) -> dict[str, Json]:
    """How OpenAPI describes such an answer."""
    return {"description": title, "content": {MEDIA_TYPE: {"schema": ProblemResponse.model_json_schema()}}}


def install(app: FastAPI) -> None:
    """Every error answer of the application is a problem document."""
    app.add_exception_handler(SentinaiError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RecursionError, _nested)
    app.add_exception_handler(Exception, _unexpected)


def problem(
    request: Request,
    kind: ProblemKind,
    detail: str,
    problems: Sequence[Problem] = (),
    facts: Mapping[str, Json] | None = None,
) -> Response:
    """A problem document; `facts` are its machine-readable details. Quotes are masked."""
    status, title = kind
    errors = [
        {"pointer": p.pointer, "detail": redact_pii(p.detail), "line": p.line, "column": p.column}
        for p in problems[:ERRORS_MAX]
    ]
    content = {
        "type": f"urn:sentinai:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": redact_pii(detail),
        "instance": request.url.path,
        "correlation_id": getattr(request.state, "correlation_id", ""),
        "errors": errors,
        "details": redact_pii({k: v for k, v in (facts or {}).items() if v is not None}),
    }
    headers = {"Retry-After": str((facts or {}).get("retry_after_s", RETRY_AFTER_S))} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(content, status, headers=headers, media_type=MEDIA_TYPE)


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, SentinaiError)
    kind = EXACT.get(type(error)) or next(kind for base, kind in STATUS.items() if isinstance(error, base))
    details = {k: v if isinstance(v, str | int | float | bool) else str(v) for k, v in error.details.items()}
    return problem(request, kind, error.message, error.problems, details)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [Problem(_pointer(e["loc"]), e["msg"]) for e in error.errors()]
    malformed = any(e["type"] == "json_invalid" for e in error.errors())
    if malformed:
        return problem(request, ProblemKind(400, "Malformed"), "The body is not valid JSON.", problems)
    return problem(request, ProblemKind(422, "Rejected"), "The request does not fit its schema; see errors.", problems)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    titles = {404: "Missing", 405: "Method not allowed", 400: "Malformed"}
    return problem(request, ProblemKind(error.status_code, titles.get(error.status_code, "Error")), str(error.detail))


async def _nested(request: Request, _: Exception) -> Response:
    return problem(request, ProblemKind(400, "Malformed"), "The body is nested too deep to be read.")


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request_broke", path=request.url.path, error=type(error).__name__, exc_info=error)
    return problem(
        request,
        ProblemKind(500, "Internal error"),
        "Something here is broken; report the correlation id to the operator.",
    )


def _pointer(location: Sequence[str | int]) -> str:
    """`("body", "items", 0)` → `/items/0`; parameters keep their name."""
    where, *rest = location
    path = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in rest)
    return path if where == "body" else path.removeprefix("/")
