"""How do events get places that every later one comes after, where another cluster gave them theirs?"""

from collections.abc import Mapping

from sentinai.messaging.broker import RELAY, Connection

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
_WAITING = "select count(*) from event where not handled"


async def is_from_elsewhere(tx: Connection) -> bool:
    """Whether another cluster, whose transaction ids were further, wrote the log."""
    return bool(await tx.fetchval(_FROM_ELSEWHERE))


async def anybody_connected(tx: Connection) -> bool:
    """Whether an API or a worker is."""
    return bool(await tx.fetchval(_ANYBODY))


async def give_new_places(tx: Connection, consumer_of: Mapping[str, str]) -> int:
    """Of all tenants' events; `consumer_of` names each type's consumer. Returns how many wait to be delivered.

    What consumers have passed is marked handled, what the relay has passed gets the lowest transaction id; an exception's
    events keep their order by position.
    """
    await tx.execute(_LOCK)
    await tx.execute(_PASSED, list(consumer_of), list(consumer_of.values()))
    await tx.execute(_RELAYED, RELAY)
    await tx.execute(_BEGINNING, RELAY)
    await tx.execute(_NOBODY_AHEAD)
    await tx.execute(_ROWS)
    await tx.execute(_AFTER_RELAYED, RELAY)
    return int(await tx.fetchval(_WAITING))
