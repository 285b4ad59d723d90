"""How are the tables brought to the version this code needs?"""

import asyncio
import time
from importlib.resources import files

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from sentinai.errors import Rejected
from sentinai.infrastructure.database import LOST, REFUSED, away

VERSION_MIN = 150000
LOCK = 7733000
"""Advisory lock: of several processes that start at once, one migrates and the others wait."""

LOCK_EVERY_S = 0.1


async def migrate(url: str) -> None:
    """Apply what is missing; a no-op on an up-to-date database.

    Raises Unavailable when the server does not answer, Rejected for one that is too old or does not allow it.
    """
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade)
            await connection.commit()
    except OSError as error:
        raise away(error) from error
    except DBAPIError as error:
        cause = error.orig and error.orig.__cause__
        if isinstance(cause, (*LOST, *REFUSED)):
            raise away(cause) from error
        raise Rejected(f"The database could not be migrated: {_cause(error)}") from error
    finally:
        await engine.dispose()


async def build_index(url: str, name: str, on: str) -> None:
    """While the table is written to; a no-op where it is there already. One whose building broke off is built anew."""
    connection = await asyncpg.connect(url)
    try:
        while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110 - see below
            await asyncio.sleep(LOCK_EVERY_S)
        if not await connection.fetchval("select indisvalid from pg_index where indexrelid = to_regclass($1)", name):
            await connection.execute(f"drop index concurrently if exists {name}")
            await connection.execute(f"create index concurrently {name} on {on}")
    finally:
        await connection.close()


def newest_revision() -> str:
    """Of the tables that this program knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("sentinai.infrastructure") / "migrations"))
    return config


def _upgrade(connection: Connection) -> None:
    version = connection.exec_driver_sql("select current_setting('server_version_num')::int").scalar_one()
    if version < VERSION_MIN:
        raise Rejected(f"PostgreSQL {version // 10000} is too old; 15 or newer is needed.")
    while not connection.exec_driver_sql(f"select pg_try_advisory_lock({LOCK})").scalar_one():
        connection.commit()  # whoever waited inside a statement would keep the other one's indexes from being built
        time.sleep(LOCK_EVERY_S)
    connection.commit()
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.exec_driver_sql(f"select pg_advisory_unlock({LOCK})")


def _cause(error: DBAPIError) -> str:
    text = str(error.orig)
    if "bypassrls" in text.lower():
        return (
            "this user may not create roles that bypass row-level security. Have a superuser run, once: "
            "create role sentinai_worker nologin bypassrls; create role sentinai_ingest nologin bypassrls; "
            "create role sentinai_api nologin; and grant the three to this user."
        )
    return text.splitlines()[0]
