"""How is the database reached: as which role, with which timeouts, in which transaction?"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sentinai.errors import Conflict, Rejected, Unavailable

Connection = asyncpg.Connection
"""One of the driver's, inside of a transaction. `messaging/broker.py` says the same, since the two rooms are neighbours."""
LOST = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
)
"""Driver errors that mean: the database is away, try again later."""
REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""Driver errors that mean: it answers, and does not let us in. Only a connection's beginning raises them."""
CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError)
"""Driver errors that mean: another writer was first, read again and retry."""


PLANS_FOR_S = 5.0
"""Plans are kept for so long: tables grow while they are used, and what was best for an empty one is ruinous for a large one."""
WHOLE_TABLE_PLANS = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")


@dataclass(frozen=True, slots=True)
class Role:
    """A database role and the bounds on what it may hold up; a consumer sees nothing newer than the oldest writer."""

    name: str
    statement_timeout_s: int
    idle_in_transaction_timeout_s: int
    connections_max: int
    by_index_only: bool = False
    """All its statements find their rows by key. Plans are made while tables are small and kept while they grow, so the
    planner may not choose what reads whole tables."""


OWNER = Role("", 0, 0, 2)
API = Role("sentinai_api", 15, 10, 8)
INGEST = Role("sentinai_ingest", 15, 10, 2, by_index_only=True)
WORKER = Role("sentinai_worker", 60, 30, 6, by_index_only=True)


class Database:
    """Connections of one role. Writes go over `transaction`, composed queries over `reading`."""

    def __init__(self, url: str, role: Role) -> None:
        self.url = url
        self.role = role
        self._pool: asyncpg.Pool | None = None
        self._planned: dict[int, float] = {}
        """By the server's process id: since when a connection has its plans."""
        self._engine: AsyncEngine | None = None

    async def open(self) -> None:
        """Raises Unavailable when the server cannot be reached."""
        if self._pool is None:
            try:
                self._pool = await asyncpg.create_pool(
                    self.url,
                    min_size=0,
                    max_size=self.role.connections_max,
                    init=_prepare,
                    reset=_keep,
                    server_settings=self._server_settings(),
                    max_inactive_connection_lifetime=120,
                )
            except (*LOST, *REFUSED) as error:
                raise away(error) from error

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    @asynccontextmanager
    async def transaction(self, tenant_id: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        """A read-committed transaction; `tenant_id` opens that tenant's rows to a role under row-level security.

        Raises Unavailable when the database is away, Conflict when another writer was first.
        """
        assert self._pool is not None, "open() first"
        try:
            async with self._pool.acquire() as pooled:
                try:
                    await self._renew_plans(pooled)
                    async with pooled.transaction():
                        if tenant_id is not None:
                            await pooled.execute("select set_config('app.tenant_id', $1, true)", tenant_id)
                        yield cast("asyncpg.Connection[asyncpg.Record]", pooled)
                except (asyncio.CancelledError, *LOST):
                    pooled.terminate()  # broken off in the middle: nobody may go on with it
                    raise
        except CONFLICTS as error:
            raise Conflict("Another writer was first; read again and retry.", constraint=_constraint(error)) from error
        except (*LOST, *REFUSED) as error:
            raise away(error) from error

    @asynccontextmanager
    async def reading(self, tenant_id: str | None) -> AsyncIterator[AsyncConnection]:
        """A SQLAlchemy connection for queries of one tenant (None: for tables without tenants' data only)."""
        if self._engine is None:
            self._engine = create_async_engine(
                "postgresql+asyncpg://",
                async_creator=self._connect,  # the driver knows what an address may say, such as sslmode
                pool_size=self.role.connections_max,
                max_overflow=0,
                pool_timeout=5,
            )
        try:
            async with self._engine.begin() as connection:
                if tenant_id is not None:
                    await connection.execute(
                        text("select set_config('app.tenant_id', :tenant, true)"), {"tenant": tenant_id}
                    )
                yield connection
        except LOST as error:
            raise away(error) from error
        except DBAPIError as error:
            cause = error.orig and error.orig.__cause__
            if isinstance(cause, asyncpg.DataError):
                raise Rejected(
                    "A parameter holds what the database cannot compare, such as a NUL character."
                ) from error
            if error.connection_invalidated or isinstance(cause, (*LOST, *REFUSED)):
                raise away(cause or error) from error
            raise

    async def require_answer(self) -> None:
        """Raises Unavailable when the database is away."""
        async with self.transaction() as tx:
            await tx.execute("select 1")

    async def _renew_plans(self, connection: Any) -> None:
        """See PLANS_FOR_S; a new connection has none yet."""
        now, process = time.monotonic(), connection.get_server_pid()
        if now - self._planned.get(process, now) > PLANS_FOR_S:
            await connection.execute("discard plans")
            self._planned.pop(process, None)
        if process not in self._planned:
            if len(self._planned) > self.role.connections_max * 4:
                self._planned.clear()  # most of these servers are gone
            self._planned[process] = now

    async def dedicated(self) -> asyncpg.Connection:
        """A connection of its own, for LISTEN; the caller closes it."""
        try:
            return await self._connect()
        except (*LOST, *REFUSED) as error:
            raise away(error) from error

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.url, server_settings=self._server_settings())

    def _server_settings(self) -> dict[str, str]:
        settings = {
            "application_name": self.role.name or "sentinai_owner",
            "statement_timeout": f"{self.role.statement_timeout_s}s",
            "idle_in_transaction_session_timeout": f"{self.role.idle_in_transaction_timeout_s}s",
            "lock_timeout": "10s" if self.role.name else "0",
            "jit": "off",
        }
        if self.role.by_index_only:
            settings |= dict.fromkeys(WHOLE_TABLE_PLANS, "off")
        return settings | ({"role": self.role.name} if self.role.name else {})


def away(error: BaseException) -> Unavailable:
    """What to say, and to do, about one of LOST or REFUSED."""
    if isinstance(error, REFUSED):
        return Unavailable(
            f"The database does not let us in: {error}. Correct user, password and database in SENTINAI_DATABASE_URL."
        )
    return Unavailable(
        f"The database does not answer: {error or type(error).__name__}. Is it running? Nothing is lost."
    )


def _constraint(error: asyncpg.PostgresError) -> str | None:
    return getattr(error, "constraint_name", None)


def _same(value: object) -> object:
    return value


async def _prepare(connection: asyncpg.Connection) -> None:
    """JSON travels as the bytes that were stored."""
    await connection.set_type_codec("json", schema="pg_catalog", encoder=_same, decoder=_same, format="binary")


async def _keep(_connection: asyncpg.Connection) -> None:
    """Nothing outlives our transactions (settings are local to them), so a returned connection needs no reset."""
