"""Which playbooks are active, and how far is the one of an exception, with its steps to come?"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from sentinai.errors import Missing
from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories.configurations import Configurations
from sentinai.models.json import Json
from sentinai.models.run import PlaybookRun, StepRun
from sentinai.packs.effective import Playbook, Step
from sentinai.playbooks.matching import find_playbook
from sentinai.queries import exceptions


class ActivePlaybook(NamedTuple):
    domain: str
    playbook: Playbook


class StepProgress(msgspec.Struct, frozen=True):
    """A declared step, and what came of it so far."""

    order: int
    name: str
    path: str
    action: str
    mode: str
    status: str
    waits_for: str | None = None
    output: Json = None
    detail: str | None = None
    execution_id: UUID | None = None
    done_by: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class RunProgress(msgspec.Struct, frozen=True):
    """The run of an exception's playbook."""

    exception_id: UUID
    playbook: str
    version: int
    status: str
    steps: list[StepProgress]
    """Those that were begun, and those to come as PENDING."""
    started_at: datetime | None
    ended_at: datetime | None


async def active(database: Database, configurations: Configurations, tenant_id: str) -> list[ActivePlaybook]:
    """Of each active configuration the best candidate first."""
    async with database.transaction(tenant_id) as tx:
        await configurations.load(tx, [tenant_id])
    return [
        ActivePlaybook(config.domain, p) for config in configurations.tenant(tenant_id).active for p in config.playbooks
    ]


async def run_of(database: Database, configurations: Configurations, tenant_id: str, exception_id: UUID) -> RunProgress:
    """Raises Missing, also where no playbook was chosen (yet)."""
    _, state = await exceptions.get(database, tenant_id, exception_id)
    run = state.run
    if run is None:
        raise Missing("No playbook was chosen for this exception (yet).")
    async with database.transaction(tenant_id) as tx:
        await configurations.load(tx, [tenant_id], [(tenant_id, state.config_hash)])
    config = configurations.by_hash(state.config_hash)
    declared = find_playbook(config, run.playbook, run.version) if config else None
    return RunProgress(
        exception_id=exception_id,
        playbook=run.playbook,
        version=run.version,
        status=run.status,
        steps=steps_of(run, declared),
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


def steps_of(run: PlaybookRun, declared: Playbook | None) -> list[StepProgress]:
    """The declared steps in their order."""
    steps = declared.steps if declared else ()
    return [_progress(step, run.steps.get(step.name), order) for order, step in enumerate(steps, 1)]


def _progress(step: Step, known: StepRun | None, order: int) -> StepProgress:
    begun = {name: getattr(known, name) for name in _OF_RUN} | {"status": str(known.status)} if known else {}
    return StepProgress(
        **{"status": "PENDING"} | begun, order=order, name=step.name, path=step.name, action=step.action, mode=step.mode
    )


_OF_RUN = ("waits_for", "output", "detail", "execution_id", "done_by", "started_at", "ended_at")
