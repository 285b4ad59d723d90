"""How do rows of composed queries become responses?"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinai.errors import Missing
from sentinai.infrastructure.repositories.pages import PageRequest, read_page
from sentinai.models.http.base import Page

Model = TypeVar("Model", bound=BaseModel)


async def page_of(
    model: type[Model],
    connection: AsyncConnection,
    query: Select[Any],
    keys: Mapping[str, ColumnElement[Any]],
    page: PageRequest,
) -> Page[Model]:
    """One page of `model`; `keys` as in `read_page`."""
    rows, cursor = await read_page(connection, query, keys, page)
    return Page[model](items=[model(**row) for row in rows], next_cursor=cursor)  # type: ignore[valid-type]


async def one_of(connection: AsyncConnection, query: Select[Any], what: str) -> Mapping[str, Any]:
    """The single row; raises Missing, also for another tenant's."""
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise Missing(f"There is no {what}.")
    return dict(row)


async def all_of(connection: AsyncConnection, query: Select[Any]) -> Sequence[Mapping[str, Any]]:
    """All rows of a query that is bounded by itself."""
    return [dict(row) for row in (await connection.execute(query)).mappings()]
