"""`make bench`: measure everything, print a table with spread and load, and write the medians."""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
import typer

from bench import http, pipeline
from bench import sustained as long_runs
from bench.pack import EMPTY_ROUTE, EVENTS_PER_EXCEPTION, TENANTS
from bench.recovery import recovery_times
from sentinai.bootstrap import kafka_options
from sentinai.cli.output import console, errors, table, told_plainly
from sentinai.cli.ports import free_port
from sentinai.errors import Rejected
from sentinai.infrastructure.embedded import EmbeddedServer
from sentinai.settings import Settings, load_settings

Figures = dict[str, list[float]]

MILLION_EVENTS = 1_000_000
SMALL_BACKLOG = 20_000
IDLE_SETTLE_S = 4.0
PARTS = ("pipeline", "http", "resolve", "queries", "idle")
ENGINES = ("postgres", "kafka")
BESIDE = "instead of the rest or beside what --only names"


def bench(
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the medians there, and the values behind each, as one flat object."),
    ] = None,
    exceptions: Annotated[int, typer.Option(min=1000, help="Exceptions of one pipeline run.")] = 20_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of the pipeline.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds of one run of the POST figures.")] = 4.0,
    chaining: Annotated[bool, typer.Option(help="Handle events in the transaction that decided them.")] = True,
    engine: Annotated[
        str,
        typer.Option(help="postgres; kafka at SENTINAI_KAFKA_BOOTSTRAP_SERVERS, its pipeline only; or both."),
    ] = "postgres",
    only: Annotated[str, typer.Option(help=f"{', '.join(PARTS)}; all by default.")] = "",
    sustained: Annotated[
        float, typer.Option(min=0.0, help=f"Minutes at 70 % of the peak, {BESIDE}.", show_default=False)
    ] = 0.0,
    backlog: Annotated[
        int, typer.Option(min=0, help=f"Exceptions that wait before workers start, {BESIDE}.", show_default=False)
    ] = 0,
    recovery: Annotated[bool, typer.Option("--recovery", help=f"Gaps after kills, {BESIDE}.")] = False,
) -> None:
    """Measure throughput and latency of the real code on a database of its own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the database and the processes end with it
    with told_plainly():
        engines = ENGINES if engine == "both" else (engine,)
        if only not in ("", *PARTS):
            raise Rejected(f"There is nothing called {only} to measure: --only takes {', '.join(PARTS)}.")
        if "kafka" in engines and only not in ("", "pipeline"):
            raise Rejected("Over Kafka only the pipeline is measured: --only pipeline.")
        for each in engines:
            _use(each)  # what is wrong with its settings is told before anything is measured
        figures: Figures = {}
        before = os.getloadavg()[0]
        named = {each: f"{each}_" if engine == "both" else "" for each in engines}
        if only or not (sustained or backlog or recovery):
            for each in engines:  # all before the long runs: within the same minutes
                _use(each)
                parts = "pipeline" if each == "kafka" else only
                found = _short_runs((exceptions, runs, chaining), seconds, parts)
                figures |= {named[each] + name: values for name, values in found.items()}
        for each in engines:
            _use(each)
            with errors.status("") as status:
                found = _long_runs((sustained, backlog, recovery), status.update)
            figures |= {named[each] + name: values for name, values in found.items()}
        _report(figures, before, json_file)


def _use(engine: str) -> None:
    os.environ["SENTINAI_BROKER"] = engine
    load_settings()


def _short_runs(pipelines: tuple[int, int, bool], seconds: float, only: str) -> Figures:
    figures: Figures = {}
    with _own_topics("bench"), _own_database() as (url, keys):
        parts: dict[str, Callable[[], None]] = {
            "pipeline": lambda: _pipeline(url, keys, figures, pipelines),
            "http": lambda: _http(url, keys, figures, seconds),
            "resolve": lambda: _resolve(url, keys, figures),
            "queries": lambda: _queries(url, keys, figures),
        }
        for name, part in parts.items():
            if only in ("", name):
                errors.print(f"[dim]measuring {name} …[/]")
                part()
    if only in ("", "idle"):
        errors.print("[dim]measuring idle memory …[/]")
        with _own_folder() as folder:
            figures["idle_mb"] = [_idle_mb(folder)]
    return figures


@contextmanager
def _own_topics(name: str) -> Iterator[None]:
    """With Kafka, topics of one database's own: messages of another would be places in another log.

    Afterwards they are gone: a broker that keeps those of every run spends its time on collecting garbage.
    """
    os.environ["SENTINAI_KAFKA_PREFIX"] = f"{name}-{os.getpid()}."
    options = kafka_options(Settings(_env_file=None))
    try:
        yield
    finally:
        if options is not None:
            from sentinai.messaging.topics import delete_topics

            delete_topics(options)


def _long_runs(wanted: tuple[float, int, bool], say: Callable[[str], None]) -> Figures:
    minutes, backlog, recovery = wanted
    figures: Figures = {}
    if minutes:
        with _own_topics("sustained"), _own_database() as (url, keys):
            figures |= long_runs.hold_pace(url, keys, minutes, say)
    if backlog:
        for name, count in (("small_backlog", SMALL_BACKLOG), ("backlog", backlog)):
            with _own_topics(name), _own_database() as (url, keys):
                rate, memory_mb = long_runs.drain(url, keys, count, say)
            figures |= {f"{name}_events_per_s": [rate], f"{name}_workers_mb": [memory_mb]}
        figures["backlog_ratio"] = [figures["backlog_events_per_s"][0] / figures["small_backlog_events_per_s"][0]]
    if recovery:
        with _own_topics("recovery"), _own_folder() as folder:
            figures |= recovery_times(folder, say)
    return figures


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Gone afterwards: a long run leaves some 25 GB."""
    with tempfile.TemporaryDirectory(prefix="sentinai-bench-") as folder:
        yield Path(folder)


