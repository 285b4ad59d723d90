"""What if the database was restored from a dump into a new cluster? Its transaction ids begin again.

The log is read in the order of transaction ids, so what is written there would sort before what the cursors have passed and
never be delivered. `require_own_cluster` refuses to run then, `rebase` mends it.
"""

import asyncpg

from sentinai.errors import Rejected
from sentinai.infrastructure.database import Database
from sentinai.messaging.broker import RELAY, Connection
from sentinai.orchestrator.pipeline import CONSUMER_OF

_FROM_ELSEWHERE = "select log_from_elsewhere()"
_ANYBODY = """select count(*) from pg_stat_activity
  where datname = current_database() and application_name in ('sentinai_api', 'sentinai_ingest', 'sentinai_worker')"""
_LOCK = "lock table event, consumer_cursor in exclusive mode"
_PASSED = """update event e set handled = true
  where not e.handled and not exists (select from consumer_cursor k, unnest($1::text[], $2::text[]) c(type, consumer)
    where c.type = e.type and k.consumer = c.consumer and k.topic = e.topic and k.partition = e.partition
      and (e.xid, e.position) > (k.xid, k.position)
      and not exists (select from tenant_cursor a where a.consumer = k.consumer and a.topic = k.topic
        and a.partition = k.partition and a.tenant_id = e.tenant_id and (e.xid, e.position) <= (a.xid, a.position)))"""
_RELAYED = """update event e set xid = case when exists (select from consumer_cursor k where k.consumer = $1
    and k.topic = e.topic and k.partition = e.partition and (e.xid, e.position) <= (k.xid, k.position))
  then '1'::xid8 else '2'::xid8 end"""
_ROWS = "update exception set log_xid = '2'"
_BEGINNING = "update consumer_cursor set xid = '0', position = 0 where consumer <> $1"
_NOBODY_AHEAD = "delete from tenant_cursor"
_AFTER_RELAYED = "update consumer_cursor set xid = '1', position = 9223372036854775807 where consumer = $1"


async def require_own_cluster(database: Database) -> None:
    """Raises Rejected, with the mend, for a log that another cluster wrote, or a database without today's tables."""
    try:
        async with database.transaction() as tx:
            from_elsewhere = await tx.fetchval(_FROM_ELSEWHERE)
    except (asyncpg.UndefinedFunctionError, asyncpg.InvalidParameterValueError) as error:
        raise Rejected("The database does not have the tables of this version: run `sentinai migrate`.") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise Rejected(
            f"The database's user may not act as {database.role.name}: {error}. Have a superuser run, once: "
            f"grant {database.role.name} to that user."
        ) from error
    if from_elsewhere:
        raise Rejected(
            "This database was restored into another PostgreSQL cluster, whose transaction ids are behind those of the "
            "log: new events would never be delivered. Run `sentinai log rebase` once, before anything else."
        )


async def require_nobody_else(owner: Database) -> None:
    """Raises Rejected while an API or a worker is connected."""
    async with owner.transaction() as tx:
        if await tx.fetchval(_ANYBODY):
            raise Rejected("The API or workers are connected to this database: stop all of them first.")


async def rebase(owner: Database) -> int:
    """Give the events places that every later one comes after; returns how many wait to be delivered.

    What consumers have passed is marked handled, what the relay has passed gets the lowest transaction id; an exception's
    events keep their order by position. All or nothing; nobody else may be connected. Raises Rejected when not needed.
    """
    async with owner.transaction() as tx:
        if not await tx.fetchval(_FROM_ELSEWHERE):
            raise Rejected("The log belongs to this cluster; there is nothing to rebase.")
        await tx.execute(_LOCK)
        await tx.execute(_PASSED, list(CONSUMER_OF), list(CONSUMER_OF.values()))
        await tx.execute(_RELAYED, RELAY)
        await tx.execute(_BEGINNING, RELAY)
        await tx.execute(_NOBODY_AHEAD)
        await tx.execute(_ROWS)
        await tx.execute(_AFTER_RELAYED, RELAY)
        return await _waiting(tx)


async def _waiting(tx: Connection) -> int:
    return int(await tx.fetchval("select count(*) from event where not handled"))
