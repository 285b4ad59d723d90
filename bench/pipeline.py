"""How many events a second does the whole pipeline handle, from the first report to the last feedback?"""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from bench.pack import DOMAIN, EVENTS_PER_EXCEPTION, TENANTS, payload, policy
from sentinai.bootstrap import build_commands, build_ingestion, built_runner, opened, prepare_database, tune_collector
from sentinai.errors import Rejected
from sentinai.events.intake import ExceptionIngested
from sentinai.infrastructure.database import API, INGEST, OWNER
from sentinai.packs.check import load
from sentinai.security.api_keys import hash_api_key
from sentinai.security.roles import Principal
from sentinai.services import tenants
from sentinai.services.setup import WHO, install_packs
from sentinai.services.vocabulary import VOCABULARY
from sentinai.settings import Settings
from sentinai.workers.catalog import STAGES
from sentinai.workers.runner import Runner

INGESTERS, WORKERS = 2, 2
INGEST_BATCH = 200
FEEDS_PER_S = 20
"""How evenly a paced feed comes."""
IDLE_ROUNDS_S = 0.6
DEADLINE_S = 300.0

JOIN_S = 8.0

Keys = dict[str, str]
"""API key of each benchmark tenant"""


async def prepare(url: str) -> Keys:
    """A migrated database with the benchmark's tenants, keys and packs."""
    await prepare_database(url, Settings(_env_file=None))
    keys = {}
    async with opened(url, OWNER) as owner:
        commands = build_commands(owner)
        domain = load(DOMAIN, VOCABULARY)
        for tenant in TENANTS:
            await tenants.create_tenant(commands, WHO, tenant, tenant)
            request = tenants.KeySpecification(tenant, "bench", "admin", None)
            keys[tenant] = (await tenants.create_key(commands, WHO, request)).secret
            await install_packs(commands, tenant, domain, load(policy(tenant), VOCABULARY))
    return keys


