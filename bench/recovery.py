"""How long does nothing come to its end after a worker, or the database, was killed?"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg

from bench import pipeline
from sentinai.cli.ports import free_port
from sentinai.cli.supervisor import Supervisor
from sentinai.settings import Settings

RATE_PER_S = 400.0
KILLS = 5
BEFORE_S, AFTER_S = 3.0, 12.0
CONNECT_EVERY_S = 0.02

_GAP = """select max(extract(epoch from resolved_at - before)) from (
    select resolved_at, lag(resolved_at) over (order by resolved_at) as before from exception
    where resolved_at >= to_timestamp($1) and resolved_at < to_timestamp($2)) r"""
_FIRST_AFTER = "select extract(epoch from min(resolved_at)) from exception where resolved_at > to_timestamp($1)"


def recovery_times(folder: Path, say: Callable[[str], None]) -> dict[str, list[float]]:
    """The real processes under their supervisor at a steady load, in seconds of each kill.

    A worker: the longest time without any exception resolved. The database: from taking connections again to the first.
    """
    settings = Settings(
        _env_file=None,
        data_dir=folder,
        api_port=free_port(),
        worker_health_base_port=free_port(),
        worker_processes=2,
    )
    environment = os.environ | {f"SENTINAI_{n.upper()}": str(getattr(settings, n)) for n in settings.model_fields_set}
    supervisor = Supervisor(settings, environment | {"SENTINAI_LOG_LEVEL": "error"}, lambda _: None)
    url = supervisor.start_database()
    keys = asyncio.run(pipeline.prepare(url))
    feeding = threading.Event()
    feeder = threading.Thread(target=_feed_until, args=(url, keys, feeding), daemon=True)
    watcher = threading.Thread(target=supervisor.watch, daemon=True)
    try:
        supervisor.start_processes()
        supervisor.await_ready()
        watcher.start()
        feeder.start()
        found: dict[str, list[float]] = {}
        for name, kill in (("recovery_worker_s", _kill_worker), ("recovery_database_s", _kill_database)):
            found[name] = []
            for number in range(KILLS):
                time.sleep(BEFORE_S)
                found[name].append(kill(supervisor, url))
                say(f"{name} {number + 1} of {KILLS}: {found[name][-1]:.2f} s")
        return found
    finally:
        feeding.set()
        feeder.join(30)
        supervisor.stopping = True
        watcher.join()
        supervisor.stop()


def _kill_worker(supervisor: Supervisor, url: str) -> float:
    child = next(c for c in supervisor.children if c.name.startswith("worker") and c.process is not None)
    assert child.process is not None
    begun = time.time()
    os.kill(child.process.pid, signal.SIGKILL)
    time.sleep(AFTER_S / 2)
    return float(pipeline.ask(url, _GAP, begun - 0.5, time.time())[0])


def _kill_database(supervisor: Supervisor, url: str) -> float:
    assert supervisor.server is not None
    pid = supervisor.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    back = asyncio.run(_connects(url))
    time.sleep(AFTER_S)
    return float(pipeline.ask(url, _FIRST_AFTER, back)[0]) - back


async def _connects(url: str) -> float:
    """When the database takes connections again."""
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=2)
            await connection.close()
            return time.time()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await asyncio.sleep(CONNECT_EVERY_S)


def _feed_until(url: str, keys: pipeline.Keys, stop: threading.Event) -> None:
    """Pieces of a second; one that falls into an outage is left out."""
    number = 0
    while not stop.is_set():
        number += 1
        try:
            asyncio.run(pipeline.feed(url, keys, RATE_PER_S, 1.0, f"recovery{number}"))
        except Exception:  # whatever the outage looks like from here, the next piece comes
            time.sleep(CONNECT_EVERY_S)
