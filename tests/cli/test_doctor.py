"""Broken installations, made for real: does the doctor name each fault and what mends it?"""

import asyncio
import shutil
from collections import namedtuple
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from system import System, query, started

from sentinai.cli.bench.http import free_port
from sentinai.cli.doctor import Examined, examined
from sentinai.infrastructure.migrate import newest_revision
from sentinai.orchestrator.pipeline import CONSUMES
from sentinai.settings import Settings

BEAT = """insert into worker_heartbeat (worker_id, consumers, host, pid, started_at, seen_at)
  values ('here:1', $1, 'here', 1, now(), now() + interval '1 hour')"""


@pytest.fixture(scope="module")
async def system(fresh_database: Any) -> AsyncIterator[System]:
    async with fresh_database() as url, started(url) as system:
        await query(url, BEAT, list(CONSUMES))
        yield system


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path)


async def look(settings: Settings, url: str) -> dict[str, Examined]:
    """What is not well, by name."""
    found = await asyncio.to_thread(examined, settings, url)
    return {e.what: e for e in found if not e.well}


async def test_a_healthy_installation_has_nothing(system: System, settings: Settings) -> None:
    assert await look(settings, system.url) == {}


BROKEN = {
    "nobody alive": (
        "update worker_heartbeat set seen_at = now() - interval '1 minute'",
        "update worker_heartbeat set seen_at = now() + interval '1 hour'",
        ("workers", "0 alive", "sentinai worker"),
    ),
    "a consumer that nobody runs": (
        "update worker_heartbeat set consumers = array_remove(consumers, 'policy')",
        "update worker_heartbeat set consumers = consumers || 'policy'::text",
        ("workers", "nobody runs policy", "sentinai worker policy"),
    ),
    "older tables": (
        "update alembic_version set version_num = '0001'",
        f"update alembic_version set version_num = '{newest_revision()}'",
        ("database", "tables 0001", "sentinai migrate"),
    ),
    "newer tables": (
        "update alembic_version set version_num = '9999'",
        f"update alembic_version set version_num = '{newest_revision()}'",
        ("database", "tables 9999", "newer program"),
    ),
    "an API that passes the walls between tenants": (
        "alter role sentinai_api bypassrls",
        "alter role sentinai_api nobypassrls",
        ("rights", "sentinai_api is not nobypassrls", "alter role sentinai_api nobypassrls"),
    ),
    "workers that see no tenant": (
        "alter role sentinai_worker nobypassrls",
        "alter role sentinai_worker bypassrls",
        ("rights", "sentinai_worker is not bypassrls", "alter role sentinai_worker bypassrls"),
    ),
    "a role that can change the log": (
        "grant delete on event to sentinai_worker",
        "revoke delete on event from sentinai_worker",
        ("rights", "sentinai_worker can change the log", "revoke update, delete, truncate on event"),
    ),
    "a table without its wall": (
        "alter table approval disable row level security",
        "alter table approval enable row level security",
        ("rights", "approval has no row-level security", "alter table approval enable"),
    ),
    "another cluster's log": (
        "update consumer_cursor set xid = '9000000000' where consumer = 'intake' and partition = 0",
        "update consumer_cursor set xid = '0', position = 0 where consumer = 'intake' and partition = 0",
        ("transaction ids", "another cluster", "sentinai log rebase"),
    ),
    "a dead letter": (
        """insert into parked (tenant_id, consumer, stream, sequence, dead_letter_id, type, state, parked_at)
           values ('acme', 'triage', 'exception/x', 1, gen_random_uuid(), 'ExceptionNormalized', 'dead', now())""",
        "delete from parked",
        ("dead letters", "1", "sentinai dead-letters list"),
    ),
    "a call of unknown end": (
        """insert into tool_execution (tenant_id, execution_id, stream, tool, input, status, requested_by, requested_at)
           values ('acme', gen_random_uuid(), 'x', 'refund', '{}', 'UNKNOWN', 'user:x', now())""",
        "delete from tool_execution",
        ("tool calls of unknown end", "1", "ask the tool's owner"),
    ),
    "a tenant without packs": (
        "insert into tenant (tenant_id, name, created_at) values ('bare', 'Bare', now())",
        "delete from tenant where tenant_id = 'bare'",
        ("tenants without packs", "1", "sentinai packs import"),
    ),
    "events that nobody takes": (
        """insert into event (tenant_id, stream, sequence, event_id, type, schema_version, topic, partition, handled,
             occurred_at, actor, payload, hash) values ('acme', 'exception/x', 1, gen_random_uuid(), 'ExceptionIngested', 1,
             'exceptions.ingested', 1, false, now() - interval '5 minutes', 'user:x', '{}', '')""",
        "delete from event where stream = 'exception/x'",
        ("lag", "the oldest 30", "add workers"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_installation_is_told_with_its_mend(system: System, settings: Settings, name: str) -> None:
    spoil, mend, (what, found, advice) = BROKEN[name]
    await query(system.url, spoil)
    try:
        finding = (await look(settings, system.url))[what]
    finally:
        await query(system.url, mend)
    assert found in finding.found
    assert advice in finding.mend
    assert await look(settings, system.url) == {}


async def test_whoever_holds_the_log_back_is_named(
    system: System, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentinai.cli.doctor.OLD_TRANSACTION_S", 0)
    holder = await asyncpg.connect(system.url, server_settings={"application_name": "somebody"})
    try:
        async with holder.transaction():
            pid = await holder.fetchval("select pg_backend_pid() from pg_current_xact_id()")
            finding = (await look(settings, system.url))["log held back"]
    finally:
        await holder.close()
    assert f"process {pid} (somebody)" in finding.found
    assert finding.mend == f"end it: select pg_terminate_backend({pid})"


async def test_files_with_secrets_that_others_can_read(system: System, settings: Settings) -> None:
    file = settings.data_dir / "signing.key"
    file.touch(mode=0o644)
    finding = (await look(settings, system.url))["files with secrets"]
    assert (finding.found, finding.mend) == (f"others can read {file}", f"chmod 600 {file}")


async def test_a_full_disk(system: System, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 990, 10))
    finding = (await look(settings, system.url))["disk"]
    assert (finding.found, finding.mend[:9]) == ("1% free", "make room")


async def test_a_clock_that_is_off(system: System, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from sentinai.bootstrap import now

    monkeypatch.setattr("sentinai.cli.doctor.now", lambda: now() - timedelta(minutes=5))
    finding = (await look(settings, system.url))["clock"]
    assert finding.found.startswith("300")
    assert "NTP" in finding.mend


@pytest.mark.parametrize(
    ("wrong", "found"),
    [("127.0.0.1:1/none", "does not answer|is away"), ("?", "none_such")],
    ids=["away", "no database"],
)
async def test_a_database_that_cannot_be_used(system: System, settings: Settings, wrong: str, found: str) -> None:
    import re

    url = f"postgresql://postgres@{wrong}" if wrong != "?" else re.sub(r"sentinai_test_\w+", "none_such", system.url)
    finding = (await look(settings, url))["database"]
    assert re.search(found, finding.found)
    assert "SENTINAI_DATABASE_URL" in finding.mend


async def test_tables_that_are_not_there(system: System, settings: Settings) -> None:
    await query(system.url, "create database sentinai_test_bare")
    try:
        import re

        finding = (await look(settings, re.sub(r"sentinai_test_\w+", "sentinai_test_bare", system.url)))["database"]
    finally:
        await query(system.url, "drop database sentinai_test_bare with (force)")
    assert "not there" in finding.found
    assert "sentinai migrate" in finding.mend


async def test_a_kafka_that_is_away(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinai.messaging.topics.TIMEOUT_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    settings = Settings(_env_file=None, data_dir=tmp_path, broker="kafka", kafka_bootstrap_servers=address)
    finding = (await look(settings, system.url))["kafka"]
    assert address in finding.found
    assert "start it" in finding.mend
