"""`sentinai doctor`: what is wrong with this installation, and how is it mended?"""

import asyncio
import shutil
import stat
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import asyncpg
import typer

from sentinai.bootstrap import check_topics, now, opened
from sentinai.cli.output import table, told_plainly
from sentinai.cli.retention import KEY_FILE
from sentinai.cli.serve import required_url
from sentinai.errors import SentinaiError, Unavailable
from sentinai.infrastructure.database import OWNER
from sentinai.infrastructure.migrate import newest_revision
from sentinai.orchestrator.pipeline import CONSUMES
from sentinai.settings import Settings, load_settings

FREE_DISK_MIN = 0.05
OLD_TRANSACTION_S = 30
CLOCK_OFF_MAX_S = 2.0
LAG_MAX_S = 60
TOPIC_FINDINGS_SHOWN = 5
SECRET_FILES = ("first-keys.json", KEY_FILE)
BYPASS = {"sentinai_api": False, "sentinai_worker": True, "sentinai_ingest": True}
"""Which role may pass row-level security."""


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
        found = examined(settings, required_url(settings))
        rows = [("✓" if e.well else "✗", e.what, e.found, "" if e.well else e.mend) for e in found]
        table("What the doctor found", ("", "what", "found", "mend"), rows)
        if not all(e.well for e in found):
            raise typer.Exit(1)


def examined(settings: Settings, url: str) -> list[Examined]:
    """Everything that can be looked at; one thing that breaks hides none of the others."""
    return [_disk(settings), _secret_files(settings), *asyncio.run(_database(url)), *_kafka(settings)]


def _secret_files(settings: Settings) -> Examined:
    files = [settings.data_dir / name for name in SECRET_FILES]
    if settings.secrets_dir is not None and settings.secrets_dir.is_dir():
        files += settings.secrets_dir.iterdir()
    open_files = [f for f in files if f.is_file() and f.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    found = f"others can read {open_files[0]}" if open_files else "closed to others"
    mend = f"chmod 600 {' '.join(map(str, open_files))}"
    return Examined("files with secrets", not open_files, found, mend)


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
        return [
            Examined(
                "kafka",
                False,
                error.message,
                "start it, or mend the setting; until it answers, events are read from the log",
            )
        ]
    if not findings:
        return [Examined("kafka", True, "all topics as planned")]
    return [Examined("kafka", False, *finding.partition(": ")[::2]) for finding in findings[:TOPIC_FINDINGS_SHOWN]]


async def _database(url: str) -> list[Examined]:
    """Later looks need the tables, so they are left out where those are not as they should be."""
    try:
        async with opened(url, OWNER) as database:
            results = []
            for examine in EXAMINATIONS:
                async with database.transaction() as tx:
                    results.append(await examine(tx))
                if examine is _version and not results[-1].well:
                    break
            return results
    except SentinaiError as error:
        return [Examined("database", False, error.message, "start it, or correct SENTINAI_DATABASE_URL")]
    except (asyncpg.PostgresError, OSError) as error:
        return [Examined("database", False, str(error), "correct SENTINAI_DATABASE_URL: user, password, database")]


async def _version(tx: Any) -> Examined:
    version, newest = await tx.fetchval("select current_setting('server_version')"), newest_revision()
    there = await tx.fetchval("select to_regclass('alembic_version')")
    tables = await tx.fetchval("select version_num from alembic_version") if there else None
    found = f"PostgreSQL {version}, tables {tables or 'not there'}"
    if tables is not None and tables > newest:
        return Examined("database", False, f"{found}, this program knows {newest}", "run the newer program's version")
    return Examined("database", tables == newest, found, f"`sentinai migrate` brings the tables to {newest}")


async def _rights(tx: Any) -> Examined:
    """The walls between tenants, and around the log, are rights in the database."""
    roles = {r["rolname"]: r["rolbypassrls"] for r in await tx.fetch("select rolname, rolbypassrls from pg_roles")}
    for role, bypasses in BYPASS.items():
        if role not in roles:
            kind = "bypassrls" if bypasses else ""
            return Examined("rights", False, f"there is no role {role}", f"create role {role} nologin {kind}".strip())
        if roles[role] != bypasses:
            word = "bypassrls" if bypasses else "nobypassrls"
            return Examined("rights", False, f"role {role} is not {word}", f"alter role {role} {word}")
    changing = await tx.fetchval(
        """select r from unnest($1::text[]) r where has_table_privilege(r, 'event', 'update')
             or has_table_privilege(r, 'event', 'delete') or has_table_privilege(r, 'event', 'truncate') limit 1""",
        list(BYPASS),
    )
    if changing:
        mend = f"revoke update, delete, truncate on event from {changing}"
        return Examined("rights", False, f"role {changing} can change the log", mend)
    bare = await tx.fetchval(
        """select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
           where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and not c.relrowsecurity limit 1"""
    )
    mend = f"alter table {bare} enable row level security"
    found = f"table {bare} has no row-level security" if bare else "as they should be"
    return Examined("rights", bare is None, found, mend)


async def _clock(tx: Any) -> Examined:
    offset = abs((await tx.fetchval("select clock_timestamp()") - now()).total_seconds())
    found = f"{offset:.1f} s from the database's"
    return Examined("clock", offset < CLOCK_OFF_MAX_S, found, "synchronise the clocks (NTP)")


async def _cluster(tx: Any) -> Examined:
    elsewhere = await tx.fetchval("select log_from_elsewhere()")
    found = "the log was written by another cluster" if elsewhere else "the log was written here"
    return Examined("transaction ids", not elsewhere, found, "stop everything, then `sentinai log rebase`")


async def _workers(tx: Any) -> Examined:
    rows = await tx.fetch("select consumers from worker_heartbeat where seen_at > now() - interval '15 seconds'")
    if not rows:
        return Examined("workers", False, "0 alive", "start some: `sentinai worker`, or `sentinai up`")
    missing = sorted(set(CONSUMES) - {name for row in rows for name in row["consumers"]})
    found = f"{len(rows)} alive" + (f", nobody runs {', '.join(missing)}" if missing else "")
    return Examined("workers", not missing, found, f"`sentinai worker {' '.join(missing)}`")


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
    return Examined(
        "lag", row["seconds"] < LAG_MAX_S, found, "add workers, or look why they stand still (see `workers`)"
    )


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


EXAMINATIONS: tuple[Callable[[Any], Awaitable[Examined]], ...] = (
    _version,
    _rights,
    _clock,
    _cluster,
    _workers,
    _holder,
    _lag,
    _dead_letters,
    _unknown_calls,
    _active_packs,
)