def measure_pipeline(url: str, keys: Keys, exceptions: int, tag: str, chaining: bool = True) -> dict[str, Any]:
    """Ingestion and all workers at the same time; events per second from the first report to the last commit."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    relays = 1 if Settings(_env_file=None).broker == "kafka" else 0
    gate = context.Barrier(INGESTERS + WORKERS + relays)
    share = exceptions // INGESTERS
    processes = [
        context.Process(target=_ingest, args=(url, keys, share, f"{tag}-{n}", gate, results)) for n in range(INGESTERS)
    ]
    processes += [context.Process(target=_work, args=(url, chaining, gate, results)) for _ in range(WORKERS)]
    processes += [context.Process(target=_relay, args=(url, gate, results)) for _ in range(relays)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=DEADLINE_S) for _ in processes]
    for process in processes:
        process.join()
    begun = min(a["begun"] for a in answers if "begun" in a)
    ended = max(a["ended"] for a in answers if "ended" in a)
    if left := ask(url, "select count(*) from exception where status <> 'RESOLVED'")[0]:
        raise Rejected(f"{left:,} exceptions did not come to their end: what was measured is not the whole pipeline.")
    events = share * INGESTERS * EVENTS_PER_EXCEPTION
    found = {"events_per_s": events / (ended - begun), "seconds": ended - begun, "events": events}
    if relays:
        found["relayed_per_s"] = events / (max(a["relayed"] for a in answers if "relayed" in a) - begun)
    return found


def _ingest(url: str, keys: Keys, count: int, tag: str, gate: Any, results: Any) -> None:
    tune_collector()
    uvloop.run(_ingest_all(url, keys, count, tag, gate, results))


async def _ingest_all(url: str, keys: Keys, count: int, tag: str, gate: Any, results: Any) -> None:
    async with _ingestion(url) as ingest:
        await asyncio.to_thread(gate.wait)
        begun = time.time()
        for first in range(0, count, INGEST_BATCH):
            await ingest(keys, tag, range(first, min(first + INGEST_BATCH, count)))
        results.put({"begun": begun, "ingested": time.time()})


async def feed(url: str, keys: Keys, rate: float, amount: float, tag: str) -> None:
    """With a rate: so many exceptions a second for `amount` seconds, evenly, whatever becomes of them; else `amount` at once."""
    size = max(1, min(INGEST_BATCH, int(rate / FEEDS_PER_S))) if rate else INGEST_BATCH
    async with _ingestion(url) as ingest:
        begun, sent = time.monotonic(), 0
        while (time.monotonic() - begun < amount) if rate else (sent < amount):
            await ingest(keys, tag, range(sent, sent + size))
            sent += size
            if rate:
                await asyncio.sleep(max(0.0, begun + sent / rate - time.monotonic()))


@asynccontextmanager
async def _ingestion(url: str) -> AsyncIterator[Callable[[Keys, str, range], Awaitable[None]]]:
    """A function that reports exceptions of these numbers, a tenant after the other."""
    settings = Settings(_env_file=None)
    async with opened(url, API) as database, opened(url, INGEST) as ingest:
        commands = build_commands(database)
        service = build_ingestion(settings, commands, ingest)

        async def report(keys: Keys, tag: str, numbers: range) -> None:
            tenant = TENANTS[numbers.start // INGEST_BATCH % len(TENANTS)]
            reports = [ExceptionIngested("orders", payload(f"{tag}-{n}")) for n in numbers]
            principal = Principal(tenant, commands.new_id(), "bench", "admin", "bench")
            await service.accept(principal, hash_api_key(keys[tenant]), reports)

        yield report


def _work(url: str, chaining: bool, gate: Any, results: Any) -> None:
    tune_collector()
    uvloop.run(_work_all(url, chaining, gate, results))


async def _work_all(url: str, chaining: bool, gate: Any, results: Any) -> None:
    settings = Settings(_env_file=None, chaining=chaining)
    names = [name for name in STAGES if name != "sla"]
    async with built_runner(settings, url, names) as runner, runner.listening():
        joined = time.time() + (JOIN_S if settings.broker == "kafka" else 0)
        while time.time() < joined:  # until the groups have shared out the partitions
            await runner.round()
            await asyncio.sleep(0.01)
        await asyncio.to_thread(gate.wait)
        ended = idle_since = time.time()
        while time.time() - idle_since < IDLE_ROUNDS_S or await _waiting(runner):
            if await runner.round():
                ended = idle_since = time.time()
            else:
                await asyncio.sleep(0.002)
        results.put({"ended": ended})


async def _waiting(runner: Runner) -> bool:
    """Has any consumer still something to take?"""
    platform = runner.platform
    async with platform.database.transaction() as tx:
        lags = [await platform.broker.lag(tx, worker.name) for worker in runner.workers]
    return any(lags)


def _relay(url: str, gate: Any, results: Any) -> None:
    tune_collector()
    uvloop.run(_relay_all(url, gate, results))


async def _relay_all(url: str, gate: Any, results: Any) -> None:
    async with built_runner(Settings(_env_file=None), url, ["relay"]) as runner:
        await asyncio.to_thread(gate.wait)
        relayed = idle_since = time.time()
        while time.time() - idle_since < JOIN_S:
            if await runner.round():
                relayed = idle_since = time.time()
            else:
                await asyncio.sleep(0.002)
        results.put({"relayed": relayed})


async def drain(url: str) -> None:
    """Let all workers run until nothing is left to do."""
    settings = Settings(_env_file=None)
    async with built_runner(settings, url, [name for name in STAGES if name != "sla"]) as runner:
        while await runner.round():
            pass


def ask(url: str, sql: str, *arguments: Any) -> Any:
    """The first row of a query as the owner of the database, past all walls between tenants."""

    async def fetch() -> Any:
        async with opened(url, OWNER) as owner, owner.transaction() as tx:
            return await tx.fetchrow(sql, *arguments)

    return asyncio.run(fetch())
