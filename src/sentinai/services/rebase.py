"""What if the database was restored from a dump into a new cluster? Its transaction ids begin again.

The log is read in the order of transaction ids, so what is written there would sort before what the cursors have passed and
never be delivered. `require_own_cluster` refuses to run then, `rebase` repairs it.
"""

import asyncpg

from sentinai.errors import Rejected
from sentinai.infrastructure.database import Database
from sentinai.messaging.rebase import anybody_connected, give_new_places, is_from_elsewhere
from sentinai.orchestrator.pipeline import CONSUMER_OF


async def require_own_cluster(database: Database) -> None:
    """Raises Rejected, with the fix, for a log that another cluster wrote, or a database without today's tables."""
    try:
        async with database.transaction() as tx:
            from_elsewhere = await is_from_elsewhere(tx)
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
        if await anybody_connected(tx):
            raise Rejected("The API or workers are connected to this database: stop all of them first.")


async def rebase(owner: Database) -> int:
    """Give the events places that every later one comes after; returns how many wait to be delivered.

    What consumers have passed is marked handled, what the relay has passed gets the lowest transaction id; an exception's
    events keep their order by position. All or nothing; nobody else may be connected. Raises Rejected when not needed.
    """
    async with owner.transaction() as tx:
        if not await is_from_elsewhere(tx):
            raise Rejected("The log belongs to this cluster; there is nothing to rebase.")
        return await give_new_places(tx, CONSUMER_OF)
