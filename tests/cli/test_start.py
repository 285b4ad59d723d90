"""Does a process that cannot start say why in a sentence?"""

import asyncio
import os
import subprocess
import sys

import pytest
from sqlalchemy.engine import make_url
from system import query

from sentinai.cli.ports import free_port


@pytest.mark.parametrize("command", ["api", "worker", "migrate"])
def test_a_database_that_is_away_is_told_in_a_sentence(command: str) -> None:
    said = ending(command, f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    assert "✗ The database does not answer" in said


@pytest.mark.parametrize("command", ["api", "worker", "migrate", "doctor"])
@pytest.mark.parametrize(
    "wrong", [{"username": "no_such_user"}, {"database": "no_such_database"}], ids=["user", "database"]
)
def test_a_database_that_does_not_let_us_in_is_told_with_its_fix(
    database_dsn: str, command: str, wrong: dict[str, str]
) -> None:
    said = ending(command, make_url(database_dsn).set(**wrong).render_as_string(hide_password=False))
    assert "does not let us in" in said
    assert "SENTINAI_DATABASE_URL" in said


@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_user_that_may_not_act_as_our_roles_is_told_the_grant(database_dsn: str, command: str) -> None:
    asyncio.run(query(database_dsn, "create role sentinai_test_bare login"))
    try:
        said = ending(
            command, make_url(database_dsn).set(username="sentinai_test_bare").render_as_string(hide_password=False)
        )
    finally:
        asyncio.run(query(database_dsn, "drop role sentinai_test_bare"))
    assert "grant sentinai_" in said


def test_a_relay_without_its_cursors_does_not_start(database_dsn: str) -> None:
    said = ending(
        "worker", database_dsn, "relay", SENTINAI_BROKER="kafka", SENTINAI_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"
    )
    assert "sentinai migrate" in said
    assert "SENTINAI_BROKER=kafka" in said


def ending(command: str, url: str, *arguments: str, **environment: str) -> str:
    """What the process says, in sentences, before it ends with code 1."""
    ended = subprocess.run(
        [sys.executable, "-m", "sentinai.cli.main", command, *arguments],
        env=os.environ | environment | {"SENTINAI_DATABASE_URL": url, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr
