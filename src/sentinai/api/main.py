"""How is the HTTP application put together?"""

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentinai import __version__
from sentinai.api import problems
from sentinai.api.routes.catalog import CATALOG
from sentinai.models.json import Json
from sentinai.observability.metrics import HTTP_REQUESTS, HTTP_SECONDS

DESCRIPTION = """Multi-tenant exception processing. Commands answer 202 once they are stored; queries read the database.
Send your API key as `X-API-Key` or `Authorization: Bearer`; it decides the tenant."""
_ERRORS: dict[int | str, dict[str, Json]] = {
    status: problems.documented(title)
    for status, title in (
        (400, "Malformed"),
        (401, "No valid key"),
        (403, "Not allowed"),
        (404, "Not there, or another tenant's"),
        (409, "Not possible in the present state"),
        (422, "Does not fit its schema"),
        (503, "The database is away, or too much waits for it"),
    )
}

BODY_BYTES_MAX = 32 * 1024 * 1024
"""No route reads more; reports and batches have tighter bounds of their own in the settings."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(lifespan: Lifespan) -> FastAPI:
    """The application; `lifespan` sets `app.state.services` (see bootstrap)."""
    app = FastAPI(
        title="SentinAI",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=_ERRORS,
    )
    problems.install(app)
    for router in CATALOG:
        app.include_router(router)
    app.add_middleware(RequestMiddleware)
    return app


class RequestMiddleware:
    """Gives every request a correlation id (the caller's, if it is a plain one) and counts answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation_id = _correlation_id(scope)
        scope.setdefault("state", {})["correlation_id"] = correlation_id

        begun = time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-correlation-id", correlation_id.encode())]
                HTTP_SECONDS.labels(method=scope["method"]).observe(time.perf_counter() - begun)
                HTTP_REQUESTS.labels(method=scope["method"], status=str(message["status"])).inc()
            await send(message)

        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_BYTES_MAX:
                raise problems.TooLarge(f"The body is larger than {BODY_BYTES_MAX} bytes.", bytes_max=BODY_BYTES_MAX)
            return message

        await self._app(scope, bounded, answer)


def _correlation_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-correlation-id" and 0 < len(value) <= 100 and value.isascii() and value.decode().isprintable():
            return str(value.decode())
    return uuid.uuid4().hex
