"""`sentinai doctor`: what is wrong with this installation, and how is it fixed?"""

import asyncio
import shutil
import stat
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import asyncpg
import typer

from sentinai.bootstrap import check_topics, now, opened
from sentinai.cli.output import table, told_plainly
from sentinai.cli.retention import KEY_FILE
from sentinai.cli.serve import required_url
from sentinai.errors import SentinaiError, Unavailable
from sentinai.infrastructure.database import OWNER, REFUSED, Connection, Database
from sentinai.infrastructure.migrate import newest_revision
from sentinai.messaging.broker import RELAY
from sentinai.settings import Settings, load_settings
from sentinai.workers.catalog import STAGES

FREE_DISK_MIN = 0.05
OLD_TRANSACTION_S = 30
CLOCK_OFF_MAX_S = 2.0
LAG_MAX_S = 60
TOPIC_FINDINGS_SHOWN = 5
SECRET_FILES = ("first-keys.json", KEY_FILE)
BYPASS = {"sentinai_api": False, "sentinai_worker": True, "sentinai_ingest": True}
"""Which role may pass row-level security."""

_MAY_BE = """select pg_has_role(current_user, $1,
  case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end)"""


class Found(NamedTuple):
    """`fix` says what to do when something is not well."""

    well: bool
    found: str
    fix: str = ""


class Examined(NamedTuple):
    """One thing looked at, and what was found."""

    what: str
    well: bool
    found: str
    fix: str = ""


Examine = Callable[[Connection], Awaitable[Found]]


def doctor() -> None:
    """Say what is wrong with this installation, and how to fix it. Exit code 1 when something is."""
    with told_plainly():
        settings = load_settings()
        found = examined(settings, required_url(settings))
        rows = [("✓" if e.well else "✗", e.what, e.found, "" if e.well else e.fix) for e in found]
        table("What the doctor found", ("", "what", "found", "fix"), rows)
        if not all(e.well for e in found):
            raise typer.Exit(1)


def examined(settings: Settings, url: str) -> list[Examined]:
    """Everything that can be looked at; one thing that breaks hides none of the others."""
    return [_disk(settings), _secret_files(settings), *asyncio.run(_database(settings, url)), *_kafka(settings)]


def _secret_files(settings: Settings) -> Examined:
    files = [settings.data_dir / name for name in SECRET_FILES]
    if settings.secrets_dir is not None and settings.secrets_dir.is_dir():
        files += settings.secrets_dir.iterdir()
    open_files = [f for f in files if f.is_file() and f.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    found = f"others can read {open_files[0]}" if open_files else "closed to others"
    fix = f"chmod 600 {' '.join(map(str, open_files))}"
    return Examined("files with secrets", not open_files, found, fix)


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
                "start it, or correct the setting; until it answers, events are read from the log",
            )
        ]
    if not findings:
        return [Examined("kafka", True, "all topics as planned")]
    return [Examined("kafka", False, *finding.partition(": ")[::2]) for finding in findings[:TOPIC_FINDINGS_SHOWN]]


async def _database(settings: Settings, url: str) -> list[Examined]:
    """The tables first: where they are not as they should be, the rest cannot be looked at."""
    async with opened(url, OWNER) as database:
        results = [await _examined(database, "database", _version)]
        if results[0].well:
            results += [await _examined(database, what, examine) for what, examine in _examinations(settings)]
        return results


async def _examined(database: Database, what: str, examine: Examine) -> Examined:
    """A look that breaks is a finding, and hides none of the others."""
    try:
        async with database.transaction() as tx:
            return Examined(what, *await examine(tx))
    except SentinaiError as error:
        answered = isinstance(error.__cause__, REFUSED)
        fix = "correct SENTINAI_DATABASE_URL" if answered else "start it, or correct SENTINAI_DATABASE_URL"
        return Examined(what, False, error.message, fix)
    except asyncpg.InsufficientPrivilegeError as error:
        return Examined(what, False, str(error), "run it as the user who owns the tables: SENTINAI_DATABASE_URL")
    except asyncpg.PostgresError as error:
        return Examined(
            what, False, f"could not be looked at: {error}", "fix what the database says; its log says more"
        )


async def _version(tx: Connection) -> Found:
    version, newest = await tx.fetchval("select current_setting('server_version')"), newest_revision()
    there = await tx.fetchval("select to_regclass('alembic_version')")
    tables = await tx.fetchval("select version_num from alembic_version") if there else None
    found = f"PostgreSQL {version}, tables {tables or 'not there'}"
    if tables is not None and tables > newest:
        return Found(False, f"{found}, this program knows {newest}", "run the newer program's version")
    return Found(tables == newest, found, f"`sentinai migrate` brings the tables to {newest}")


async def _rights(tx: Connection) -> Found:
    """The walls between tenants, and around the log, are rights in the database."""
    roles = {r["rolname"]: r["rolbypassrls"] for r in await tx.fetch("select rolname, rolbypassrls from pg_roles")}
    for role, bypasses in BYPASS.items():
        if role not in roles:
            kind = "bypassrls" if bypasses else ""
            return Found(False, f"there is no role {role}", f"create role {role} nologin {kind}".strip())
        if roles[role] != bypasses:
            word = "bypassrls" if bypasses else "nobypassrls"
            return Found(False, f"role {role} is not {word}", f"alter role {role} {word}")
        if not await tx.fetchval(_MAY_BE, role):
            user = await tx.fetchval("select current_user")
            return Found(False, f"user {user} may not act as {role}", f"grant {role} to {user}")
    changing = await tx.fetchval(
        """select r from unnest($1::text[]) r where has_table_privilege(r, 'event', 'update')
             or has_table_privilege(r, 'event', 'delete') or has_table_privilege(r, 'event', 'truncate') limit 1""",
        list(BYPASS),
    )
    if changing:
        fix = f"revoke update, delete, truncate on event from {changing}"
        return Found(False, f"role {changing} can change the log", fix)
    bare = await tx.fetchval(
        """select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
           where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and not c.relrowsecurity limit 1"""
    )
    fix = f"alter table {bare} enable row level security"
    found = f"table {bare} has no row-level security" if bare else "as they should be"
    return Found(bare is None, found, fix)


