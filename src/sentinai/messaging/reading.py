"""How do rows of the log become what a consumer takes: in which order, and how far?"""

from collections.abc import Callable, Hashable, Sequence

import asyncpg

from sentinai.messaging.broker import Place


def place_of(row: asyncpg.Record) -> Place:
    return Place(row["xid"], row["position"])


def in_order(
    rows: Sequence[asyncpg.Record], limit: int, group: Callable[[asyncpg.Record], Hashable]
) -> list[asyncpg.Record]:
    """Rows by their place, where each topic of a group was read up to `limit` rows, in order.

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
    kept = (row for row in rows if group(row) not in horizon or place_of(row) <= horizon[group(row)])
    return sorted(kept, key=place_of)


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