@contextmanager
def _own_database() -> Iterator[tuple[str, pipeline.Keys]]:
    with _own_folder() as folder, EmbeddedServer(folder) as server:
        yield server.dsn, asyncio.run(pipeline.prepare(server.dsn))


def _pipeline(url: str, keys: pipeline.Keys, figures: Figures, what: tuple[int, int, bool]) -> None:
    exceptions, runs, chaining = what
    for run in range(runs):
        found = pipeline.measure_pipeline(url, keys, exceptions, f"run{run}", chaining)
        for name in ("events_per_s", "relayed_per_s"):
            if name in found:
                figures.setdefault(name, []).append(found[name])


def _http(url: str, keys: pipeline.Keys, figures: Figures, seconds: float) -> None:
    """The two POST rates in turn, so that both see the same machine."""
    key = keys[TENANTS[0]]
    with http.serving(url, workers=False) as port:
        http.post_rate(port, "/exceptions", key, min(1.0, seconds), "warm")
        for run in range(3):
            posts = http.post_rate(port, "/exceptions", key, seconds, f"post{run}")
            empty = http.post_rate(port, EMPTY_ROUTE, key, seconds, f"empty{run}")
            figures.setdefault("post_per_s", []).append(posts)
            figures.setdefault("empty_post_per_s", []).append(empty)
        for run in range(3):
            figures.setdefault("batch_ingest_per_s", []).append(http.batch_rate(port, key, 10_000, f"batch{run}"))
    _drain(url)


def _resolve(url: str, keys: pipeline.Keys, figures: Figures) -> None:
    _drain(url)
    with http.serving(url, workers=True) as port:
        http.resolve_times_ms(port, keys[TENANTS[0]], "warm")
        times = sorted(http.resolve_times_ms(port, keys[TENANTS[0]], "resolve"))
    figures["resolve_ms_p50"] = [statistics.median(times)]
    figures["resolve_ms_p99"] = [_p99(times)]


def _queries(url: str, keys: pipeline.Keys, figures: Figures) -> None:
    """With a million events in the log."""
    missing = MILLION_EVENTS - _events(url)
    if missing > 0:
        pipeline.measure_pipeline(url, keys, missing // EVENTS_PER_EXCEPTION + 2, "fill")
    with http.serving(url, workers=False) as port:
        http.query_times_ms(port, keys[TENANTS[1]])
        lists, gets = http.query_times_ms(port, keys[TENANTS[1]])
    figures["list_ms_p99"] = [_p99(sorted(lists))]
    figures["get_ms_p99"] = [_p99(sorted(gets))]
    figures["events_in_log"] = [float(_events(url))]


def _drain(url: str) -> None:
    """Let the workers finish what ingestion left."""
    asyncio.run(pipeline.drain(url))


def _events(url: str) -> int:
    return int(pipeline.ask(url, "select count(*) from event")[0])


def _idle_mb(folder: Path) -> float:
    """All processes of `sentinai up` after it came to rest; pages that processes share count once (PSS)."""
    port, base = free_port(), free_port()
    environment = os.environ | {
        "SENTINAI_DATA_DIR": str(folder / "idle"),
        "SENTINAI_API_PORT": str(port),
        "SENTINAI_WORKER_HEALTH_BASE_PORT": str(base),
    }
    environment.pop("SENTINAI_DATABASE_URL", None)
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "sentinai.cli.main", "up", "--no-sample", "--ready-file", str(ready)]
    with open(os.devnull, "w") as quiet:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=quiet)
        try:
            deadline = time.monotonic() + 60
            while not ready.exists() and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.05)
            time.sleep(IDLE_SETTLE_S)
            return _pss_mb(process.pid, folder / "idle")
        finally:
            process.terminate()
            process.wait(20)


def _pss_mb(pid: int, data_dir: Path) -> float:
    """The process, its descendants, and the database server, which is a session of its own."""
    root = psutil.Process(pid)
    family = {p.pid: p for p in [root, *root.children(recursive=True)]}
    server = EmbeddedServer(data_dir).pid
    if server is not None:
        postmaster = psutil.Process(server)
        family |= {p.pid: p for p in [postmaster, *postmaster.children(recursive=True)]}
    return sum(p.memory_full_info().pss for p in family.values()) / 1024 / 1024


def _p99(times: list[float]) -> float:
    return times[min(len(times) - 1, int(len(times) * 0.99))]


def _report(figures: Figures, load_before: float, json_file: Path | None) -> None:
    medians: dict[str, Any] = {name: round(statistics.median(values), 3) for name, values in figures.items()}
    rows = [
        (name, _shown(medians[name]), f"{_shown(min(values))} … {_shown(max(values))}", len(values))
        for name, values in figures.items()
    ]
    table("What this machine does", ("figure", "median", "lowest … highest", "of"), rows)
    load = f"{load_before:.1f} before, {os.getloadavg()[0]:.1f} now"
    console.print(f"{os.cpu_count()} cores, load {load} (others on this machine slow it down)", highlight=False)
    if json_file is not None:
        each = {
            f"{name}_{n}": round(v, 3)
            for name, values in figures.items()
            if values[1:]
            for n, v in enumerate(values, 1)
        }
        json_file.write_bytes(msgspec.json.encode(medians | each))


def _shown(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"
