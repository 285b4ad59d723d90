"""Are the parameters that a PostgreSQL address may have understood everywhere it is used?"""

from typing import Any

import pytest
from sqlalchemy import text

from sentinai.bootstrap import opened, prepare_database
from sentinai.infrastructure.database import API


def with_parameter(url: str, parameter: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{parameter}"


@pytest.mark.parametrize("parameter", ["sslmode=disable", "sslmode=prefer", "application_name=ours"])
async def test_migrations_queries_and_transactions_take_it(fresh_database: Any, parameter: str) -> None:
    async with fresh_database() as plain:
        url = with_parameter(plain, parameter)
        await prepare_database(url)
        async with opened(url, API) as database:
            async with database.reading(None) as connection:
                assert (await connection.execute(text("select 1"))).scalar_one() == 1
            async with database.transaction() as tx:
                assert await tx.fetchval("select 1") == 1
