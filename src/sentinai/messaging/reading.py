"""How do rows of the log become what a consumer takes: in which order, and how far?"""

from collections.abc import Callable, Hashable, Sequence

import asyncpg

from sentinai.messaging.broker import Ahead, Place

_BYTES = """case when pg_column_compression(r.payload) is null then pg_column_size(r.payload)
    else octet_length(r.payload::text) end"""
"""What is stored compressed has to be unpacked to be measured."""


def within(bytes_max: str, rows: str) -> str:
    """The statement whose rows are the first of `rows`, a query of events, in the order of the log, up to `bytes_max` of payload.

    `through` is how many bytes the row and those before it have.
    """
    return f"""select * from (select r.*, sum(r.size) over (order by r.xid, r.position rows unbounded preceding) as through
      from (select r.*, {_BYTES} as size from ({rows}) r) r) w
    where w.through - w.size < {bytes_max} order by w.xid, w.position"""


def place_of(row: asyncpg.Record) -> Place:
    return Place(row["xid"], row["position"])


def in_order(
    rows: Sequence[asyncpg.Record], limit: int, group: Callable[[asyncpg.Record], Hashable]
) -> list[asyncpg.Record]:
    """Of rows in the order of the log, where each topic of a group was read up to `limit` rows: those that may be taken.

    Where a topic was cut off, later events of the group's other topics wait for its rest.
    """
    counts: dict[tuple[Hashable, str], int] = {}
    last: dict[tuple[Hashable, str], asyncpg.Record] = {}
    for row in rows:
        source = group(row), row["topic"]
        counts[source] = counts.get(source, 0) + 1
        last[source] = row
    horizon: dict[Hashable, Place] = {}
    for (key, _), row in last.items():
        if counts[key, row["topic"]] == limit:
            horizon[key] = min(place_of(row), horizon.get(key, place_of(row)))
    waits = {key for (key, _), row in last.items() if key in horizon and place_of(row) > horizon[key]}
    return [row for row in rows if group(row) not in waits or place_of(row) <= horizon[group(row)]]


def not_ahead(rows: Sequence[asyncpg.Record], ahead: Ahead) -> Sequence[asyncpg.Record]:
    """Those that no tenant has taken ahead of the cursor."""
    if not ahead:
        return rows
    place = {key: (place.xid, place.position) for key, place in ahead.items()}
    return [
        row
        for row in rows
        if (row["xid"], row["position"]) > place.get((row["topic"], row["partition"], row["tenant_id"]), (0, 0))
    ]


def partition_of_row(row: asyncpg.Record) -> int:
    return int(row["partition"])


def crowded(rows: Sequence[asyncpg.Record], limit: int) -> list[asyncpg.Record]:
    """Those of partitions of which more is to come: one topic was read up to `limit` rows."""
    counts: dict[tuple[int, str], int] = {}
    for row in rows:
        key = row["partition"], row["topic"]
        counts[key] = counts.get(key, 0) + 1
    full = {partition for (partition, _), count in counts.items() if count == limit}
    return [row for row in rows if row["partition"] in full]
