"""Does it hold its pace: for minutes at 70 % of the peak, and with a large backlog?"""

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import uvloop

from bench import pipeline
from bench.pack import EVENTS_PER_EXCEPTION
from sentinai.bootstrap import built_runner, tune_collector
from sentinai.settings import Settings
from sentinai.workers.catalog import STAGES

SHARE_OF_PEAK = 0.7
SAMPLE_EVERY_S = 5.0
DRAIN_DEADLINE_S = 1_200.0
PEAK_EXCEPTIONS = 10_000

_SIZES = """select pg_database_size(current_database())::bigint as bytes,
  coalesce(pg_sequence_last_value('event_position_seq'), 0) as events,
  (select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables) as dead_rows"""
_WAITING = "select exists (select from exception where status = 'OPEN')"
_RESOLVED = "select count(*) from exception where resolved_at >= to_timestamp($1) and resolved_at < to_timestamp($2)"
_TIMES_MS = """select percentile_cont($3::float8[]) within group (order by extract(epoch from resolved_at - received_at) * 1000)
  from exception where received_at >= to_timestamp($1) and received_at < to_timestamp($2) and resolved_at is not null"""


class Sample(NamedTuple):
    """The database at one moment; `events` counts all ever written."""

    bytes: int
    events: int
    dead_rows: int


def hold_pace(url: str, keys: pipeline.Keys, minutes: float, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Reports at SHARE_OF_PEAK of what a short run did, evenly. Figures of each minute, of the database of each third.

    Short runs are divided in three, for trying it out.
    """
    peak = pipeline.measure_pipeline(url, keys, PEAK_EXCEPTIONS, "peak")["events_per_s"] / EVENTS_PER_EXCEPTION
    parts = max(3, round(minutes))
    with _workers(url) as processes:
        begun = time.time()
        feeding = _start(_feed, url, keys, peak * SHARE_OF_PEAK, minutes * 60)
        samples = [_sample(url)]
        while any(process.is_alive() for process in feeding):
            time.sleep(SAMPLE_EVERY_S)
            samples.append(_sample(url))
            say(f"{time.time() - begun:.0f} s: {samples[-1].events:,} events, {samples[-1].dead_rows:,} dead rows")
        _await_drained(url, say)
        memory_mb = _memory_mb(processes)
    part_s = minutes * 60 / parts
    windows = [(begun + part_s * n, begun + part_s * (n + 1)) for n in range(parts)]
    resolved = [pipeline.ask(url, _RESOLVED, *w)[0] / part_s for w in windows]
    times = [pipeline.ask(url, _TIMES_MS, *w, [0.5, 0.99])[0] for w in windows]
    thirds = [samples[n * (len(samples) - 1) // 3 : (n + 1) * (len(samples) - 1) // 3 + 1] for n in range(3)]
    return {
        "sustained_peak_per_s": [peak],
        "sustained_per_s": resolved,
        "sustained_ratio": [resolved[-1] / resolved[0]],
        "sustained_p50_ms": [p50 for p50, _ in times],
        "sustained_p99_ms": [p99 for _, p99 in times],
        "bytes_per_event": [(t[-1].bytes - t[0].bytes) / max(1, t[-1].events - t[0].events) for t in thirds],
        "dead_rows_most": [float(max(sample.dead_rows for sample in third)) for third in thirds],
        "workers_mb": [memory_mb],
    }


def drain(url: str, keys: pipeline.Keys, exceptions: int, say: Callable[[str], None]) -> tuple[float, float]:
    """Everything is reported first, then two workers start: events a second, and the workers' largest memory in MB."""
    for process in _start(_feed, url, keys, 0.0, float(exceptions)):
        process.join()
    say(f"{exceptions:,} exceptions are waiting")
    with _workers(url) as processes:
        begun, memory_mb = time.time(), 0.0
        while pipeline.ask(url, _WAITING)[0]:
            time.sleep(0.25)
            memory_mb = max(memory_mb, _memory_mb(processes))
            if time.time() - begun > DRAIN_DEADLINE_S:
                raise TimeoutError("the backlog was not drained in time")
        seconds = time.time() - begun
    return exceptions * EVENTS_PER_EXCEPTION / seconds, memory_mb


def _start(target: Callable[..., None], *arguments: Any) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    count = pipeline.INGESTERS
    processes = [context.Process(target=target, args=(*arguments, number, count)) for number in range(count)]
    for process in processes:
        process.start()
    return processes


@contextmanager
def _workers(url: str) -> Iterator[list[Any]]:
    """Two worker processes (and a relay, where Kafka is used) until the block ends."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    roles = [[n for n in STAGES if n != "sla"]] * pipeline.WORKERS
    if Settings(_env_file=None).broker == "kafka":
        roles.append(["relay"])
    ready = context.Barrier(len(roles) + 1)
    processes = [context.Process(target=_work, args=(url, names, ready, stop)) for names in roles]
    for process in processes:
        process.start()
    ready.wait(60)
    try:
        yield processes
    finally:
        stop.set()
        for process in processes:
            process.join()


def _work(url: str, names: list[str], ready: Any, stop: Any) -> None:
    tune_collector()
    uvloop.run(_work_until(url, names, ready, stop))


async def _work_until(url: str, names: list[str], ready: Any, stop: Any) -> None:
    async with built_runner(Settings(_env_file=None), url, names) as runner:
        await runner.round()
        await asyncio.to_thread(ready.wait)
        running = asyncio.create_task(runner.run())
        await asyncio.to_thread(stop.wait)
        runner.stop()
        await running


def _feed(url: str, keys: pipeline.Keys, rate: float, amount: float, number: int, count: int) -> None:
    """With a rate: for `amount` seconds, evenly; without: `amount` exceptions as fast as can be. One of `count` alike."""
    tune_collector()
    uvloop.run(pipeline.feed(url, keys, rate / count, amount if rate else amount / count, f"paced{number}"))


def _await_drained(url: str, say: Callable[[str], None]) -> None:
    deadline = time.time() + DRAIN_DEADLINE_S
    while pipeline.ask(url, _WAITING)[0]:
        if time.time() > deadline:
            raise TimeoutError("the workers did not come to rest")
        say("waiting for the rest")
        time.sleep(0.5)


def _memory_mb(processes: list[Any]) -> float:
    return sum(psutil.Process(p.pid).memory_info().rss for p in processes if p.is_alive()) / 1024 / 1024


def _sample(url: str) -> Sample:
    return Sample(*pipeline.ask(url, _SIZES))
