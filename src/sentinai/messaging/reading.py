"""How do rows of the log become what a consumer takes: in which order, and how far?"""

from collections.abc import Callable, Hashable, Sequence

import asyncpg

from sentinai.messaging.broker import Place

_BYTES = """case when pg_column_compression(r.payload) is null then pg_column_size(r.payload)
    else octet_length(r.payload::text) end"""
"""What is stored compressed has to be unpacked to be measured."""


def within(bytes_max: str, rows: str) -> str:
    """The statement whose rows are the first of `rows`, a query of events, in the order of the log, up to `bytes_max` of payload.

    `through` is how many bytes the row and those before it have.
    """
    return f"""select * from (select r.*, sum(r.size) over (order by r.xid, r.position) as through
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
    by_source: dict[tuple[Hashable, str], list[asyncpg.Record]] = {}
    for row in rows:
        by_source.setdefault((group(row), row["topic"]), []).append(row)
    horizon: dict[Hashable, Place] = {}
    for (key, _), found in by_source.items():
        if len(found) == limit:
            last = place_of(found[-1])
            horizon[key] = min(last, horizon.get(key, last))
    return [row for row in rows if group(row) not in horizon or place_of(row) <= horizon[group(row)]]


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
