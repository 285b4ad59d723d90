"""`sentinai audit verify`, `rebuild --check` and `doctor`: prove the record, and say what is wrong with an installation."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, NamedTuple

import typer

from sentinai.bootstrap import check_topics, opened
from sentinai.cli.output import console, show_problem, table, told_plainly
from sentinai.cli.retention import signing_key
from sentinai.cli.serve import required_url
from sentinai.errors import Rejected, SentinaiError, Unavailable
from sentinai.infrastructure.database import OWNER, Database
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.services.rebase import rebase, require_nobody_else
from sentinai.services.retention import check_tombstones
from sentinai.services.verification import Finding, check_projections, verify_chains
from sentinai.settings import Settings, load_settings

audit = typer.Typer(no_args_is_help=True, help="Prove that nobody changed the record.")

log = typer.Typer(no_args_is_help=True, help="Mend the log's places.")

PROBLEMS_SHOWN_MAX = 20
PROGRESS_EVERY = 20_000
FREE_DISK_MIN = 0.05
OLD_TRANSACTION_S = 30
TOPIC_FINDINGS_SHOWN = 5

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


Check = Callable[[Database, EventStore, str | None], AsyncIterator[Finding]]


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


class Examined(NamedTuple):
    """One thing looked at: `mend` says what to do when it is not well."""

    what: str
    well: bool
    found: str
    mend: str = ""


def doctor() -> None:
    """Say what is wrong with this installation, and how to mend it. Exit code 1 when something is."""
    with told_plainly():
        settings = load_settings()
        found = [_disk(settings)]
        try:
            found += asyncio.run(_examine(required_url(settings)))
            found += _kafka(settings)
        except SentinaiError as error:
            found.append(Examined("database", False, error.message, "start it; see the message"))
        rows = [("✓" if e.well else "✗", e.what, e.found, "" if e.well else e.mend) for e in found]
        table("What the doctor found", ("", "what", "found", "mend"), rows)
        if not all(e.well for e in found):
            raise typer.Exit(1)


def _disk(settings: Settings) -> Examined:
    folder = settings.data_dir if settings.data_dir.exists() else settings.data_dir.absolute().parent
    usage = shutil.disk_usage(folder)
    free = usage.free / usage.total
    return Examined("disk", free > FREE_DISK_MIN, f"{free:.0%} free", "make room: without it nothing can be accepted")


def _kafka(settings: Settings) -> list[Examined]:
    """The topics, where Kafka carries events."""
    if settings.broker != "kafka":
        return []
    try:
        findings = asyncio.run(check_topics(settings, create=False))
    except Unavailable as error:
        return [Examined("kafka", False, error.message, "start it; until then the log is read directly")]
    if not findings:
        return [Examined("kafka", True, "all topics as planned")]
    return [Examined("kafka", False, *finding.partition(": ")[::2]) for finding in findings[:TOPIC_FINDINGS_SHOWN]]


async def _examine(url: str) -> list[Examined]:
    examinations: tuple[Callable[[Any], Awaitable[Examined]], ...] = (
        _version,
        _clock,
        _cluster,
        _workers,
        _holder,
        _lag,
        _dead_letters,
        _unknown_calls,
        _active_packs,
    )
    async with opened(url, OWNER) as database:
        results = []
        for examine in examinations:
            async with database.transaction() as tx:
                results.append(await examine(tx))
    return results


async def _version(tx: Any) -> Examined:
    version = await tx.fetchval("select current_setting('server_version')")
    migration = await tx.fetchval("select version_num from alembic_version")
    return Examined("database", True, f"PostgreSQL {version}, tables {migration}")


async def _clock(tx: Any) -> Examined:
    from sentinai.bootstrap import now

    offset = abs((await tx.fetchval("select clock_timestamp()") - now()).total_seconds())
    return Examined("clock", offset < 2, f"{offset:.1f} s from the database's", "synchronise the clocks (NTP)")


async def _cluster(tx: Any) -> Examined:
    elsewhere = await tx.fetchval("select log_from_elsewhere()")
    found = "the log was written by another cluster" if elsewhere else "the log was written here"
    return Examined("transaction ids", not elsewhere, found, "stop everything, then `sentinai log rebase`")


async def _workers(tx: Any) -> Examined:
    alive = await tx.fetchval("select count(*) from worker_heartbeat where seen_at > now() - interval '15 seconds'")
    return Examined("workers", alive > 0, f"{alive} alive", "start some: `sentinai worker`, or `sentinai up`")


async def _holder(tx: Any) -> Examined:
    row = await tx.fetchrow("select pid, application_name, seconds::int from log_holder()")
    if row is None or row["seconds"] < OLD_TRANSACTION_S:
        return Examined("log held back", True, "by nobody")
    who = f"by process {row['pid']} ({row['application_name']}) for {row['seconds']} s"
    return Examined("log held back", False, who, f"end it: select pg_terminate_backend({row['pid']})")


async def _lag(tx: Any) -> Examined:
    row = await tx.fetchrow(
        """select count(*) as events, coalesce(extract(epoch from now() - min(e.occurred_at)), 0)::int as seconds
           from consumer_cursor k join event e on e.topic = k.topic and e.partition = k.partition and not e.handled
             and (e.xid, e.position) > (k.xid, k.position) where k.consumer <> 'relay'"""
    )
    found = f"{row['events']} events wait, the oldest {row['seconds']} s"
    return Examined("lag", row["seconds"] < 60, found, "add workers, or look why they stand still (see `workers`)")


async def _dead_letters(tx: Any) -> Examined:
    count = await tx.fetchval("select count(*) from parked where state = 'dead'")
    return Examined("dead letters", count == 0, str(count), "`sentinai dead-letters list`, mend, then retry or discard")


async def _unknown_calls(tx: Any) -> Examined:
    count = await tx.fetchval("select count(*) from tool_execution where status = 'UNKNOWN'")
    mend = "ask the tool's owner what happened, then complete or skip the step"
    return Examined("tool calls of unknown end", count == 0, str(count), mend)


async def _active_packs(tx: Any) -> Examined:
    bare = await tx.fetchval(
        """select count(*) from tenant t where tenant_id <> 'platform'
           and not exists (select from active_config a where a.tenant_id = t.tenant_id and a.active)"""
    )
    return Examined("tenants without packs", bare == 0, str(bare), "import and activate: `sentinai packs import`")
