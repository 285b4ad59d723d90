"""`sentinai audit verify`, `rebuild --check` and `log rebase`: prove the record, and repair its places."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import typer

from sentinai.bootstrap import opened
from sentinai.cli.output import console, show_problem, told_plainly
from sentinai.cli.retention import signing_key
from sentinai.cli.serve import required_url
from sentinai.errors import Rejected
from sentinai.infrastructure.database import OWNER, Database
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.services.rebase import rebase, require_nobody_else
from sentinai.services.retention import check_tombstones
from sentinai.services.verification import CheckedStream, check_projections, verify_chains
from sentinai.settings import load_settings

audit = typer.Typer(no_args_is_help=True, help="Prove that nobody changed the record.")

log = typer.Typer(no_args_is_help=True, help="Repair the log's places.")

PROBLEMS_SHOWN_MAX = 20
PROGRESS_EVERY = 20_000

Tenant = Annotated[str | None, typer.Option(help="Only this tenant; all by default.")]


@audit.command()
def verify(tenant: Tenant = None) -> None:
    """Recompute every hash chain and name the first broken event of each broken stream; check what retention removed."""
    _run_check(tenant, "chains", verify_chains)
    key = signing_key(load_settings())
    _run_check(tenant, "tombstones", lambda database, _, of: check_tombstones(database, of, key))
    if key is None:
        console.print("[yellow]![/] Signatures of tombstones were not checked: SENTINAI_SIGNING_KEY is not set.")


@log.command("rebase")
def rebase_log() -> None:
    """After a restore from a dump into a new PostgreSQL cluster: give the events places that new ones come after."""
    with told_plainly():
        waiting = asyncio.run(_rebase())
        console.print(f"[green]✓[/] The log is rebased; {waiting:,} events wait for their consumers.", highlight=False)
        console.print("With Kafka: begin with new topics, by another SENTINAI_KAFKA_PREFIX.")


async def _rebase() -> int:
    async with opened(required_url(load_settings()), OWNER) as database:
        await require_nobody_else(database)
        return await rebase(database)


def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Compare only; nothing is written.")] = False,
    tenant: Tenant = None,
) -> None:
    """Fold every stream again and report any row that differs: there must be none, ever."""
    if not check:
        show_problem("`rebuild` compares only: say --check. Rows are never rewritten behind the log's back.")
        raise typer.Exit(1)
    _run_check(tenant, "projections", check_projections)


Check = Callable[[Database, EventStore, str | None], AsyncIterator[CheckedStream]]


def _run_check(tenant: str | None, what: str, check: Check) -> None:
    with told_plainly():
        streams, events, problems = asyncio.run(_checked(tenant, check))
        for problem in problems[:PROBLEMS_SHOWN_MAX]:
            show_problem(problem)
        if problems:
            raise Rejected(f"{len(problems)} of {streams:,} {what} do not hold; see above.")
        console.print(f"[green]✓[/] {streams:,} {what} hold over {events:,} events.", highlight=False)


async def _checked(tenant: str | None, check: Check) -> tuple[int, int, list[str]]:
    streams, events = 0, 0
    problems: list[str] = []
    async with opened(required_url(load_settings()), OWNER) as database:
        with console.status("checking …") as status:
            async for finding in check(database, EventStore(copy=False), tenant):
                streams, before, events = streams + 1, events, events + finding.events
                if events // PROGRESS_EVERY != before // PROGRESS_EVERY:
                    status.update(f"checking … {events:,} events")
                if finding.problem is not None:
                    problems.append(finding.problem)
    return streams, events, problems
