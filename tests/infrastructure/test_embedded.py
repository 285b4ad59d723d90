"""Does the embedded server survive every kind of death, and belong to exactly one process at a time?"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from sentinai.errors import Unavailable
from sentinai.infrastructure.embedded import EmbeddedServer

PROGRAM = """
import sys
from pathlib import Path
from sentinai.infrastructure.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.start()
print(server.pid, server.owner, flush=True)
sys.stdin.read()
"""
"""Starts a server, says who it is, and ends normally when its input is closed."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which a server has been started once."""
    folder = tmp_path_factory.mktemp("embedded")
    with EmbeddedServer(folder):
        return folder


@pytest.fixture
def server(prepared: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(prepared) as server:
        yield server


def eventually(reached: Callable[[], bool], deadline_s: float = 20.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not reached():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.01)


def program(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> tuple[int, bool]:
    assert process.stdout is not None
    pid, owner = process.stdout.readline().split()
    return int(pid), owner == "True"


async def ask(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_both_drivers_reach_the_database_by_the_same_address(server: EmbeddedServer) -> None:
    assert await ask(server.dsn, "select current_database()") == "sentinai"
    engine = create_async_engine(make_url(server.dsn).set(drivername="postgresql+asyncpg"))
    async with engine.connect() as connection:
        assert (await connection.execute(text("select current_database()"))).scalar() == "sentinai"
    await engine.dispose()


async def test_commits_are_durable_by_default(server: EmbeddedServer) -> None:
    names = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
    assert [await ask(server.dsn, f"show {name}") for name in names] == ["on"] * 4


def test_nothing_listens_on_tcp_unless_asked(server: EmbeddedServer) -> None:
    assert server.pid is not None
    assert [c for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN] == []


async def test_data_survives_the_death_of_the_postmaster(server: EmbeddedServer) -> None:
    await ask(server.dsn, "create table kept as select 42 as n")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: server.pid is None)
    assert server.restart_if_dead() is True
    assert server.restart_if_dead() is False
    assert await ask(server.dsn, "select n from kept") == 42
    await ask(server.dsn, "drop table kept")


async def test_a_backend_that_outlives_its_postmaster_does_not_block_the_next_start(server: EmbeddedServer) -> None:
    connection = await asyncpg.connect(server.dsn)
    backend = psutil.Process(await connection.fetchval("select pg_backend_pid()"))
    backend.suspend()  # It cannot notice that its postmaster is gone, and keeps the shared memory.
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: server.pid is None)
    assert backend.is_running()
    assert server.restart_if_dead() is True
    assert not backend.is_running() or backend.status() == psutil.STATUS_ZOMBIE
    assert await ask(server.dsn, "select 1") == 1
    connection.terminate()


async def test_a_stale_pid_file_and_socket_do_not_block_the_start(prepared: Path) -> None:
    server = EmbeddedServer(prepared)
    server.start()
    pid_file = server.cluster.data / "postmaster.pid"
    of_another_program = pid_file.read_text().replace(str(server.pid), str(os.getpid()), 1)
    server.stop()
    pid_file.write_text(of_another_program)
    server.cluster.socket_dir().mkdir()
    (server.cluster.socket_dir() / ".s.PGSQL.5432").touch()
    (server.cluster.socket_dir() / ".s.PGSQL.5432.lock").write_text(of_another_program)
    with server:
        assert await ask(server.dsn, "select 1") == 1


def test_a_second_start_attaches_and_its_stop_stops_nothing(server: EmbeddedServer, prepared: Path) -> None:
    second = EmbeddedServer(prepared)
    assert second.start() == server.dsn
    assert (second.owner, second.pid) == (False, server.pid)
    second.stop()
    assert server.pid is not None


def test_the_server_ends_with_an_owner_that_ends_normally(prepared: Path) -> None:
    owner = program(prepared)
    pid, _ = said(owner)
    owner.communicate()
    assert owner.returncode == 0
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_after_a_killed_owner_the_next_start_takes_the_running_server_over(prepared: Path) -> None:
    owner = program(prepared)
    pid, owned = said(owner)
    assert owned
    owner.kill()
    owner.communicate()
    with EmbeddedServer(prepared) as heir:
        assert (heir.pid, heir.owner) == (pid, True)
    assert heir.pid is None


async def test_everything_killed_at_once_starts_again_with_its_data(prepared: Path) -> None:
    owner = program(prepared)
    pid, _ = said(owner)
    attached = EmbeddedServer(prepared)
    await ask(attached.start(), "create table survivor as select 7 as n")
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in [psutil.Process(owner.pid), *family]:
        with suppress(psutil.NoSuchProcess):  # the postmaster's children end by themselves once it is gone
            process.kill()
    owner.communicate()
    with EmbeddedServer(prepared) as server:
        assert await ask(server.dsn, "select n from survivor") == 7
        await ask(server.dsn, "drop table survivor")


def test_of_processes_that_start_at_once_in_a_new_folder_one_owns_the_server(tmp_path: Path) -> None:
    programs = [program(tmp_path) for _ in range(4)]
    pids, owners = zip(*(said(p) for p in programs), strict=True)
    assert len(set(pids)) == 1
    assert sorted(owners) == [False, False, False, True]
    for attached in (p for p, owner in zip(programs, owners, strict=True) if not owner):
        attached.communicate()
    assert psutil.pid_exists(pids[0])
    programs[owners.index(True)].communicate()


def test_a_first_start_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    starting = program(tmp_path)
    half = tmp_path / "postgres" / "data.new" / "global"
    eventually(half.exists)
    starting.kill()
    starting.communicate()
    with EmbeddedServer(tmp_path) as server:
        assert server.owner


async def test_a_deep_folder_with_odd_characters_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120) / "a, b:c?&d=é"
    with EmbeddedServer(deep) as server:
        assert await ask(server.dsn, "select current_database()") == "sentinai"
        folder = server.cluster.socket_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


async def test_a_tcp_port_answers_with_the_password_only(prepared: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with EmbeddedServer(prepared, tcp_port=port) as server:
        assert server.tcp_dsn is not None
        assert await ask(server.tcp_dsn, "select 1") == 1
        assert await ask(server.dsn, "select 1") == 1
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.tcp_dsn.replace("postgres:", "postgres:x"))


def test_a_taken_port_is_explained(prepared: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = EmbeddedServer(prepared, tcp_port=taken.getsockname()[1])
        with pytest.raises(Unavailable, match="port is taken"):
            server.start()
    assert not server.owner


def test_data_of_another_version_is_refused_and_left_alone(prepared: Path) -> None:
    server = EmbeddedServer(prepared)
    version = server.cluster.data / "PG_VERSION"
    before = version.read_bytes()
    version.write_text("15\n")
    try:
        with pytest.raises(Unavailable, match=r"written by PostgreSQL 15, .* dump it"):
            server.start()
    finally:
        version.write_bytes(before)


def test_a_place_that_is_no_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot start"):
        EmbeddedServer(tmp_path / "file").start()
