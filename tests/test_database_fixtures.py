"""Does every test module get a database of its own?"""

import asyncpg


async def test_the_database_is_a_fresh_one(database_dsn: str) -> None:
    connection = await asyncpg.connect(database_dsn)
    assert (await connection.fetchval("select current_database()")).startswith("sentinai_test_")
    await connection.close()
