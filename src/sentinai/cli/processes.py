"""How does one process of the system run: the API, or a set of workers?"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import uvloop

from sentinai.bootstrap import build_app, built_runner, configure_logging, opened, tune_collector
from sentinai.infrastructure.database import API
from sentinai.services.rebase import require_own_cluster
from sentinai.settings import Settings
from sentinai.workers.catalog import BY_NAME
from sentinai.workers.health import health_server

PARENT_CHECK_S = 1.0


def run_api(settings: Settings, url: str, parent_pid: int | None = None) -> None:
    """Serve the API until SIGTERM or SIGINT. Raises a SentinaiError where it could not work: the server would print a traceback."""
    configure_logging(settings)
    tune_collector()
    _die_with(parent_pid)
    uvloop.run(_require_database(url))
    run_server(build_app(settings, url), settings.api_host, settings.api_port, int(settings.shutdown_grace_s))


async def _require_database(url: str) -> None:
    async with opened(url, API) as database:
        await require_own_cluster(database)


def run_server(app: Any, host: str, port: int, grace_s: int = 5) -> None:
    """Serve an ASGI application, without what costs time on every request and nobody reads."""
    import uvicorn

    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=grace_s,
        backlog=2048,
    )


def run_workers(
    settings: Settings, url: str, names: Sequence[str], number: int = 0, parent_pid: int | None = None
) -> None:
    """Run these workers until SIGTERM or SIGINT; a batch under way is finished. `number` counts like processes from 0."""
    configure_logging(settings)
    tune_collector()
    _die_with(parent_pid)
    port = _health_port(settings, names) + 100 * number
    uvloop.run(_work(settings, url, names, port))


async def _work(settings: Settings, url: str, names: Sequence[str], port: int) -> None:
    async with built_runner(settings, url, names, port) as runner:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runner.stop)
        server = health_server(lambda: runner.ready, settings.worker_health_host, port)
        serving = asyncio.create_task(_served(server.serve(), port))
        await runner.run()
        server.should_exit = True
        await serving


async def _served(serving: Coroutine[Any, Any, None], port: int) -> None:
    """A taken health port is said, and no reason to stop working."""
    try:
        await serving
    except (SystemExit, OSError):
        print(f"health port {port} is taken; this worker runs without one", file=sys.stderr)


def _health_port(settings: Settings, names: Sequence[str]) -> int:
    """One process, one port: that of its first worker, counted from the base port."""
    return settings.worker_health_base_port + BY_NAME[names[0]].health_port - 9000


def _die_with(parent_pid: int | None) -> None:
    """End, gracefully, when the process that started this one is gone: nobody else would stop it."""
    if parent_pid is None:
        return

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(PARENT_CHECK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
