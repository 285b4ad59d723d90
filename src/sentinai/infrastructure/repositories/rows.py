"""How do composed queries become typed rows? A row's type names the columns."""

from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import TableClause

from sentinai.errors import Missing

Row = TypeVar("Row", bound=msgspec.Struct)


def columns_of(source: TableClause, row: type[Row], *others: str) -> list[ColumnElement[Any]]:
    """The columns of a table that are called as the fields of `row`; without `others`, which come from elsewhere."""
    return [source.c[name] for name in row.__struct_fields__ if name not in others]


async def one_of(connection: AsyncConnection, row: type[Row], query: Select[Any], what: str) -> Row:
    """The single row; raises Missing, also for another tenant's."""
    found = (await connection.execute(query)).mappings().first()
    if found is None:
        raise Missing(f"There is no {what}.")
    return row(**dict(found))


async def all_of(connection: AsyncConnection, row: type[Row], query: Select[Any]) -> list[Row]:
    """All rows of a query that is bounded by itself."""
    return [row(**dict(found)) for found in (await connection.execute(query)).mappings()]
