"""Which routes are there? In the order in which they are matched."""

from fastapi import APIRouter

from sentinai.api.routes import (
    approvals,
    dead_letters,
    exceptions,
    health,
    ingestion,
    operations,
    packs,
    tenants,
    tools,
)

CATALOG: tuple[APIRouter, ...] = (
    ingestion.router,
    exceptions.router,
    approvals.router,
    tools.router,
    packs.router,
    tenants.router,
    dead_letters.router,
    operations.router,
    health.router,
)
