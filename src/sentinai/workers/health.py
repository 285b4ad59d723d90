"""Is this worker process alive, ready, and how busy was it? Served over HTTP on its health port."""

from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sentinai.observability.metrics import CONTENT_TYPE, render


def health_app(ready: Callable[[], bool]) -> Starlette:
    """`/health/live`, `/health/ready` and `/metrics`; they say nothing of any tenant."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def readiness(_: Request) -> Response:
        if ready():
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "detail": "the database is away or not reached yet"}, 503)

    async def metrics(_: Request) -> Response:
        return Response(render(), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[Route("/health/live", live), Route("/health/ready", readiness), Route("/metrics", metrics)]
    )


def health_server(ready: Callable[[], bool], host: str, port: int) -> uvicorn.Server:
    """A server without signal handlers of its own; run `serve()` as a task and set `should_exit` to end it."""
    config = uvicorn.Config(health_app(ready), host=host, port=port, log_level="warning", access_log=False)
    return uvicorn.Server(config)