async def _clock(tx: Connection) -> Found:
    offset = abs((await tx.fetchval("select clock_timestamp()") - now()).total_seconds())
    found = f"{offset:.1f} s from the database's"
    return Found(offset < CLOCK_OFF_MAX_S, found, "synchronise the clocks (NTP)")


async def _cluster(tx: Connection) -> Found:
    elsewhere = await tx.fetchval("select log_from_elsewhere()")
    found = "the log was written by another cluster" if elsewhere else "the log was written here"
    return Found(not elsewhere, found, "stop everything, then `sentinai log rebase`")


async def _workers(tx: Connection, wanted: Sequence[str]) -> Found:
    rows = await tx.fetch("select consumers from worker_heartbeat where seen_at > now() - interval '15 seconds'")
    if not rows:
        return Found(False, "0 alive", "start some: `sentinai worker`, or `sentinai up`")
    missing = sorted(set(wanted) - {name for row in rows for name in row["consumers"]})
    found = f"{len(rows)} alive" + (f", nobody runs {', '.join(missing)}" if missing else "")
    return Found(not missing, found, "; ".join(f"`sentinai worker {name}`" for name in missing))


async def _holder(tx: Connection) -> Found:
    row = await tx.fetchrow("select pid, application_name, seconds::int from log_holder()")
    if row is None or row["seconds"] < OLD_TRANSACTION_S:
        return Found(True, "by nobody")
    who = f"by process {row['pid']} ({row['application_name']}) for {row['seconds']} s"
    return Found(False, who, f"end it: select pg_terminate_backend({row['pid']})")


async def _lag(tx: Connection) -> Found:
    row = await tx.fetchrow(
        """select count(*) as events, coalesce(extract(epoch from now() - min(e.occurred_at)), 0)::int as seconds
           from consumer_cursor k join event e on e.topic = k.topic and e.partition = k.partition and not e.handled
             and (e.xid, e.position) > (k.xid, k.position) where k.consumer <> 'relay'"""
    )
    assert row is not None, "a count is always there"
    found = f"{row['events']} events wait, the oldest {row['seconds']} s"
    return Found(row["seconds"] < LAG_MAX_S, found, "add workers, or look why they stand still (see `workers`)")


async def _dead_letters(tx: Connection) -> Found:
    count = await tx.fetchval("select count(*) from parked where state = 'dead'")
    return Found(count == 0, str(count), "`sentinai dead-letters list`, fix the cause, then retry or discard")


async def _unknown_calls(tx: Connection) -> Found:
    """Those that still concern somebody: a person who completes the step, or resolves the exception, has settled it."""
    count = await tx.fetchval(
        """select count(*) from tool_execution t left join exception e
             on e.tenant_id = t.tenant_id and e.exception_id = t.exception_id
           where t.status = 'UNKNOWN' and coalesce(e.status, 'OPEN') <> 'RESOLVED'
             and coalesce(e.state::jsonb -> 'calls' -> t.execution_id::text ->> 'settled', 'false') <> 'true'"""
    )
    fix = "ask the tool's owner what happened, then complete or skip the step"
    return Found(count == 0, str(count), fix)


async def _active_packs(tx: Connection) -> Found:
    bare = await tx.fetchval(
        """select count(*) from tenant t where tenant_id <> 'platform'
           and not exists (select from active_config a where a.tenant_id = t.tenant_id and a.active)"""
    )
    return Found(bare == 0, str(bare), "import and activate: `sentinai packs import`")


async def _relay(tx: Connection) -> Found:
    from sentinai.messaging.relay import is_prepared, relay_lag  # loads Kafka's client

    if not await is_prepared(tx):
        return Found(False, "the database is not prepared for it", "`sentinai migrate` with SENTINAI_BROKER=kafka")
    seconds = await tx.fetchval(
        """select coalesce(extract(epoch from now() - min(e.occurred_at)), 0)::int from consumer_cursor k
           cross join lateral (select occurred_at from event e where e.topic = k.topic and e.partition = k.partition
             and (e.xid, e.position) > (k.xid, k.position) order by e.xid, e.position limit 1) e where k.consumer = $1""",
        RELAY,
    )
    found = f"{await relay_lag(tx)} events are not in Kafka yet, the oldest for {seconds} s"
    return Found(seconds < LAG_MAX_S, found, "`sentinai worker relay`; its log says what Kafka said")


def _examinations(settings: Settings) -> list[tuple[str, Examine]]:
    kafka = settings.broker == "kafka"
    found: list[tuple[str, Examine]] = [
        ("rights", _rights),
        ("clock", _clock),
        ("transaction ids", _cluster),
        ("workers", partial(_workers, wanted=(*STAGES, RELAY) if kafka else STAGES)),
        ("log held back", _holder),
        ("lag", _lag),
        ("dead letters", _dead_letters),
        ("tool calls of unknown end", _unknown_calls),
        ("tenants without packs", _active_packs),
    ]
    return [*found, ("relay", _relay)] if kafka else found
