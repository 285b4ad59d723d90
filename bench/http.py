"""How fast are the HTTP routes, seen from a client on the same machine?"""

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import uvloop

from bench.pack import EMPTY_ROUTE, payload
from sentinai.bootstrap import build_app, configure_logging, tune_collector
from sentinai.cli.ports import free_port
from sentinai.cli.processes import run_server, run_workers
from sentinai.errors import Unavailable
from sentinai.settings import Settings
from sentinai.workers.catalog import STAGES

CLIENTS = 32
START_DEADLINE_S = 30.0
BATCH = 500
RESOLVE_SAMPLES = 100
RESOLVE_DEADLINE_S = 10.0
QUERY_SAMPLES = 300


@contextmanager
def serving(url: str, *, workers: bool) -> Iterator[int]:
    """The API (with an empty route beside the real ones), and if asked the workers, as processes; gives the API's port."""
    context = multiprocessing.get_context("spawn")
    port = free_port()
    processes = [context.Process(target=_serve, args=(url, port))]
    if workers:
        processes.append(context.Process(target=_run_workers, args=(url, free_port())))
    for process in processes:
        process.start()
    try:
        _await_port(port)
        yield port
    finally:
        for process in processes:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGTERM)
        for process in processes:
            process.join()


def post_rate(port: int, path: str, key: str, seconds: float, tag: str) -> float:
    """Answers a second to CLIENTS keep-alive connections, each waiting for its answer before the next request."""
    answer: float = _in_process(_post_many, port, path, key, seconds, tag)
    return answer


def batch_rate(port: int, key: str, exceptions: int, tag: str) -> float:
    """Exceptions a second over POST /exceptions/batch, four clients at once."""
    answer: float = _in_process(_post_batches, port, key, exceptions, tag)
    return answer


def resolve_times_ms(port: int, key: str, tag: str) -> list[float]:
    """From sending a POST to reading RESOLVED, one exception at a time on the idle system."""
    answer: list[float] = _in_process(_resolve_some, port, key, tag)
    return answer


def query_times_ms(port: int, key: str) -> tuple[list[float], list[float]]:
    """Times of GET /exceptions and of GET /exceptions/{id}."""
    answer: tuple[list[float], list[float]] = _in_process(_query_some, port, key)
    return answer


def _in_process(function: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    """Clients run in a process of their own, as they would."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    process = context.Process(target=_client, args=(function, arguments, results))
    process.start()
    answer = results.get(timeout=300)
    process.join()
    return answer


def _client(function: Callable[..., Coroutine[Any, Any, Any]], arguments: tuple[Any, ...], results: Any) -> None:
    results.put(uvloop.run(function(*arguments)))


class Connection:
    """A bare keep-alive connection: the client should cost as little as can be."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"

    async def open(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        marker = answer.lower().index(b"content-length: ") + 16
        length = int(answer[marker : answer.index(b"\r", marker)])
        return int(answer[9:12]), await self._reader.readexactly(length) if length else b""


def _report(number: str) -> bytes:
    return msgspec.json.encode({"source_system": "orders", "payload": payload(number)})


async def _post_many(port: int, path: str, key: str, seconds: float, tag: str) -> float:
    connections = [await Connection(port, key).open() for _ in range(CLIENTS)]
    end = time.perf_counter() + seconds

    async def one(number: int, connection: Connection) -> int:
        count = 0
        while time.perf_counter() < end:
            status, body = await connection.request("POST", path, _report(f"{tag}-{number}-{count}"))
            _require(status == 202, status, body)
            count += 1
        return count

    begun = time.perf_counter()
    counts = await asyncio.gather(*(one(n, c) for n, c in enumerate(connections)))
    return sum(counts) / (time.perf_counter() - begun)


async def _post_batches(port: int, key: str, exceptions: int, tag: str) -> float:
    bodies = []
    for first in range(0, exceptions, BATCH):
        reports = [_report(f"{tag}-{n}") for n in range(first, first + BATCH)]
        bodies.append(b"[" + b",".join(reports) + b"]")
    count = len(bodies) * BATCH

    async def one() -> None:
        connection = await Connection(port, key).open()
        while bodies:
            status, body = await connection.request("POST", "/exceptions/batch", bodies.pop())
            _require(status == 202, status, body)

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(4)))
    return count / (time.perf_counter() - begun)


async def _resolve_some(port: int, key: str, tag: str) -> list[float]:
    connection = await Connection(port, key).open()
    times = []
    for number in range(RESOLVE_SAMPLES):
        begun = time.perf_counter()
        status, body = await connection.request("POST", "/exceptions", _report(f"{tag}-{number}"))
        _require(status == 202, status, body)
        path = f"/exceptions/{msgspec.json.decode(body)['exception_id']}"
        while b'"status":"RESOLVED"' not in body:
            _require(time.perf_counter() - begun < RESOLVE_DEADLINE_S, 0, b"not resolved in time")
            await asyncio.sleep(0.001)
            _, body = await connection.request("GET", path)
        times.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.02)
    return times


async def _query_some(port: int, key: str) -> tuple[list[float], list[float]]:
    connection = await Connection(port, key).open()
    lists, gets, cursor = [], [], ""
    for _ in range(QUERY_SAMPLES):
        begun = time.perf_counter()
        status, body = await connection.request("GET", f"/exceptions?limit=50{cursor}")
        lists.append((time.perf_counter() - begun) * 1000)
        _require(status == 200, status, body)
        page = msgspec.json.decode(body)
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        wanted = page["items"][0]["exception_id"]
        begun = time.perf_counter()
        status, body = await connection.request("GET", f"/exceptions/{wanted}")
        gets.append((time.perf_counter() - begun) * 1000)
        _require(status == 200, status, body)
    return lists, gets


def _require(holds: bool, status: int, body: bytes) -> None:
    if not holds:
        raise Unavailable(f"the benchmark's server answered {status}: {body[:200]!r}")


def _serve(url: str, port: int) -> None:
    from starlette.responses import Response

    settings = Settings(_env_file=None)
    configure_logging(settings)
    app = build_app(settings, url)

    async def empty() -> Response:
        return Response(status_code=202)

    app.add_api_route(EMPTY_ROUTE, empty, methods=["POST"])
    tune_collector()
    run_server(app, "127.0.0.1", port)


def _run_workers(url: str, port: int) -> None:
    settings = Settings(_env_file=None, worker_health_base_port=port - 1)
    run_workers(settings, url, [name for name in STAGES if name != "sla"])


def _await_port(port: int) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Unavailable("the benchmark's server did not start in time")
