"""The whole system in one process, for tests: the API over ASGI, the workers stepped by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from sample_packs import DOMAIN, policy_for

from sentinai.bootstrap import build_app, build_commands, built_runner, opened, prepare_database
from sentinai.events.envelope import PARTITIONS
from sentinai.infrastructure.database import OWNER
from sentinai.infrastructure.repositories.events import EventStore
from sentinai.services import tenants
from sentinai.services.setup import first_keys
from sentinai.services.verification import check_projections, verify_chains
from sentinai.settings import Settings
from sentinai.workers.catalog import STAGES
from sentinai.workers.runner import Runner

ROLES = ("viewer", "operator", "approver", "admin")
"""Each a subject of its own; a further one, `reporter`, is the system that reports."""
ROUNDS_MAX = 1_000
_LAG = """select count(*) from consumer_cursor k join event e on e.topic = k.topic and e.partition = k.partition
  and (k.consumer = 'relay' or not e.handled) and (e.xid, e.position) > (k.xid, k.position)"""


@dataclass
class System:
    """`clients[tenant][role]` are HTTP clients; `platform` is the platform administrator's."""

    url: str
    app: Any
    runner: Runner
    settings: Settings
    relay: Runner | None = None
    """With Kafka: brings the log there."""
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    clients: dict[str, dict[str, httpx.AsyncClient]] = field(default_factory=dict)
    platform: httpx.AsyncClient | None = None

    def client(self, role: str = "admin", tenant: str = "acme") -> httpx.AsyncClient:
        return self.clients[tenant][role]

    async def post(self, payload: Any, *, source: str = "psp", tenant: str = "acme", **more: Any) -> str:
        """Report an exception; its id."""
        body = {"source_system": source, "payload": payload, **more}
        answer = await self.client("reporter", tenant).post("/exceptions", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["exception_id"])

    async def get(self, path: str, *, tenant: str = "acme") -> Any:
        answer = await self.client(tenant=tenant).get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    async def settle(self) -> None:
        """Step the workers until nothing is left that can be done now."""
        idle = 0
        for _ in range(ROUNDS_MAX):
            taken = await self.step()
            idle = 0 if taken else idle + 1
            if idle >= 2 and (self.relay is None or not await self.lag()):
                return
            if idle and self.relay is not None:
                await asyncio.sleep(0.01)
        waiting = await query(
            self.url, f"select k.consumer, k.topic, k.partition, {_LAG.removeprefix('select ')} group by 1, 2, 3"
        )
        raise AssertionError(f"the workers never came to rest: {[dict(row) for row in waiting]}")

    async def step(self) -> int:
        """One round of the relay, if there is one, and of the workers."""
        forwarded = await step(self.relay) if self.relay is not None else 0
        return forwarded + await step(self.runner)

    async def lag(self) -> int:
        """Events that a consumer has yet to take."""
        rows = await query(self.url, _LAG)
        return int(rows[0][0])

    async def partitions_without(self, exception_ids: list[str]) -> int:
        """How many of the log's partitions hold nothing of these exceptions."""
        rows = await query(
            self.url,
            "select count(distinct partition) from event where correlation_id = any($1::text[]::uuid[])",
            exception_ids,
        )
        return PARTITIONS - int(rows[0][0])

    async def settled(self, payload: Any, **options: Any) -> Any:
        """Report, settle, and read the exception."""
        exception_id = await self.post(payload, **options)
        await self.settle()
        return await self.get(f"/exceptions/{exception_id}", tenant=options.get("tenant", "acme"))

    async def events(self, exception_id: str, tenant: str = "acme") -> list[Any]:
        found: list[Any] = (await self.get(f"/exceptions/{exception_id}/events", tenant=tenant))["items"]
        return found

    async def require_sound(self) -> None:
        """Every chain holds, every row equals its fold, nothing is pending that nobody parked."""
        await require_sound(self.url)


async def step(runner: Runner) -> int:
    """One round in which everything that has a timer of its own is due, and calls under way come to their end."""
    runner.make_due()
    taken = await runner.round()
    if runner.executor is not None:
        await runner.executor.drain(10)
    return taken


async def require_sound(url: str) -> None:
    async with opened(url, OWNER) as database:
        for check in (verify_chains, check_projections):
            async for finding in check(database, EventStore(copy=False), None):
                assert finding.problem is None, finding.problem


@asynccontextmanager
async def started(url: str, **settings: Any) -> AsyncIterator[System]:
    """Tenants acme and beta, a key for every role, the tests' packs active."""
    chosen = Settings(_env_file=None, tool_allowed_hosts=("127.0.0.1",), **settings)
    app = build_app(chosen, url)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        relay = None
        if chosen.broker == "kafka":
            assert await prepare_database(url, chosen) == []
            relay = await stack.enter_async_context(built_runner(chosen, url, ["relay"]))
        runner = await stack.enter_async_context(built_runner(chosen, url, list(STAGES)))
        system = System(url, app, runner, chosen, relay)
        async with opened(url, OWNER) as owner:
            commands = build_commands(owner)
            keys = await first_keys(commands, "acme")
            await tenants.create_tenant(commands, "system:test", "beta", "Beta")
            for tenant in ("acme", "beta"):
                wanted = [tenants.KeySpecification(tenant, role, role, None) for role in ROLES]
                wanted.append(tenants.KeySpecification(tenant, "reporter", "operator", None))
                made = {w.name: (await tenants.create_key(commands, "system:test", w)).secret for w in wanted}
                system.keys[tenant] = made
        system.clients = {t: {r: client_of(app, key) for r, key in made.items()} for t, made in system.keys.items()}
        system.platform = client_of(app, keys.platform_key)
        for tenant in ("acme", "beta"):
            await configure(system.client(tenant=tenant), tenant)
        yield system


async def configure(admin: httpx.AsyncClient, tenant: str, domain: str = DOMAIN, version: str = "1.0.0") -> None:
    """Import and activate; the policy stays at 1.0.0."""
    for path, text in (("domain", domain), ("policy", policy_for(tenant))):
        answer = await admin.post(f"/packs/{path}", content=text)
        assert answer.status_code == 202, answer.text
    pair = {"domain": "payments", "domain_version": version, "policy_version": "1.0.0"}
    answer = await admin.post("/packs/activate", json=pair)
    assert answer.status_code == 202, answer.text


def client_of(app: Any, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers={"X-API-Key": key})


async def query(url: str, sql: str, *arguments: Any) -> list[asyncpg.Record]:
    """As the owner of the database, past all walls."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        await connection.close()
