"""How are long lists read page by page? By key, not by offset: page 1,000 costs what page 1 costs."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.errors import Problem, Rejected
from sentinai.infrastructure.repositories.rows import Row, all_of

T = TypeVar("T")

LIMIT_MAX = 200
_PARSERS: dict[str, Any] = {"datetime": datetime.fromisoformat, "uuid": UUID, "text": str, "int": int}


class PageRequest(msgspec.Struct, frozen=True):
    limit: int = 50
    cursor: str | None = None


class Listed(NamedTuple, Generic[T]):
    """One page of a list, and the cursor of the next one; None when there is none."""

    items: list[T]
    next_cursor: str | None


async def read_page(
    connection: AsyncConnection,
    row: type[Row],
    query: Select[Any],
    keys: Mapping[str, ColumnElement[Any]],
    page: PageRequest,
) -> Listed[Row]:
    """The page's rows, newest first.

    `keys` are the selected columns that order the list, each named like its kind (`datetime`, `uuid`, `text`, `int`).
    Raises Rejected for a cursor that is not one of this list's.
    """
    columns = list(keys.values())
    if page.cursor is not None:
        query = query.where(tuple_(*columns) < tuple_(*_parse(page.cursor, list(keys))))
    query = query.order_by(*(c.desc() for c in columns)).limit(page.limit + 1)
    rows = await all_of(connection, row, query)
    if len(rows) <= page.limit:
        return Listed(rows, None)
    last = rows[page.limit - 1]
    return Listed(rows[: page.limit], _cursor([getattr(last, c.key or "") for c in columns]))


def _cursor(values: Sequence[object]) -> str:
    texts = [v.isoformat() if isinstance(v, datetime) else str(v) for v in values]
    return base64.urlsafe_b64encode(msgspec.json.encode(texts)).decode().rstrip("=")


def _parse(cursor: str, kinds: Sequence[str]) -> list[object]:
    try:
        texts = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list[str])
        return [_PARSERS[kind](text) for kind, text in zip(kinds, texts, strict=True)]
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        problem = Problem("cursor", "not a cursor of this list; start again without one")
        raise Rejected("The cursor cannot be read.", problems=[problem]) from error
