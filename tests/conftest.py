"""Which database do the tests run on? Their own server, or SENTINAI_TEST_DATABASE_URL; a fresh database per module."""

import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import settings as hypothesis_settings
from kafka_server import CannotRunKafka, KafkaServer
from sqlalchemy.engine import make_url
from system import System, started

from sentinai.bootstrap import prepare_database
from sentinai.infrastructure.embedded import EmbeddedServer

hypothesis_settings.register_profile("sentinai", deadline=None)
hypothesis_settings.load_profile("sentinai")

FAST = {"fsync": "off", "full_page_writes": "off"}
"""Tests kill processes, not machines: what the kernel has been given survives that."""


async def migrate(dsn: str) -> None:
    """Give a new database its tables; every test module's database is a copy of the one this was run on."""
    await prepare_database(dsn)


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A server whose user may create databases and roles."""
    given = os.environ.get("SENTINAI_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Not pytest's own folder: another pytest that starts meanwhile closes it to the server's user.
    with (
        tempfile.TemporaryDirectory(prefix="sentinai-test-") as folder,
        EmbeddedServer(Path(folder), overrides=FAST) as server,
    ):
        yield server.dsn


@pytest.fixture(scope="session")
async def migrated_template(postgres_dsn: str) -> AsyncIterator[str]:
    """Name of a database with tables and no rows; nobody stays connected to it, so it can be copied."""
    name = f"sentinai_test_template_{secrets.token_hex(4)}"
    await _execute(postgres_dsn, f"create database {name}")
    await migrate(_with_database(postgres_dsn, name))
    yield name
    await _execute(postgres_dsn, f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def fresh_database(postgres_dsn: str, migrated_template: str) -> Any:
    """A context manager that gives a migrated, empty database of one's own."""

    @asynccontextmanager
    async def fresh() -> AsyncIterator[str]:
        name = f"sentinai_test_{secrets.token_hex(6)}"
        await _execute(postgres_dsn, f"create database {name} template {migrated_template}")
        yield _with_database(postgres_dsn, name)
        await _execute(postgres_dsn, f"drop database {name} with (force)")

    return fresh


@pytest.fixture(scope="session")
def own_broker() -> Any:
    """A context manager that runs a Kafka of one's own. Skips where there can be none; required where CI=true."""

    @contextmanager
    def running(server: KafkaServer) -> Iterator[KafkaServer]:
        try:
            server.start()
        except CannotRunKafka as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        yield server
        server.kill()

    return running


@pytest.fixture(scope="session")
def kafka(own_broker: Any) -> Iterator[str]:
    """Bootstrap address of a real Kafka: SENTINAI_TEST_KAFKA, or one of our own."""
    given = os.environ.get("SENTINAI_TEST_KAFKA")
    if given:
        yield given
        return
    with (
        tempfile.TemporaryDirectory(prefix="sentinai-kafka-", ignore_cleanup_errors=True) as folder,
        own_broker(KafkaServer(Path(folder))) as server,
    ):
        yield server.bootstrap


@pytest.fixture(scope="module")
async def database_dsn(fresh_database: Any) -> AsyncIterator[str]:
    """A database of this module's own, migrated and empty."""
    async with fresh_database() as url:
        yield url


def _with_database(dsn: str, name: str) -> str:
    return make_url(dsn).set(database=name).render_as_string(hide_password=False)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def system(database_dsn: str) -> AsyncIterator[System]:
    """Two tenants with the tests' packs; the workers move only when a test says so."""
    async with started(database_dsn) as running:
        yield running
