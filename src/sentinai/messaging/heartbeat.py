"""Which processes run consumers, and when was each last seen?"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.messaging.broker import Connection

_BEAT = """insert into worker_heartbeat (worker_id, consumers, host, pid, health_port, started_at, seen_at, handled)
  values ($1, $2, $3, $4, $5, $6, $7, $8)
  on conflict (worker_id) do update set seen_at = excluded.seen_at, handled = excluded.handled"""
_BURY = "delete from worker_heartbeat where worker_id = $1 or seen_at < $2::timestamptz - interval '1 day'"
_SEEN = text("""select worker_id, consumers, host, pid, health_port, started_at, seen_at, handled,
  seen_at > now() - interval '15 seconds' as alive from worker_heartbeat order by started_at""")


class Process(NamedTuple):
    """A process that runs consumers, in the order of the insert's columns."""

    worker_id: str
    consumers: Sequence[str]
    host: str
    pid: int
    health_port: int | None
    started_at: datetime


class Seen(msgspec.Struct, frozen=True):
    """A process, and when it last said that it is there."""

    worker_id: str
    consumers: list[str]
    host: str
    pid: int
    health_port: int | None
    started_at: datetime
    seen_at: datetime
    handled: int
    """Events since it started."""
    alive: bool


async def beat(tx: Connection, process: Process, now: datetime, handled: int) -> None:
    """It is there, and has handled so many events."""
    await tx.execute(_BEAT, *process, now, handled)


async def bury(tx: Connection, worker_id: str, now: datetime) -> None:
    """It ends; those that were not seen for a day have ended without saying so."""
    await tx.execute(_BURY, worker_id, now)


async def seen_processes(connection: AsyncConnection) -> list[Seen]:
    """The longest running first. Nothing of any tenant is in them."""
    return [Seen(**dict(row)) for row in (await connection.execute(_SEEN)).mappings()]
