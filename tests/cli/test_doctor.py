"""Broken installations, made for real: does the doctor name each fault and what fixes it?"""

import asyncio
import secrets
import shutil
from collections import namedtuple
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from system import System, query, started

from sentinai.bootstrap import prepare_database
from sentinai.cli.doctor import Examined, examined
from sentinai.cli.ports import free_port
from sentinai.infrastructure.migrate import newest_revision
from sentinai.settings import Settings
from sentinai.workers.catalog import STAGES

BEAT = """insert into worker_heartbeat (worker_id, consumers, host, pid, started_at, seen_at)
  values ('here:1', $1, 'here', 1, now(), now() + interval '1 hour')"""


@pytest.fixture(scope="module")
async def system(fresh_database: Any) -> AsyncIterator[System]:
    async with fresh_database() as url, started(url) as system:
        await query(url, BEAT, list(STAGES))
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
    "timers that nobody runs": (
        "update worker_heartbeat set consumers = array_remove(consumers, 'sla')",
        "update worker_heartbeat set consumers = consumers || 'sla'::text",
        ("workers", "nobody runs sla", "sentinai worker sla"),
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
async def test_a_broken_installation_is_told_with_its_fix(system: System, settings: Settings, name: str) -> None:
    spoil, fix, (what, found, advice) = BROKEN[name]
    await query(system.url, spoil)
    try:
        finding = (await look(settings, system.url))[what]
    finally:
        await query(system.url, fix)
    assert found in finding.found
    assert advice in finding.fix
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
    assert finding.fix == f"end it: select pg_terminate_backend({pid})"


async def test_files_with_secrets_that_others_can_read(system: System, settings: Settings) -> None:
    file = settings.data_dir / "signing.key"
    file.touch(mode=0o644)
    finding = (await look(settings, system.url))["files with secrets"]
    assert (finding.found, finding.fix) == (f"others can read {file}", f"chmod 600 {file}")


async def test_a_full_disk(system: System, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 990, 10))
    finding = (await look(settings, system.url))["disk"]
    assert (finding.found, finding.fix[:9]) == ("1% free", "make room")


async def test_a_clock_that_is_off(system: System, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from sentinai.bootstrap import now

    monkeypatch.setattr("sentinai.cli.doctor.now", lambda: now() - timedelta(minutes=5))
    finding = (await look(settings, system.url))["clock"]
    assert finding.found.startswith("300")
    assert "NTP" in finding.fix


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"host": "127.0.0.1", "port": 1, "query": {}}, "does not answer"),
        ({"database": "none_such"}, "does not let us in"),
        ({"username": "no_such_user"}, "does not let us in"),
    ],
    ids=["away", "no database", "no user"],
)
async def test_a_database_that_cannot_be_used(
    system: System, settings: Settings, wrong: dict[str, Any], found: str
) -> None:
    url = make_url(system.url).set(**wrong).render_as_string(hide_password=False)
    finding = (await look(settings, url))["database"]
    assert found in finding.found
    assert "SENTINAI_DATABASE_URL" in finding.fix
    assert ("start it" in finding.fix) is ("does not answer" in found), "it has been started where it answers"


async def test_tables_that_are_not_there(system: System, settings: Settings) -> None:
    await query(system.url, "create database sentinai_test_bare")
    try:
        import re

        finding = (await look(settings, re.sub(r"sentinai_test_\w+", "sentinai_test_bare", system.url)))["database"]
    finally:
        await query(system.url, "drop database sentinai_test_bare with (force)")
    assert "not there" in finding.found
    assert "sentinai migrate" in finding.fix


async def test_a_kafka_that_is_away(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinai.messaging.topics.TIMEOUT_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    settings = Settings(_env_file=None, data_dir=tmp_path, broker="kafka", kafka_bootstrap_servers=address)
    finding = (await look(settings, system.url))["kafka"]
    assert address in finding.found
    assert "start it" in finding.fix


@pytest.fixture
async def user_without_roles(system: System) -> AsyncIterator[str]:
    """Owns nothing, and may act as none of our roles; the address with it."""
    await query(system.url, "create role sentinai_test_plain login in role pg_read_all_data")
    yield make_url(system.url).set(username="sentinai_test_plain").render_as_string(hide_password=False)
    await query(system.url, "drop role sentinai_test_plain")


async def test_a_user_that_may_not_act_as_our_roles(
    system: System, settings: Settings, user_without_roles: str
) -> None:
    finding = (await look(settings, user_without_roles))["rights"]
    assert finding.found == "user sentinai_test_plain may not act as sentinai_api"
    assert finding.fix == "grant sentinai_api to sentinai_test_plain"


async def test_a_user_that_may_not_even_look(system: System, settings: Settings) -> None:
    await query(system.url, "create role sentinai_test_blind login")
    try:
        url = make_url(system.url).set(username="sentinai_test_blind").render_as_string(hide_password=False)
        finding = (await look(settings, url))["database"]
    finally:
        await query(system.url, "drop role sentinai_test_blind")
    assert "permission denied" in finding.found
    assert "owns the tables" in finding.fix


async def test_an_examination_that_breaks_hides_no_other(system: System, settings: Settings) -> None:
    await query(system.url, "alter function log_from_elsewhere rename to elsewhere")
    await query(system.url, "alter table parked rename to stopped")
    try:
        found = await look(settings, system.url)
    finally:
        await query(system.url, "alter function elsewhere rename to log_from_elsewhere")
        await query(system.url, "alter table stopped rename to parked")
    assert set(found) == {"transaction ids", "dead letters"}
    assert "could not be looked at" in found["dead letters"].found


async def test_a_relay_that_is_missing_or_behind(system: System, kafka: str, tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        broker="kafka",
        kafka_bootstrap_servers=kafka,
        kafka_prefix=f"doctor-{secrets.token_hex(4)}.",
    )
    found = await look(settings, system.url)
    assert "nobody runs relay" in found["workers"].found
    assert "sentinai migrate" in found["relay"].fix
    await prepare_database(system.url, settings)
    try:
        await query(system.url, BEAT.replace("here:1", "here:2"), ["relay"])
        await query(system.url, "update event set occurred_at = now() - interval '5 minutes'")
        found = await look(settings, system.url)
        assert set(found) == {"relay"}
        assert found["relay"].found.endswith("events are not in Kafka yet, the oldest for 300 s")
        assert "sentinai worker relay" in found["relay"].fix
    finally:
        await query(system.url, "delete from worker_heartbeat where worker_id = 'here:2'")
        await query(system.url, "delete from consumer_cursor where consumer = 'relay'")
