"""/health/live, /health/ready and /metrics: no key needed, and nothing of any tenant in them."""

from fastapi import APIRouter, Response

from sentinai.api.dependencies import Services
from sentinai.observability.metrics import CONTENT_TYPE, render

router = APIRouter(tags=["health"])


@router.get("/health/live", summary="Is the process alive?")
async def get_live() -> dict[str, str]:
    return {"status": "live"}


@router.get("/health/ready", summary="Does it reach its database?")
async def get_ready(services: Services) -> dict[str, str]:
    """503 when it does not."""
    await services.database.require_answer()
    return {"status": "ready"}


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def get_metrics() -> Response:
    return Response(render(), media_type=CONTENT_TYPE)
